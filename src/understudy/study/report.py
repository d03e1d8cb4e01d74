"""The report of a run: one HTML page that stands on its own.

It reads the run directory and, for the pictures, the clips that its manifest names. Only the recipe
must be there; whatever else is missing is named on the page, with the command that makes it.
"""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

from understudy.errors import UserError
from understudy.judge.metrics import TOP5_CLASSES
from understudy.judge.predictions import counted
from understudy.progress import duration
from understudy.run import Run, write_output
from understudy.run.unfinished import unfinished_note
from understudy.ship.draft import finished
from understudy.ship.reading import read_known
from understudy.study import devices, plots, sides
from understudy.study.attention import make_looks
from understudy.study.gallery import Gallery, make_gallery
from understudy.study.limits import limits_of
from understudy.task import SINGLE_LABEL, task_that_gave

_TEMPLATES = Path(__file__).parent / "templates"

_MEASURES = {
    "top1": ("Accuracy", "The class with the highest score is the right one."),
    "top1_without_background": (
        "Accuracy without background",
        "The same, on the clips that show one of the other classes.",
    ),
    "map": (
        "mAP",
        "Mean over classes of the average precision: how far the clips of a class stand above the "
        "others. It needs no threshold.",
    ),
    "map_without_background": ("mAP without background", "The same, over the other classes."),
    "micro_f1": ("Micro F1", "Of all labels together, at the thresholds."),
    "top5": ("Top-5 accuracy", "The right class is among the five highest scores."),
    "macro_f1": ("Macro F1", "Mean over classes; rare ones weigh as much as frequent ones."),
    "exact_match": ("All labels right", "Every label of a clip is said, and no other."),
    "calibration_error": ("Calibration error", "How far its confidence is from its accuracy."),
}


def write_report(
    run: Run, out: Path | None = None, *, device: str = "cpu", pictures: bool = True
) -> Path:
    """Write the page, by default into the run directory, and give its path.

    device: where attention maps are computed.
    pictures: whether frames of the clips, and maps laid over them, are part of the page.
    Raises UserError if the page cannot be written.
    """
    return write_page(out or run.report_path, render_report(run, device=device, pictures=pictures))


def write_page(out: Path, html: str) -> Path:
    """Write a page, and the folder that it goes to. Raises UserError as `write_output` does."""
    write_output(out, html.encode("utf-8"))
    return out


def render_report(run: Run, *, device: str = "cpu", pictures: bool = True) -> str:
    """The page as HTML text: styles, drawings and pictures inside, nothing fetched."""
    return render("report.html", _content(run, device, pictures))


