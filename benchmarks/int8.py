"""What INT8 gains and loses: every quantisation scheme of every format, on runs that were trained.

    python benchmarks/int8.py RUN [RUN ...] [--formats onnx,litert,executorch] [--data MANIFEST]

Each run is exported in FP32 to each format that is installed, and quantised as `understudy export
--int8 auto` does: ranges from training clips, accuracy on validation clips beside FP32 (paired
intervals), time on one thread with all schemes in turns (95%: bootstrap over rounds, in pairs).
Prints a Markdown table and the sentence that says what would be shipped; writes
results/int8_<date>_<hardware>.csv, where rows of other runs and formats stay. Nothing is trained,
and nothing is left in the runs.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from dated import dated_path, write_rows
from understudy.errors import UserError
from understudy.run import Run, open_run, write_json
from understudy.ship.bench.machine import where_and_when
from understudy.ship.contract import build_contract
from understudy.ship.export import write_graphs
from understudy.ship.formats import find_format
from understudy.ship.int8 import schemes_of
from understudy.ship.int8.auto import quantise

COLUMNS = (
    *("run", "model", "format", "graph", "recipe", "failure", "shipped", "n", "top1"),
    *("difference_points", "low_points", "high_points", "method", "agreement", "cosine"),
    *("median_ms", "p95_ms", "ratio", "ratio_low", "ratio_high", "rounds", "bytes", "bytes_ratio"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run directories")
    parser.add_argument("--formats", default="onnx,litert,executorch")
    parser.add_argument("--data", help="manifest; by default each run's own")
    parser.add_argument("--out", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for path in arguments.runs:
        for name in arguments.formats.split(","):
            try:
                find_format(name)
                schemes_of(name)
            except UserError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            rows += measure(open_run(path), name, arguments.data)
    print_table(rows)
    write_csv(rows, arguments.out)


def measure(run: Run, name: str, data: str | None) -> list[dict[str, Any]]:
    """One row for each graph and each scheme, FP32 among them."""
    format_, classifier = find_format(name), run.classifier()
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder)
        entries = write_graphs(format_, classifier.model, classifier.clip_frames, draft)
        contract = build_contract(classifier, entries, runtime=name)
        write_json(draft / "contract.json", contract)
        report = quantise(run, draft, manifest=data, progress=lambda line: print(f"{name} {line}"))
    about = {"run": run.name, "model": run.recipe.model.name, "format": name}
    return [
        about | {"graph": kind, "shipped": row["recipe"] == table["chosen"]} | row
        for kind, table in report["graphs"].items()
        for row in table["rows"]
    ]


def print_table(rows: list[dict[str, Any]]) -> None:
    print("\n| run | format | graph | scheme | top-1 | points [95%] | time over FP32 | bytes |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        about = f"| {row['run']} | {row['format']} | {row['graph']} | {row['recipe']} "
        if row["failure"] is not None:
            print(f"{about}| {row['failure']} | | | |")
            continue
        print(
            f"{about}{'(shipped) ' if row['shipped'] else ''}| {row['top1']:.3f} "
            f"| {row['difference_points']:+.1f} [{row['low_points']:+.1f}, "
            f"{row['high_points']:+.1f}] | {row['ratio']:.2f} [{row['ratio_low']:.2f}, "
            f"{row['ratio_high']:.2f}] | {row['bytes_ratio']:.2f} |"
        )


def write_csv(rows: list[dict[str, Any]], folder: Path) -> None:
    context = where_and_when()
    path = dated_path("int8", folder, context)
    rows = [row | context for row in rows]
    if path.exists():
        new = {(row["run"], row["format"]) for row in rows}
        with path.open(encoding="utf-8", newline="") as file:
            kept = [row for row in csv.DictReader(file) if (row["run"], row["format"]) not in new]
        rows = sorted(kept + rows, key=lambda row: (row["run"], row["format"]))
    names = (*COLUMNS, *context)
    write_rows(path, [{name: row.get(name, "") for name in names} for row in rows])
    print(f"\n{path}")


if __name__ == "__main__":
    main()
