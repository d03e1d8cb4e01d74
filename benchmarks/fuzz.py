"""Files from strangers, damaged in a thousand ways: what is refused, and what goes wrong.

    python benchmarks/fuzz.py [--cases 1000] [--seed 0] [--case 17] [--kinds tables media ...]

Tables, media, runs, artifacts, recipes and exports of annotation tools are made here, one thing
about each is broken as the seed says, and a verb reads it in a child with limits of time and
memory. It may work, or refuse in a message; it may not give another answer without a word, show a
traceback, die, hang, open a connection, run code, send control characters to the terminal or leave
the folder that it was given.
Prints a table and every distinct failure, and writes results/fuzz_<date>.csv, a row for each case;
`--case N --keep FOLDER` makes one again and leaves it there. UNDERSTUDY_REAL_DATA adds real media,
which makes other cases.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from random import Random

from campaigns import (
    forked,
    fuzz_annotations,
    fuzz_media,
    fuzz_recipes,
    fuzz_runs,
    fuzz_sources,
    fuzz_tables,
)
from campaigns.forked import Limits
from campaigns.input import Input
from campaigns.outcome import FINE, Row, failures, message_of, of_call, summary, write
from campaigns.workshop import Workshop

KINDS: dict[str, Callable[[Random, Workshop, Path], Input]] = {
    "tables": fuzz_tables.make,
    "media": fuzz_media.make,
    "runs": fuzz_runs.make_run,
    "artifacts": fuzz_runs.make_artifact,
    "recipes": fuzz_recipes.make,
    "annotations": fuzz_annotations.make,
    "sources": fuzz_sources.make,
}
_TURNS = ("media", "tables", "runs", "media", "artifacts", "recipes", "tables", "media", "runs",
          "artifacts", "annotations", "sources", "annotations", "sources")  # fmt: skip
LIMITS = Limits(wall_s=90, idle_s=8, processor_s=20, memory_mb=2048)
GROWN_MB = 1200
"""Memory of a child beyond the parent's from which a case counts as hung."""


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, nargs="+", help="these alone")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--keep", type=Path, help="a folder in which failed cases stay")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    numbers = range(options.cases) if options.case is None else options.case
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        rows = campaign(options.keep or Path(name), numbers, options.seed, options.kinds)
    print("\n".join(["", *summary(rows), "", *failures(rows)]))
    if options.case is None:
        print(write("fuzz", rows, options.out, {"seed": options.seed}))
    sys.exit(any(row.outcome not in FINE for row in rows))


def campaign(
    folder: Path,
    numbers: Collection[int],
    seed: int = 0,
    kinds: Collection[str] = tuple(KINDS),
    show: Callable[[str], object] = say,
) -> list[Row]:
    """The cases with these numbers, of these kinds. What they read must be unchanged at the end."""
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    forked.import_all()
    workshop = Workshop(folder / "workshop").make(exported="artifacts" in kinds)
    if not (workshop.folder / "said.json").exists():
        fuzz_media.film_media(workshop.folder / "media")
        fuzz_media.know(workshop)
        fuzz_runs.know(workshop)
    before, rows = _hashes(workshop.folder), []
    for number in numbers:
        kind = _TURNS[number % len(_TURNS)]
        if kind in kinds:
            rows.append(one(number, kind, workshop, folder / str(number), seed))
            if rows[-1].outcome not in FINE:
                show(_told(rows[-1]))
    changed = sorted(set(before.items()) ^ set(_hashes(workshop.folder).items()))
    assert not changed, f"cases changed files outside of their folders: {changed[:3]}"
    return rows


def one(number: int, kind: str, workshop: Workshop, place: Path, seed: int = 0) -> Row:
    """Make one case, call the verb, and look at what came of it."""
    place.mkdir(parents=True)
    log = place.with_name(f"{number}.log")
    log.mkdir()
    made = KINDS[kind](Random(f"{seed} {kind} {number}"), workshop, place)
    ended = forked.run(made.words, place, limits=LIMITS, log=log)
    outcome, where = of_call(ended)
    if outcome in FINE and ended.grown_mb > GROWN_MB:
        outcome, where = "hung", f"takes {ended.grown_mb:.0f} MB"
    if outcome == "right" and (wrong := made.check(ended)):
        outcome, where = "wrong", wrong
    elif outcome == "refused" and made.must_work:
        outcome, where = "wrong", "one file stops all others"
    if list(place.rglob("executed")):
        outcome, where = "wrong", "code of the file was run"
    if outcome in FINE:
        shutil.rmtree(place)
    log.rmdir()
    return Row(number, kind, made.words[0], made.what, outcome, where, message_of(ended),
               round(ended.seconds, 2), ended.grown_mb)  # fmt: skip


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _told(row: Row) -> str:
    return f"{row.case:4} {row.outcome:8} {row.part} {row.what}. {row.place} {row.message}"


if __name__ == "__main__":
    main()
