"""How many cores this process may use, which is not how many the machine has.

The scheduler may hold it to some of them (`taskset`, Slurm, Docker's `--cpuset-cpus`), and a
control group may give it a share of time (Docker's `--cpus`, limits of Kubernetes). Threads beyond
either only wait for each other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

_V1_FOLDERS = ("cpu,cpuacct", "cpu")


def cores(root: Path = Path("/")) -> int:
    """Cores that this process may use, 1 at least: those it is held to, or fewer where a control
    group gives it less time than they have. root: of the file system, for `proc` and `sys`."""
    allowed = affinity()
    shares = [quota / period for quota, period in _quotas(root) if quota > 0 and period > 0]
    return max(1, int(min([allowed, *shares])))


def affinity() -> int:
    """Cores that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> list[tuple[int, int]]:
    """Microseconds of computing in each period, of every control group around this process."""
    found: list[tuple[int, int]] = []
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            groups = root / "sys/fs/cgroup"
            if number == "0" and not controllers:
                found += _up(groups, path, _of_v2)
            elif "cpu" in controllers.split(","):
                for folder in _V1_FOLDERS:
                    found += _up(groups / folder, path, _of_v1)
    return found


def _up(top: Path, path: str, read: Callable[[Path], tuple[int, int]]) -> list[tuple[int, int]]:
    """What a group and those around it give. Inside a container only the outermost may be there."""
    found = []
    inner = Path(path.lstrip("/"))
    for group in (inner, *inner.parents):
        with contextlib.suppress(OSError, ValueError):
            found.append(read(top / group))
    return found


def _of_v2(group: Path) -> tuple[int, int]:
    quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
    return int(quota), int(period)  # ValueError for "max": no limit


def _of_v1(group: Path) -> tuple[int, int]:
    files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    quota, period = (int((group / name).read_text(encoding="utf-8")) for name in files)
    return quota, period  # -1: no limit
