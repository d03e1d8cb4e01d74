"""Who plays in a run, the student and its teacher, and how much each weighs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import UserError
from understudy.run import Run, open_run

_BYTES_PER_PARAMETER = 4


@dataclass(frozen=True, slots=True)
class Performer:
    """Student or teacher, with whatever is known of it; None is what is not known."""

    role: str
    name: str
    parameters: int | None = None
    file_bytes: int | None = None
    latency_ms: float | None = None
    threads: int | None = None
    top1: dict[str, Any] | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Contest:
    """One quantity of student and teacher side by side. `bars`: (role, written, share of both)."""

    name: str
    verdict: str
    bars: list[tuple[str, str, float]]


def performers(
    run: Run,
    data: dict[str, Any] | None,
    metrics: dict[str, Any] | None,
    teacher: dict[str, Any] | None,
    bench: list[dict[str, Any]],
    problems: list[str],
) -> list[Performer]:
    """The student, and the teacher if there was one. What cannot be read goes into `problems`."""
    checkpoint = run.checkpoint_path()
    student = Performer(
        "student",
        run.recipe.model.name,
        _parameters(run, data) if data else None,
        checkpoint.stat().st_size if checkpoint.is_file() else None,
        **_latency(bench, {run.name, "student"}),
        top1=metrics["top1"] if metrics else None,
        split=metrics["split"] if metrics else None,
    )
    if teacher is None:
        return [student]
    path = teacher_run_path(teacher)
    top1, split, file_bytes = teacher.get("val"), "val", None
    if path is not None:
        try:
            shown = open_run(path)
            if metrics and (theirs := shown.metrics) and theirs["split"] == metrics["split"]:
                top1, split = theirs["top1"], theirs["split"]
            weights = shown.checkpoint_path(_teacher_checkpoint(run))
            file_bytes = weights.stat().st_size if weights.is_file() else None
        except UserError as error:
            problems.append(f"The teacher's run could not be read. {error}")
    parameters = teacher.get("parameters")
    if file_bytes is None and parameters:
        file_bytes = parameters * _BYTES_PER_PARAMETER
    name = teacher.get("name") or (Path(path).name if path else teacher.get("kind", "teacher"))
    known = {name, "teacher"} | ({Path(path).name} if path else set())
    return [
        student,
        Performer(
            "teacher",
            name,
            parameters,
            file_bytes,
            **_latency(bench, known),
            top1=top1,
            split=split if top1 else None,
        ),
    ]


def teacher_run_path(teacher: dict[str, Any]) -> str | None:
    """Where the run is that taught; None for a teacher that is no run."""
    return teacher.get("run")


def contests(performers: list[Performer]) -> list[Contest]:
    """Parameters, size and latency of student and teacher, where both are known."""
    if len(performers) < 2:
        return []
    student, teacher = performers
    quantities = [
        ("Parameters", "parameters", big_number, "fewer"),
        ("Weights", "file_bytes", file_size, "smaller"),
    ]
    if student.threads == teacher.threads:
        quantities.append(("Time per clip", "latency_ms", _milliseconds, "faster"))
    found = []
    for name, key, write, better in quantities:
        ours, theirs = getattr(student, key), getattr(teacher, key)
        if not ours or not theirs:
            continue
        ratio = theirs / ours
        opposite = {"fewer": "more", "smaller": "larger", "faster": "slower"}[better]
        verdict = _times(ratio, better) if ratio >= 1 else _times(1 / ratio, opposite)
        most = max(ours, theirs)
        bars = [
            ("teacher", write(theirs), theirs / most),
            ("student", write(ours), ours / most),
        ]
        found.append(Contest(name, verdict, bars))
    return found


def big_number(value: float) -> str:
    """Three significant figures with a unit people know: 951 k, 2.30 M, 151 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:
            return f"{_three_figures(value / size)}\N{NO-BREAK SPACE}{unit}"
    return f"{value:g}"


def file_size(value: float) -> str:
    """Bytes with a unit, a thousand to the step: 9.31 MB."""
    return f"{big_number(value)}B"


def _three_figures(value: float) -> str:
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def _milliseconds(value: float) -> str:
    return f"{_three_figures(value)}\N{NO-BREAK SPACE}ms"


def _times(ratio: float, better: str) -> str:
    if ratio < 1.05:
        return "the same"
    return f"{ratio:.{1 if ratio < 10 else 0}f} times {better}"


def _parameters(run: Run, data: dict[str, Any]) -> int | None:
    """Counted on the architecture itself, without memory for its weights."""
    import torch

    from understudy.models import create_model
    from understudy.types import parameter_count

    try:
        with torch.device("meta"):
            model = create_model(
                run.recipe.model.name, len(data["classes"]), **data["model_options"]
            )
    except UserError:
        return None
    return parameter_count(model)


def _teacher_checkpoint(run: Run) -> str:
    teacher = run.recipe.teacher
    return teacher.checkpoint if teacher else "best"


def _latency(bench: list[dict[str, Any]], names: set[str]) -> dict[str, Any]:
    """Median per clip of the first of `names` in the benchmark, on as few threads as measured."""
    rows = [
        row
        for row in bench
        if row.get("what") != "frame" and names & {row["subject"], Path(row["subject"]).name}
    ]
    if not rows:
        return {"latency_ms": None, "threads": None}
    row = min(rows, key=lambda row: (row["threads"], row["kind"] != "run"))
    return {"latency_ms": row["median_ms"], "threads": row["threads"]}
