"""What a call costs in energy, where the system tells: the counters of Linux's powercap tree.

Processors of Intel and AMD count the energy of a whole package (RAPL), its idle draw and whatever
else runs on it included. Newer kernels let only the superuser read the counters; elsewhere there
are none that a process may read without help. Then nothing is measured, and nothing is guessed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Adds up the counters of some zones, each a folder with energy_uj and max_energy_range_uj."""

    def __init__(self, zones: Sequence[Path]) -> None:
        self._counters = [zone / "energy_uj" for zone in zones]
        self._ranges = [_number(zone / "max_energy_range_uj") for zone in zones]
        self._last = [_number(counter) for counter in self._counters]
        self._spent_uj = 0

    def joules(self) -> float:
        """Energy since the meter was made. A counter begins anew at its range, which is minutes
        of full load: between two calls it may do so once."""
        now = [_number(counter) for counter in self._counters]
        for before, after, limit in zip(self._last, now, self._ranges, strict=True):
            self._spent_uj += after - before + (limit if after < before else 0)
        self._last = now
        return self._spent_uj / 1e6


def find_meter(root: Path = POWERCAP) -> EnergyMeter | None:
    """The processor packages of this machine; None where the system does not tell their energy."""
    try:
        # Only whole packages: their cores are counted in them, and a second driver (-mmio) or the
        # whole board (psys) would count them again.
        zones = [
            zone
            for zone in sorted(root.glob("intel-rapl:*"))
            if (zone / "name").read_text(encoding="ascii").startswith("package")
        ]
        return EnergyMeter(zones) if zones else None
    except (OSError, ValueError):
        return None


def energy_per_call(
    callables: Sequence[Callable[[], object]],
    meter: EnergyMeter,
    *,
    rounds: int,
    seconds: float,
) -> list[float]:
    """Joules of one call of each, the median of `rounds` turns of `seconds`, taken in turns."""
    spent: list[list[float]] = [[] for _ in callables]
    for _ in range(rounds):
        for call, turns in zip(callables, spent, strict=True):
            call()
            calls, end, before = 0, time.perf_counter() + seconds, meter.joules()
            while not calls or time.perf_counter() < end:
                call()
                calls += 1
            turns.append((meter.joules() - before) / calls)
    return [float(np.median(turns)) for turns in spent]


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
