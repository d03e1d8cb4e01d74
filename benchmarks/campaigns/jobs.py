"""The six verbs that write, each as a job: prepared, called, called again, and looked at.

Whoever kills a job, or fills its disk, then does what a user would do next, `again`, and compares
the answer with that of a call to which nothing happened.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaigns.asking import AskError, ask
from campaigns.forked import run
from campaigns.workshop import Workshop

FOREIGN = "notes.txt"
"""A file of the user's that stands in every folder, and must stay."""


@dataclass(frozen=True, slots=True)
class Job:
    """prepare: puts what the verb needs into an empty folder. words: the call, and what a user
    calls next after it was cut off. answer: what was made there, comparable; it raises where that
    is not whole. made: what the call makes or fills, below the folder."""

    name: str
    prepare: Callable[[Workshop, Path], None]
    words: Callable[[Path], list[str]]
    again: Callable[[Path], list[str]]
    answer: Callable[[Path], Any]
    made: str


def prepare(job: Job, workshop: Workshop, place: Path) -> None:
    place.mkdir(parents=True)
    job.prepare(workshop, place)
    for folder in [place, *(entry for entry in place.rglob("*") if entry.is_dir())]:
        if not (folder / "contract.json").exists():  # an artifact is replaced as a whole
            (folder / FOREIGN).write_text("mine", encoding="utf-8")


def shape(place: Path) -> set[str]:
    """All files and folders, by their names below `place`; shards of a store as one, since how
    many there are says only when they were written."""
    names = {entry.relative_to(place).as_posix() for entry in place.rglob("*")}
    return {re.sub(r"/[0-9a-f]{32}\.safetensors$", "/SHARD", name) for name in names}


def foreign(place: Path) -> set[str]:
    """The files of the user's that are as they were."""
    notes = [file for file in place.rglob(FOREIGN) if file.is_file()]
    return {str(file.relative_to(place)) for file in notes if file.read_bytes() == b"mine"}


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What a job comes to when nothing happens: its answer, its files, what it took."""

    answer: Any
    shape: set[str]
    foreign: set[str]
    seconds: float
    changes: int
    kilobytes: int


def undisturbed(job: Job, workshop: Workshop, place: Path) -> Undisturbed:
    prepare(job, workshop, place)
    before, kept = _kilobytes(place), foreign(place)
    ended = run(job.words(place), place)
    if ended.code != 0:
        raise SystemExit(f"{job.name} fails where nothing was broken:\n{ended.err}")
    return Undisturbed(job.answer(place), shape(place), kept, ended.seconds, ended.changes,
                       _kilobytes(place) - before)  # fmt: skip


def look(job: Job, place: Path, expected: Undisturbed) -> tuple[str, str]:
    """The outcome where the last call went well, and what is amiss."""
    gone = sorted(expected.foreign - foreign(place))
    if gone:
        return "lost", f"gone: {', '.join(gone)}"
    try:
        answer = job.answer(place)
    except (OSError, ValueError, KeyError, AssertionError, AskError) as error:
        return "lost", f"not whole: {type(error).__name__} {error}"
    if answer != expected.answer:
        return "wrong", "another result than without"
    left = sorted(shape(place) - expected.shape)
    return ("left", f"left behind: {', '.join(left)}") if left else ("right", "")


def _kilobytes(place: Path) -> int:
    """What the files take on a disk of pages of 4 kB, a folder one page."""
    return sum(4 * -(-entry.lstat().st_size // 4096) or 4 for entry in place.rglob("*"))


# Training


def _recipe(workshop: Workshop, place: Path) -> None:
    shutil.copy(workshop.recipe, place / "recipe.yaml")
    (place / "runs").mkdir()


def _taught(workshop: Workshop, place: Path) -> None:
    shutil.copy(workshop.taught, place / "recipe.yaml")
    (place / "runs").mkdir()


def _train(place: Path) -> list[str]:
    return ["train", "recipe.yaml", "--out", "runs/new"]


def _train_again(place: Path) -> list[str]:
    if (place / "runs/new/recipe.yaml").exists():
        return ["train", "--resume", "runs/new"]
    return _train(place)


def _trained(place: Path) -> Any:
    run = place / "runs" / "new"
    history = json.loads((run / "history.json").read_text(encoding="utf-8"))
    for entry in history:
        del entry["seconds"], entry["val_seconds"], entry["clips_per_second"]
    weights = ask(_weights, run / "checkpoints")
    skipped = json.loads((run / "data.json").read_text(encoding="utf-8"))["skipped"]
    assert "finished" in json.loads((run / "environment.json").read_text(encoding="utf-8"))
    return {"history": history, "weights": weights, "skipped": skipped}


def _weights(folder: Path) -> dict[str, str]:
    """A hash of every tensor: files with the same may differ in the order of their metadata."""
    from safetensors.torch import load_file

    return {
        f"{name} {tensor}": hashlib.sha256(values.numpy().tobytes()).hexdigest()
        for name in ("best", "final")
        for tensor, values in load_file(folder / f"{name}.safetensors").items()
    }


def _filled(place: Path) -> Any:
    return {"run": _trained(place), "store": ask(_stored, place / "runs" / "teacher-store")}


def _stored(folder: Path) -> dict[str, str]:
    """Every output in a store, by its id; a shard's bytes must be those that its name says."""
    from safetensors.torch import load

    found = {}
    for shard in sorted(folder.rglob("*.safetensors")):
        content = shard.read_bytes()
        assert hashlib.blake2b(content, digest_size=16).hexdigest() == shard.stem
        tensors = load(content)
        for row, name in enumerate(tensors["ids"]):
            one = (
                tensors["logits"][row].numpy().tobytes(),
                tensors["embedding"][row].numpy().tobytes(),
            )
            key = f"{shard.parent.name}/{bytes(name.tolist()).hex()}"
            assert found.setdefault(key, one) == one, "two outputs for one clip and view"
    return {name: hashlib.sha256(b"".join(one)).hexdigest() for name, one in found.items()}