def render(template: str, content: dict[str, Any]) -> str:
    """A page from a template of this folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "big": sides.big_number,
        "bytes": sides.file_size,
        "milliseconds": milliseconds,
        "duration": duration,
        "counted": counted,
        "quoted": lambda path: shlex.quote(str(path)),
    }
    environment.globals["interval"] = plots.interval
    return environment.get_template(template).render(content)


def _content(run: Run, device: str, pictures: bool) -> dict[str, Any]:
    """Everything that the page shows, by the names that the template uses."""
    problems: list[str] = []

    def optional(name: str) -> Any:
        return read_optional(run.path / name, problems)

    recipe = run.recipe
    data, metrics = optional("data.json"), optional("metrics.json")
    history = optional("history.json") or []
    environment, bench = optional("environment.json") or {}, optional("bench.json") or []
    folders = finished(run.path / "exports")
    exports = [read_export(folder, problems) for folder in folders]
    comparison = optional("comparison.json")
    if not bench:
        bench = [row for export in exports for row in export["latency"].get("rows", [])]
    evaluations = read_evaluations(run.path, problems)
    for folder in folders:
        evaluations += read_evaluations(folder, problems, f"{folder.name}: ")
    student, *teachers = sides.student_and_teachers(run, data, metrics, bench, problems)
    if data:
        gallery = make_gallery(run, data, pictures=pictures)
    else:
        gallery = Gallery(notes=["Training has not begun."])
    best = next((entry for entry in reversed(history) if entry.get("best")), None)
    checkpoint = (metrics or {}).get("checkpoint", "best")
    return {
        "run": run,
        "recipe": recipe,
        "recipe_text": (run.path / "recipe.yaml").read_text(encoding="utf-8").strip(),
        "written": datetime.now().astimezone(),
        "data": data,
        "clips": data.get("clips") or _labels(data) if data else {},
        "history": history,
        "finished": "finished" in environment or len(history) >= recipe.train.epochs,
        "unfinished": _unfinished(run, problems),
        "best": best,
        "limits": limits_of(run, metrics, best),
        "time_parts": _time_parts(history, environment),
        "curves": plots.curves(history),
        "student": student,
        "teachers": teachers,
        "weights": {
            one.role: recipe.weights_of(one.role)
            for one in teachers
            if one.role in recipe.all_teachers
        },
        "quantities": sides.quantities([student, *teachers]),
        **figures(metrics),
        "trained": task_that_gave(best["val"]) if best else SINGLE_LABEL,
        "looks": make_looks(run, data, gallery, checkpoint, device=device)
        if data and pictures
        else [],
        "gallery": gallery,
        "comparison": comparison,
        "difference_scale": _difference_scale(comparison),
        "skipped": data["skipped"] if data else [],
        "evaluations": evaluations,
        "exports": exports,
        "deployments": devices.deployments(exports),
        "not_exported": devices.not_exported(run, exports),
        "bench": bench,
        "hardware": None,
        "environment": _flat(environment),
        "command": shlex.join(environment.get("command") or []),
        "problems": problems,
    }


def read_optional(path: Path, problems: list[str]) -> Any:
    """The content of a JSON file, or None; a damaged one is named in `problems`."""
    if not path.exists():
        return None
    try:
        return read_known(path)
    except UserError as error:
        problems.append(str(error))
        return None


def read_export(folder: Path, problems: list[str]) -> dict[str, Any]:
    """What the files of an artifact say of it, empty where one is missing."""
    parts = ("contract", "parity", "latency", "int8")
    found = {part: read_optional(folder / f"{part}.json", problems) or {} for part in parts}
    return {"format": folder.name, **found}


def read_evaluations(
    folder: Path, problems: list[str], prefix: str = ""
) -> list[tuple[str, dict[str, Any]]]:
    """The evaluations in a run or an artifact, by name."""
    return [
        (f"{prefix}{place.name}", found)
        for place in sorted(folder.glob("evaluations/*"))
        if (found := read_optional(place / "metrics.json", problems))
    ]


def figures(metrics: dict[str, Any] | None) -> dict[str, Any]:
    """All that a page shows of an evaluation, by the names that its templates use."""
    task = task_that_gave(metrics or {})
    matrix = metrics.get("confusion") if metrics else None
    classes = metrics["classes"] if metrics else []
    return {
        "metrics": metrics,
        "task": task,
        "main": metrics[task.metric] if metrics else None,
        "measures": _measures(metrics),
        "per_class": _per_class(metrics),
        # Where several labels may hold, no class stands in the place of another.
        "confusion": plots.confusion(matrix, classes) if matrix else None,
        "confusions": plots.confusions(matrix, classes) if matrix else [],
    }


def _labels(data: dict[str, Any]) -> dict[str, int]:
    """Clips per split of a run that did not note them: as many as labels, one each."""
    return {split: sum(counts.values()) for split, counts in data["counts"].items()}


def _unfinished(run: Run, problems: list[str]) -> str | None:
    try:
        return unfinished_note(run)
    except UserError as error:
        if str(error) not in problems:
            problems.append(str(error))
        return None


def _time_parts(
    history: list[dict[str, Any]], environment: dict[str, Any]
) -> list[tuple[str, float]]:
    """What training took, in seconds, by its parts; older runs noted that of the epochs alone."""
    parts = {
        "before the first epoch": environment.get("prepare_seconds", 0.0),
        "in epochs": sum(entry.get("seconds", 0.0) for entry in history),
        "in validation": sum(entry.get("val_seconds", 0.0) for entry in history),
    }
    return [(name, seconds) for name, seconds in parts.items() if seconds]


def _measures(metrics: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The rows of the table of metrics."""
    rows = []
    for key, (name, meaning) in _MEASURES.items():
        figure = (metrics or {}).get(key)
        if figure and not (key == "top5" and len((metrics or {})["classes"]) < TOP5_CLASSES):
            chance = 1 / len(metrics["classes"]) if metrics and key == "top1" else None
            rows.append({"name": name, "meaning": meaning, "figure": figure, "reference": chance})
    return rows


def _per_class(metrics: dict[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    """Classes with their figures, the weakest first, those without clips last."""
    if not metrics:
        return []

    def weakest(entry: tuple[str, dict[str, Any]]) -> tuple[bool, float]:
        figure = entry[1].get("average_precision") or entry[1]["accuracy"]
        return entry[1]["n"] == 0, figure["value"]

    return sorted(metrics["per_class"].items(), key=weakest)


def _difference_scale(comparison: dict[str, Any] | None) -> tuple[float, float]:
    """A scale with no difference in its middle that holds the whole interval."""
    reach = max(abs(comparison["low"]), abs(comparison["high"]), 0.05) if comparison else 1.0
    return -reach, reach


def _flat(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested content as rows of a table; the command has a place of its own on the page."""
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key} ")
        elif value is not None and not (key == "command" and not prefix):
            rows.append((f"{prefix}{key}", str(value)))
    return rows


def percent(value: float, digits: int = 0) -> str:
    """0.873 as 87%; 100% and 0% are said only of what is exactly that.

    >>> percent(0.873), percent(0.9996), percent(0.0004, 1)
    ('87%', '>99%', '<0.1%')
    """
    text = f"{100 * value:.{digits}f}"
    step = 10**-digits
    if value < 1 and float(text) == 100:
        return f">{100 - step:.{digits}f}%"
    if value > 0 and float(text) == 0:
        return f"<{step:.{digits}f}%"
    return f"{text}%"


def milliseconds(value: float) -> str:
    """Three significant figures: 6.52 ms, 48.1 ms, 1240 ms."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}\N{NO-BREAK SPACE}ms"
