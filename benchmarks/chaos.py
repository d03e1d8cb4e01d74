"""Verbs that are killed, doubled and left without a disk: what is lost, and what mends itself.

    python benchmarks/chaos.py [--kills 100] [--seed 0] [--parts kills pairs disks] [--case 17]

100 kills over train, a store that fills, evaluate, export, stage and report; two processes on one
run, one artifact, one page and one store; full and read-only disks under each of them and under
bench. After each the verb is called again, as a user would, and must end where an undisturbed call
ends: training bit for bit, predictions, answers of the store and of the artifact equal, nothing of
the user's gone and nothing left behind. Prints a table and every distinct failure, and writes
results/chaos_<date>.csv, a row for each case. Exporting takes its ONNX files from an export made
before; everything around the conversion is real. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from campaigns import disks, forked, pairs
from campaigns.jobs import BENCH, EXPORT, REPLACE, STORE, Job
from campaigns.kills import Kills, cases, kill
from campaigns.outcome import FINE, Row, failures, summary, write
from campaigns.workshop import Workshop

PARTS = ("kills", "pairs", "disks")
EXPORTED = (EXPORT, REPLACE, BENCH)
"""Jobs that need an artifact."""

Run = Callable[[int, Job, Kills], Row]


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="of each pair and each full disk")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--case", type=int, nargs="+", help="these alone")
    parser.add_argument("--keep", type=Path, help="a folder in which failed cases stay")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    by = disks.enter_own_mounts()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = options.keep or Path(name)
        rows = campaign(folder, options.kills, options.rounds, options.seed, options.parts,
                        options.case, by)  # fmt: skip
    print("\n".join(["", *summary(rows), "", *failures(rows)]))
    if options.case is None:
        print(write("chaos", rows, options.out, {"seed": options.seed, "full_disk_by": by}))
    sys.exit(any(row.outcome not in FINE for row in rows))


def campaign(
    folder: Path,
    kills: int,
    rounds: int,
    seed: int,
    parts: list[str],
    only: Collection[int] | None = None,
    by: str = "file size",
    show: Callable[[str], object] = say,
) -> list[Row]:
    """All cases of some parts, or those numbered `only`. by: how a disk becomes full, of
    `enter_own_mounts`; what it can't do is left out."""
    os.environ["OMP_NUM_THREADS"] = "1"
    forked.import_all()
    workshop = Workshop(folder / "workshop")
    broken = Kills(workshop, folder, seed)
    chosen = [
        (case, job, run)
        for case, (part, job, run) in enumerate(_cases(broken, kills, rounds, by))
        if part in parts and run is not None and (only is None or case in only)
    ]
    workshop.make(exported=any(job in EXPORTED for _, job, _ in chosen))
    rows = []
    for case, job, run in chosen:
        rows.append(run(case, job, broken))
        show(f"{case:4} {_told(rows[-1])}")
    return rows


def _cases(broken: Kills, kills: int, rounds: int, by: str) -> list[tuple[str, Job, Run | None]]:
    """Every case: its part, its job, and what is done; None where this machine can't. The number
    of a case is its place here, wherever it runs."""
    tmpfs = by == "tmpfs"
    on_disk: list[Run | None] = [*[partial(disks.full, by=by)] * rounds]
    on_disk += [disks.filled, disks.read_only] if tmpfs else [None, None]
    return [
        *(("kills", job, kill) for job in cases(kills)),
        *(("pairs", job, pairs.pair) for job in pairs.JOBS for _ in range(rounds)),
        *[("pairs", STORE, pairs.one_store)] * rounds,
        *(("disks", job, run) for job in disks.JOBS for run in on_disk),
    ]


def _told(row: Row) -> str:
    return f"{row.outcome:8} {row.part} {row.subject}: {row.what}. {row.place} {row.message}"


if __name__ == "__main__":
    main()
