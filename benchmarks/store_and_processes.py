"""What the store of teachers' outputs saves, and whether several processes train as one does.

    python benchmarks/store_and_processes.py

Films 160 clips, trains a small teacher, and then one student several times: with a teacher that is
asked in every epoch, into a fresh store, from that store, as two runs that fill one store at once,
and as two processes by torchrun. The student has neither dropout nor batch normalisation, so that
all of them should end with the same weights. Prints a table and writes a CSV into results/: seconds
of the first and of a later epoch, and the largest difference of any weight from the first run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from dated import dated_path, write_rows
from understudy.data.stage import film_stage
from understudy.recipe import Recipe, dump_recipe, parse_recipe
from understudy.run import open_run
from understudy.ship.bench import where_and_when

EPOCHS, VIEWS = 6, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=160)
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film_stage(folder / "stage", clips=options.clips, size=64, pictures=False)
        rows = measure(folder)
    print("| | first epoch [s] | later epoch [s] | largest difference of a weight |")
    print("|---|---|---|---|")
    for row in rows:
        print(f"| {row['arm']} | {row['first_s']:.2f} | {row['later_s']:.2f} "
              f"| {row['largest_difference']:.1e} |")  # fmt: skip
    write_csv(rows, options.out, options.clips)


def measure(folder: Path) -> list[dict[str, Any]]:
    teacher = recipe(folder, epochs=2, model={"name": "frames-attention", "options": {
        "backbone": "small-cnn-wide", "embedding_dim": 64}}, taught=False)  # fmt: skip
    run([train(folder, teacher, folder / "runs" / "teacher")])
    live, stored = (recipe(folder, store=store) for store in (False, True))
    places = {
        "teacher asked in every epoch": folder / "live" / "student",
        "fresh store": folder / "runs" / "fresh",
        "from that store": folder / "runs" / "again",
        "two runs, one store: the first": folder / "both" / "one",
        "two runs, one store: the second": folder / "both" / "two",
        "two processes": folder / "torchrun" / "student",
    }
    by_arm = iter(places.values())
    run([train(folder, live, next(by_arm))])
    run([train(folder, stored, next(by_arm))])
    run([train(folder, stored, next(by_arm))])
    run([train(folder, stored, next(by_arm)), train(folder, stored, next(by_arm))])
    run([train(folder, stored, next(by_arm), processes=2)])
    reference = load_file(open_run(next(iter(places.values()))).checkpoint_path("final"))
    rows = []
    for arm, place in places.items():
        history = open_run(place).history
        weights = load_file(open_run(place).checkpoint_path("final"))
        apart = max(float((weights[n] - reference[n]).abs().max()) for n in reference)
        later = sorted(entry["seconds"] for entry in history[VIEWS:])
        rows.append({
            "arm": arm, "first_s": history[0]["seconds"], "later_s": later[len(later) // 2],
            "largest_difference": apart, "val_loss": history[-1]["val"]["loss"],
        })  # fmt: skip
    return rows


def recipe(
    folder: Path,
    *,
    epochs: int = EPOCHS,
    model: dict[str, Any] | None = None,
    taught: bool = True,
    store: bool = True,
) -> Recipe:
    student = {
        "name": "rvit",
        "options": {"dim": 32, "heads": 2, "mlp_dim": 64, "dropout": 0.0, "embedding_dim": 64},
    }
    teacher = {"kind": "run", "path": str(folder / "runs" / "teacher"), "store": store}
    return parse_recipe({
        "name": "student",
        "data": {"manifest": str(folder / "stage" / "manifest.csv"), "size": 64, "frames": 4,
                 "augment": {"crop_scale": 0.7, "views": VIEWS}},
        "model": model or student,
        "train": {"epochs": epochs, "batch_size": 8, "lr": 1e-3, "device": "cpu"},
        **({"teacher": teacher} if taught else {}),
    })  # fmt: skip


def train(folder: Path, asked: Recipe, place: Path, processes: int = 1) -> list[str]:
    """The command that trains a recipe into a place."""
    file = folder / f"{place.parent.name}-{place.name}.yaml"
    file.write_text(dump_recipe(asked), encoding="utf-8")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    words = ["-m", "understudy.cli", "train", str(file), "--out", str(place)]
    return [sys.executable, *(torchrun if processes > 1 else []), *words]


def run(commands: list[list[str]]) -> None:
    """Run commands at the same time, one thread each."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(one, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for one in commands
    ]
    for process in started:
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(errors.decode())


def write_csv(rows: list[dict[str, Any]], folder: Path, clips: int) -> None:
    context = where_and_when()
    facts = {"clips": clips, "epochs": EPOCHS, "views": VIEWS} | context
    path = dated_path("store_and_processes", folder, context)
    write_rows(path, [row | facts for row in rows])
    print(path)


if __name__ == "__main__":
    main()
