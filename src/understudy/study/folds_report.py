"""The page of a folder of folds: one figure for all clips, and what it was in each fold and group.

What one fold learned and said is on the page of its run.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from understudy.judge.show import TITLES
from understudy.run.folds import FoldRuns
from understudy.study.report import figures, read_optional, render, write_page
from understudy.task import task_that_gave


def write_report_of_folds(folds: FoldRuns, out: Path | None = None) -> Path:
    """Write the page, by default into the folder, and give its path. Raises UserError if it cannot
    be written."""
    return write_page(out or folds.report_path, render_folds(folds))


def render_folds(folds: FoldRuns) -> str:
    """The page as HTML text; what is missing is named on it."""
    problems: list[str] = []
    metrics = read_optional(folds.path / "metrics.json", problems)
    recipe = folds.recipe
    metric = task_that_gave(metrics or {}).metric
    return render(
        "folds.html",
        {
            "folds": folds,
            "recipe": recipe,
            "recipe_text": (folds.first.path / "recipe.yaml").read_text(encoding="utf-8").strip(),
            "title": TITLES[metric],
            "main": metrics[metric] if metrics else None,
            "limits": metrics["warnings"] if metrics else [],
            "problems": problems,
            "written": datetime.now().astimezone(),
            **figures(metrics),
        },
    )
