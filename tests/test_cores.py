"""Threads follow what a process may use, by files that a control group leaves."""

from pathlib import Path

import pytest

from understudy.core_count import cores
from understudy.run import cores as allowed
from understudy.run import describe_environment


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.core_count.affinity", lambda: 16)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2, V1 = "0::/pod/box\n", "5:cpu,cpuacct:/pod/box\n4:memory:/pod\n"
GROUPS = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16),
        ({"proc/self/cgroup": V2}, 16),
        ({"proc/self/cgroup": V2, f"{GROUPS}/pod/box/cpu.max": "max 100000\n"}, 16),
        ({"proc/self/cgroup": V2, f"{GROUPS}/pod/box/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": V2, f"{GROUPS}/pod/box/cpu.max": "250000 100000\n"}, 2),
        ({"proc/self/cgroup": V2, f"{GROUPS}/pod/box/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": V2, f"{GROUPS}/pod/box/cpu.max": "9900000 100000\n"}, 16),
        # the group around it has less
        (
            {
                "proc/self/cgroup": V2,
                f"{GROUPS}/pod/box/cpu.max": "800000 100000\n",
                f"{GROUPS}/pod/cpu.max": "300000 100000\n",
            },
            3,
        ),
        # in a container only the outermost group is mounted
        ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "400000 100000\n"}, 4),
        ({"proc/self/cgroup": V2, f"{GROUPS}/cpu.max": "400000 100000\n"}, 4),
        (
            {
                "proc/self/cgroup": V1,
                f"{GROUPS}/cpu,cpuacct/pod/box/cpu.cfs_quota_us": "150000\n",
                f"{GROUPS}/cpu,cpuacct/pod/box/cpu.cfs_period_us": "50000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": V1,
                f"{GROUPS}/cpu/cpu.cfs_quota_us": "-1\n",
                f"{GROUPS}/cpu/cpu.cfs_period_us": "100000\n",
            },
            16,
        ),
        ({"proc/self/cgroup": "nonsense\n", f"{GROUPS}/cpu.max": "1 1\n"}, 16),
        ({"proc/self/cgroup": V2, f"{GROUPS}/pod/box/cpu.max": "many\n"}, 16),
        ({"proc/self/cgroup": V2, f"{GROUPS}/pod/box/cpu.max": "200000 0\n"}, 16),
    ],
)
def test_a_quota_counts_as_cores(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert cores(write(tmp_path, files)) == expected


def test_what_is_said_of_the_machine_is_what_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.run.environment.cores", lambda: 3)
    assert describe_environment()["cores"] == 3
    assert 1 <= allowed() <= 16
