"""How long tables of a million clips take to be read, checked and split, and how much memory.

    python benchmarks/manifest_size.py [--rows 1000000] [--classes 400] [--shapes one-a-group ...]

Writes tables of several shapes, CSV and Parquet, into a temporary folder. Each is read in a process
of its own, seeds 0 and 1 in turn, and in the same process fingerprinted. Seconds count from
`read_manifest` on, without the import of the package, which is a column of its own; memory is the
most that the process ever held, the import included. `processor_s` is time of all cores that the
process had, which other processes lengthen less. Prints the slower of the seeds and writes
results/manifest_size_<date>_<hardware>.csv, a row for each table and seed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from dated import dated_path, write_rows

GROUP = 100
"""Clips of one group, where there are groups."""

Columns = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        sys.stdout.write(json.dumps(read(options.read, options.seeds[0])))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for shape in options.shapes:
            table = pa.table(SHAPES[shape](options.rows, options.classes))
            for suffix, write in (("csv", arrow_csv.write_csv), ("parquet", pq.write_table)):
                place = Path(folder) / f"{shape}.{suffix}"
                write(table, place)
                found = [read_apart(place, seed) for seed in options.seeds]
                megabytes = round(place.stat().st_size / 2**20, 1)
                place.unlink()
                facts = {"shape": shape, "file": suffix, "file_mb": megabytes}
                facts |= {"rows": options.rows, "classes": options.classes}
                rows += [facts | one for one in found]
                print(line(facts, found), flush=True)
    write_table(rows, options.out)


# Shapes


def clips(rows: int, classes: int) -> Columns:
    """Paths and labels; every clip is a group of its own."""
    label = np.random.default_rng(0).integers(classes, size=rows)
    names = [f"class_{number:04d}" for number in range(classes)]
    return {
        "path": [f"videos/{names[k]}/clip_{n:08d}.mp4" for n, k in enumerate(label.tolist())],
        "label": [names[k] for k in label.tolist()],
    }


def group_numbers(rows: int) -> np.ndarray:
    """(rows,) so that each group has about `GROUP` clips, in no order."""
    return np.random.default_rng(1).integers(max(3, rows // GROUP), size=rows)


def people(rows: int, classes: int) -> Columns:
    """Groups of about 100 clips, each with clips of many classes."""
    numbers = group_numbers(rows).tolist()
    return clips(rows, classes) | {"group": [f"person_{number:06d}" for number in numbers]}


def with_splits(rows: int, classes: int) -> Columns:
    """The same, with all three splits given."""
    splits = np.array(["train", "train", "train", "val", "test"])[group_numbers(rows) % 5]
    return people(rows, classes) | {"split": splits}


def without_val(rows: int, classes: int) -> Columns:
    """The same with train and test only, so that val is carved from train."""
    splits = np.array(["train", "train", "train", "train", "test"])[group_numbers(rows) % 5]
    return people(rows, classes) | {"split": splits}


def parts(rows: int, classes: int) -> Columns:
    """Ten parts a file, with times; a file is a group."""
    start = np.arange(rows) % 10 * 2.5
    path = [f"videos/long_{n // 10:08d}.mp4" for n in range(rows)]
    return clips(rows, classes) | {"path": path, "start_s": start, "end_s": start + 2.25}


def three_labels(rows: int, classes: int) -> Columns:
    """Groups of about 100 clips, up to three labels for each clip."""
    drawn = np.random.default_rng(2).integers(classes, size=(rows, 3)).tolist()
    labels = ["|".join(f"class_{number:04d}" for number in some) for some in drawn]
    return people(rows, classes) | {"label": labels}


SHAPES: dict[str, Callable[[int, int], Columns]] = {
    "one-a-group": clips,
    "people": people,
    "people-given-splits": with_splits,
    "people-without-val": without_val,
    "parts-of-files": parts,
    "people-three-labels": three_labels,
}


# Reading


def read_apart(table: Path, seed: int) -> dict[str, Any]:
    """What `read` gives in a fresh process."""
    command = [sys.executable, __file__, "--read", str(table), "--seeds", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{table.name}: {done.stderr}")
    return json.loads(done.stdout)


def read(table: Path, seed: int) -> dict[str, Any]:
    """Seconds of every stage, the peak of memory, and what came of it."""
    began = time.perf_counter()
    from understudy.data.sources import read_manifest

    imported = {"import_s": time.perf_counter() - began, "import_mb": peak_mb()}
    stages: list[tuple[str, float]] = []
    busy = time.process_time()
    manifest = read_manifest(
        table, seed=seed, progress=lambda told: stages.append((told, time.perf_counter()))
    )
    stages.append(("end", time.perf_counter()))
    busy = time.process_time() - busy
    peak = peak_mb()
    seconds = {"reading_s": 0.0, "checking_s": 0.0, "splitting_s": 0.0}
    for (told, start), (_, end) in pairwise(stages):
        seconds[f"{told.split()[0]}_s"] += end - start
    seconds |= {"all_s": stages[-1][1] - stages[0][1], "processor_s": busy}
    began = time.perf_counter()
    manifest.fingerprint()
    seconds["fingerprint_s"] = time.perf_counter() - began
    counts, groups = manifest.clip_counts(), manifest.group_counts()
    return {
        "seed": seed,
        "groups": sum(groups.values()),
        **{name: round(value, 2) for name, value in (seconds | imported).items()},
        "peak_mb": peak,
        "peak_with_fingerprint_mb": peak_mb(),
        **{f"{split}_share": round(counts[split] / len(manifest), 5) for split in counts},
        "fewest_of_a_class": min(min(some.values()) for some in manifest.counts().values()),
    }


def peak_mb() -> float:
    """The most memory that this process ever held, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (2**20 if sys.platform == "darwin" else 2**10), 1)


def line(facts: dict[str, Any], found: list[dict[str, Any]]) -> str:
    worst = {
        name: max(one[name] for one in found)
        for name in (
            "processor_s",
            "fingerprint_s",
            "reading_s",
            "checking_s",
            "splitting_s",
            "all_s",
            "peak_mb",
        )
    }
    return (
        f"{facts['shape']:20} {facts['file']:8}{found[0]['groups']:>9,} groups: "
        f"read {worst['reading_s']:.1f} s, check {worst['checking_s']:.1f} s, "
        f"split {worst['splitting_s']:.1f} s, all {worst['all_s']:.1f} s "
        f"({worst['processor_s']:.1f} s of processor), "
        f"{worst['peak_mb']:.0f} MB; fingerprint {worst['fingerprint_s']:.1f} s"
    )


def write_table(rows: list[dict[str, Any]], out: Path) -> None:
    # Only here: a process that reads a table must not hold what this imports.
    from understudy.ship.bench import where_and_when

    context = where_and_when() | {"pyarrow": pa.__version__, "numpy": np.__version__}
    path = dated_path("manifest_size", out, context)
    write_rows(path, [row | context for row in rows])
    print(path)


if __name__ == "__main__":
    main()
