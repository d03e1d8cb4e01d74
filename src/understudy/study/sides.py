"""Student and teachers side by side: how large, how fast and how good each is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import UserError
from understudy.run import Run, open_run
from understudy.task import task_that_gave

_BYTES_PER_PARAMETER = 4
_FACTS = ("head", "model", "source", "weights_sha256")


@dataclass(frozen=True, slots=True)
class Side:
    """The student or a teacher, with whatever is known of it; None is what is not known.

    role: "student", or the name by which the recipe calls a teacher, "teacher" for a single one.
    facts: of a teacher, some of what teacher.json has.
    """

    role: str
    name: str
    parameters: int | None = None
    file_bytes: int | None = None
    latency_ms: float | None = None
    threads: int | None = None
    judged: dict[str, Any] | None = None
    split: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity of the student beside that of its teachers.

    verdict: the student against them, such as "15 times faster"; against each by name where there
    are several. bars: (role, written, share of the largest), the student last.
    """

    name: str
    verdict: str
    bars: list[tuple[str, str, float]]


def student_and_teachers(
    run: Run,
    data: dict[str, Any] | None,
    metrics: dict[str, Any] | None,
    bench: list[dict[str, Any]],
    problems: list[str],
) -> list[Side]:
    """The student, and then its teachers. What cannot be read goes into `problems`.

    data, metrics, bench: content of the run's files of these names, None where missing.
    """
    checkpoint = run.checkpoint_path()
    student = Side(
        "student",
        run.recipe.model.name,
        _parameters(run, data) if data else None,
        checkpoint.stat().st_size if checkpoint.is_file() else None,
        **_latency(bench, {run.name, "student"}),
        judged=metrics[task_that_gave(metrics).metric] if metrics else None,
        split=metrics["split"] if metrics else None,
    )
    try:
        facts = run.teachers
    except UserError as error:
        problems.append(str(error))
        facts = {}
    return [
        student,
        *(_teacher(run, role, facts[role], metrics, bench, problems) for role in facts),
    ]


def _teacher(
    run: Run,
    role: str,
    facts: dict[str, Any],
    metrics: dict[str, Any] | None,
    bench: list[dict[str, Any]],
    problems: list[str],
) -> Side:
    path = facts.get("run")
    judged, split, file_bytes = facts.get("val"), "val", None
    if path is not None:
        try:
            shown = open_run(path)
            if metrics and (theirs := shown.metrics) and _alike(theirs, metrics):
                judged, split = theirs[task_that_gave(metrics).metric], theirs["split"]
            weights = shown.checkpoint_path(_checkpoint_of(run, role))
            file_bytes = weights.stat().st_size if weights.is_file() else None
        except UserError as error:
            problems.append(f"The run of the teacher {role} could not be read. {error}")
    parameters = facts.get("parameters")
    if file_bytes is None and parameters:
        file_bytes = parameters * _BYTES_PER_PARAMETER
    name = facts.get("name") or (Path(path).name if path else facts.get("kind", role))
    known = {name, role} | ({Path(path).name} if path else set())
    return Side(
        role,
        name,
        parameters,
        file_bytes,
        **_latency(bench, known),
        judged=judged,
        split=split if judged else None,
        facts=dict.fromkeys(_FACTS) | {key: facts[key] for key in _FACTS if key in facts},
    )


def _alike(theirs: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Whether two evaluations are of one split and one task."""
    return theirs["split"] == ours["split"] and task_that_gave(theirs) == task_that_gave(ours)


def quantities(sides: list[Side]) -> list[Quantity]:
    """Parameters, size and latency of student and teachers, where they are known."""
    student, *teachers = sides
    asked = [
        ("Parameters", "parameters", big_number, "fewer", "more"),
        ("Weights", "file_bytes", file_size, "smaller", "larger"),
        ("Time per clip", "latency_ms", _milliseconds, "faster", "slower"),
    ]
    found = []
    for name, key, write, better, worse in asked:
        ours = getattr(student, key)
        # A latency on other threads is no comparison.
        others = [
            (teacher.role, getattr(teacher, key))
            for teacher in teachers
            if getattr(teacher, key) and (key != "latency_ms" or teacher.threads == student.threads)
        ]
        if not ours or not others:
            continue
        verdicts = {role: _verdict(theirs / ours, better, worse) for role, theirs in others}
        verdict = next(iter(verdicts.values()))
        if len(teachers) > 1:
            verdict = "; ".join(f"{said} ({role})" for role, said in verdicts.items())
        most = max(ours, *(theirs for _, theirs in others))
        bars = [(role, write(value), value / most) for role, value in [*others, ("student", ours)]]
        found.append(Quantity(name, verdict, bars))
    return found


def _verdict(ratio: float, better: str, worse: str) -> str:
    return _times(ratio, better) if ratio >= 1 else _times(1 / ratio, worse)


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


def _checkpoint_of(run: Run, role: str) -> str:
    teacher = run.recipe.all_teachers.get(role)
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