# What follows training


def _run(workshop: Workshop, place: Path) -> None:
    workshop.copy_run(place / "runs" / "student")


def _exported(workshop: Workshop, place: Path) -> None:
    workshop.copy_run(place / "runs" / "student", exports=True)


def _evaluated(workshop: Workshop, place: Path) -> None:
    workshop.copy_run(place / "runs" / "student", exports=True, evaluated=True)
    (place / "runs" / "student" / "report.html").unlink()


def _evaluate(place: Path) -> list[str]:
    return ["evaluate", "runs/student"]


def _evaluation(place: Path) -> Any:
    run = place / "runs" / "student"
    return json.loads((run / "metrics.json").read_text(encoding="utf-8")), ask(_predictions, run)


def _predictions(run: Path) -> Any:
    from understudy.judge.predictions import read_predictions

    found = read_predictions(run / "predictions.parquet")
    return found.id, found.target.tolist(), found.logits.tolist()


def _export(place: Path) -> list[str]:
    return ["export", "runs/student"]


def _overwrite(place: Path) -> list[str]:
    return ["export", "runs/student", "--overwrite"]


def _export_again(place: Path) -> list[str]:
    there = (place / "runs/student/exports/onnx/contract.json").exists()
    return _overwrite(place) if there else _export(place)


def _artifact(place: Path) -> Any:
    folder = place / "runs" / "student" / "exports" / "onnx"
    return ask(_check_artifact, folder), sorted(
        f.name for f in folder.iterdir() if f.name != FOREIGN
    )


def _check_artifact(folder: Path) -> Any:
    """What an artifact answers, after its own checks."""
    import torch

    from understudy.ship.artifact import open_artifact

    artifact = open_artifact(folder)
    assert artifact.parity["passed"]
    assert artifact.latency is not None
    assert (folder / "README.md").read_text(encoding="utf-8").endswith("\n")
    recogniser = artifact.classifier(threads=1)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return recogniser(frames).logits.tolist()


def _nothing(workshop: Workshop, place: Path) -> None:
    (place / "data").mkdir()


def _stage(place: Path) -> list[str]:
    return ["data", "stage", "data/stage", "--clips", "50", "--size", "32"]


def _films(place: Path) -> Any:
    folder = place / "data" / "stage"
    files = sorted(entry for entry in folder.rglob("*") if entry.is_file())
    return {f.relative_to(folder).as_posix(): _hash(f) for f in files if f.name != FOREIGN}


def _report(place: Path) -> list[str]:
    return ["report", "runs/student"]


def _page(place: Path) -> Any:
    page = (place / "runs" / "student" / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>"), "half a page"
    return re.sub(r"<time.*?</time>", "", page)


def _bench(place: Path) -> list[str]:
    return ["bench", "runs/student", "--threads", "1", "--rounds", "3", "--no-memory", "--csv",
            "runs/table.csv", "--plot", "runs/plot.svg"]  # fmt: skip


def _table(place: Path) -> Any:
    run = place / "runs" / "student"
    rows = json.loads((run / "bench.json").read_text(encoding="utf-8"))
    json.loads((run / "exports" / "onnx" / "latency.json").read_text(encoding="utf-8"))
    assert "</svg>" in (place / "runs" / "plot.svg").read_text(encoding="utf-8")
    lines = (place / "runs" / "table.csv").read_text(encoding="utf-8").splitlines()
    return [(row["subject"], row["what"]) for row in rows], len(lines)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


TRAIN = Job("train", _recipe, _train, _train_again, _trained, "runs")
STORE = Job("store", _taught, _train, _train_again, _filled, "runs")
EVALUATE = Job("evaluate", _run, _evaluate, _evaluate, _evaluation, "runs/student")
EXPORT = Job("export", _run, _export, _export_again, _artifact, "runs/student")
REPLACE = Job("export --overwrite", _exported, _overwrite, _export_again, _artifact, "runs/student")
STAGE = Job("stage", _nothing, _stage, _stage, _films, "data")
REPORT = Job("report", _evaluated, _report, _report, _page, "runs/student")
BENCH = Job("bench", _evaluated, _bench, _bench, _table, "runs")
