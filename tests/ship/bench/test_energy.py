"""Energy counters, in a tree of files like the system's."""

from pathlib import Path

import pytest

from understudy.ship.bench.energy import energy_per_call, find_meter

RANGE = 1_000_000


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages, the cores inside the first, the whole board, and a second driver's view."""
    for zone, name in {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }.items():
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "name").write_text(f"{name}\n")
        (tmp_path / zone / "max_energy_range_uj").write_text(f"{RANGE}\n")
        put(tmp_path / zone, 100)
    return tmp_path


def put(zone: Path, energy_uj: int) -> None:
    (zone / "energy_uj").write_text(f"{energy_uj}\n")


def test_packages_are_added_up_and_nothing_is_counted_twice(powercap: Path) -> None:
    meter = find_meter(powercap)
    assert meter is not None
    assert meter.joules() == 0
    for zone in powercap.iterdir():
        put(zone, 400_100)
    assert meter.joules() == pytest.approx(0.8)
    assert meter.joules() == pytest.approx(0.8), "it is a sum, not a difference"


def test_a_counter_that_begins_anew_loses_nothing(powercap: Path) -> None:
    meter = find_meter(powercap)
    assert meter is not None
    spent = 0
    for _ in range(7):  # 0.3 J at a time through a range of 1 J: two of the steps wrap around
        spent += 300_000
        put(powercap / "intel-rapl:0", (100 + spent) % RANGE)
    # Unread in between, two ranges are gone: this is why it has to be read often enough.
    assert meter.joules() == pytest.approx(0.1)
    for _ in range(7):
        spent += 300_000
        put(powercap / "intel-rapl:0", (100 + spent) % RANGE)
        meter.joules()
    assert meter.joules() == pytest.approx(0.1 + 7 * 0.3)


def test_energy_is_per_call(powercap: Path) -> None:
    meter = find_meter(powercap)
    assert meter is not None
    used = {"small": 0, "large": 0}

    def burn(name: str, energy_uj: int) -> None:
        used[name] += energy_uj
        put(powercap / "intel-rapl:0", (100 + sum(used.values())) % RANGE)

    small, large = energy_per_call(
        [lambda: burn("small", 2_000), lambda: burn("large", 50_000)], meter, rounds=3, seconds=0
    )
    assert small == pytest.approx(0.002)
    assert large == pytest.approx(0.05)


def test_a_system_that_does_not_tell_has_no_meter(tmp_path: Path, powercap: Path) -> None:
    assert find_meter(tmp_path / "nowhere") is None
    (powercap / "intel-rapl:1" / "energy_uj").unlink()  # as if it could not be read
    assert find_meter(powercap) is None
