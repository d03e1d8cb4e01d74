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
from understudy.run import Run, read_json, write_text
from understudy.study import cast, devices, plots
from understudy.study.attention import make_looks
from understudy.study.gallery import Gallery, make_gallery
from understudy.teach.progress import duration

_TEMPLATES = Path(__file__).parent / "templates"

_MEASURES = {
    "top1": ("Accuracy", "The class with the highest score is the right one."),
    "top5": ("Accuracy, five guesses", "The right class is among the five highest scores."),
    "macro_f1": ("Macro F1", "Mean over classes; rare ones weigh as much as frequent ones."),
    "calibration_error": ("Calibration error", "How far its confidence is from its accuracy."),
}
_TEACHER_FACTS = ("head", "model", "source", "weights_sha256")


def write_report(run: Run, out: Path | None = None) -> Path:
    """Write the page, by default into the run directory, and give its path.

    Raises UserError if the page cannot be written.
    """
    out = out or run.report_path
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, render_report(run))
    except OSError as error:
        raise UserError(
            f"The report {out} cannot be written: {error.strerror}. Choose another with --out."
        ) from error
    return out


def render_report(run: Run) -> str:
    """The page as HTML text: styles, drawings and pictures inside, nothing fetched."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "big": cast.big_number,
        "bytes": cast.file_size,
        "milliseconds": milliseconds,
        "duration": duration,
    }
    environment.globals["interval"] = plots.interval
    return environment.get_template("report.html").render(_content(run))


def _content(run: Run) -> dict[str, Any]:
    """Everything that the page shows, by the names that the template uses."""
    problems: list[str] = []

    def optional(name: str) -> Any:
        return read_optional(run.path / name, problems)

    recipe = run.recipe
    data, metrics = optional("data.json"), optional("metrics.json")
    history, teacher = optional("history.json") or [], optional("teacher.json")
    environment, bench = optional("environment.json") or {}, optional("bench.json") or []
    exports: list[dict[str, Any]] = [
        {
            "format": folder.name,
            **{
                part: read_optional(folder / f"{part}.json", problems) or {}
                for part in ("contract", "parity", "latency", "int8")
            },
        }
        for folder in sorted(run.path.glob("exports/*"))
        if folder.is_dir()
    ]
    comparison = optional("comparison.json")
    if not bench:
        bench = [row for export in exports for row in export["latency"].get("rows", [])]
    evaluations = [
        (folder.name, found)
        for folder in sorted(run.path.glob("evaluations/*"))
        if (found := read_optional(folder / "metrics.json", problems))
    ]
    performers = cast.performers(run, data, metrics, teacher, bench, problems)
    gallery = make_gallery(run, data) if data else Gallery(notes=["Training has not begun."])
    checkpoint = (metrics or {}).get("checkpoint", "best")
    return {
        "run": run,
        "recipe": recipe,
        "recipe_text": (run.path / "recipe.yaml").read_text(encoding="utf-8").strip(),
        "written": datetime.now().astimezone(),
        "data": data,
        "training_clips": sum(data["counts"].get("train", {}).values()) if data else 0,
        "history": history,
        "finished": "finished" in environment or len(history) >= recipe.train.epochs,
        "best": next((entry for entry in reversed(history) if entry.get("best")), None),
        "seconds": sum(entry.get("seconds", 0) for entry in history),
        "curves": plots.curves(history),
        "student": performers[0],
        "teacher": performers[1] if len(performers) > 1 else None,
        "teacher_facts": dict.fromkeys(_TEACHER_FACTS) | (teacher or {}),
        "contests": cast.contests(performers),
        "metrics": metrics,
        "measures": _measures(metrics),
        "per_class": _per_class(metrics),
        "confusion": _confusion(metrics),
        "confusions": plots.confusions(metrics["confusion"], metrics["classes"]) if metrics else [],
        "looks": make_looks(run, data, gallery, checkpoint) if data else [],
        "gallery": gallery,
        "comparison": comparison,
        "difference_scale": _difference_scale(comparison),
        "skipped": data["skipped"] if data else [],
        "evaluations": evaluations,
        "exports": exports,
        "deployments": devices.deployments(run, exports),
        "not_exported": devices.not_exported(run, exports),
        "bench": bench,
        "environment": _flat(environment),
        "command": shlex.join(environment.get("command") or []),
        "problems": problems,
    }


def read_optional(path: Path, problems: list[str]) -> Any:
    """The content of a JSON file, or None; a damaged one is told in `problems`."""
    if not path.exists():
        return None
    try:
        return read_json(path)
    except UserError as error:
        problems.append(str(error))
        return None


def _measures(metrics: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The rows of the table of metrics."""
    rows = []
    for key, (name, meaning) in _MEASURES.items():
        figure = (metrics or {}).get(key)
        if figure:
            chance = 1 / len(metrics["classes"]) if metrics and key == "top1" else None
            rows.append({"name": name, "meaning": meaning, "figure": figure, "reference": chance})
    return rows


def _per_class(metrics: dict[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    """Classes with their figures, the weakest first, those without clips last."""
    if not metrics:
        return []

    def weakest(entry: tuple[str, dict[str, Any]]) -> tuple[bool, float]:
        return entry[1]["n"] == 0, entry[1]["accuracy"]["value"]

    return sorted(metrics["per_class"].items(), key=weakest)


def _confusion(metrics: dict[str, Any] | None) -> Any:
    return plots.confusion(metrics["confusion"], metrics["classes"]) if metrics else None


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
