"""A folder of folds: the runs of one recipe, one for each fold, as `fold-1`, `fold-2` and so on.

Each is a run directory like any other. Beside them lie the figures of all of them together, as
metrics.json, predictions.parquet and report.html.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from understudy.data.columns import TEXT, as_text, pc
from understudy.data.folds import COLUMN, fold_numbers
from understudy.data.manifest import Manifest
from understudy.errors import UserError
from understudy.recipe import Recipe
from understudy.run.directory import Run


@dataclass(frozen=True, slots=True)
class FoldRuns:
    """The runs of folds that were begun, by the number of the fold."""

    path: Path
    runs: dict[int, Run]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def first(self) -> Run:
        return self.runs[min(self.runs)]

    @property
    def recipe(self) -> Recipe:
        """What all of them were asked, for no fold in particular."""
        return for_fold(self.first.recipe, None)

    @property
    def count(self) -> int:
        """How many folds there are, begun or not."""
        return int(fold_numbers(self.first.manifest).max())

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"


def fold_path(path: Path, fold: int) -> Path:
    return path / f"fold-{fold}"


def for_fold(recipe: Recipe, fold: int | None) -> Recipe:
    """The recipe of one of its folds, or of none in particular."""
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"fold": fold})})


def holds_folds(path: str | Path) -> bool:
    """Whether a folder is one of folds: no run itself, and with the run of a fold in it."""
    path = Path(path)
    return not (path / "recipe.yaml").exists() and bool(_numbers(path))


def open_folds(path: str | Path) -> FoldRuns:
    """Open a folder of folds. Raises UserError where they are not of one recipe and one table."""
    path = Path(path)
    found = FoldRuns(path, {fold: Run(fold_path(path, fold)) for fold in _numbers(path)})
    expected = found.first
    for fold, run in found.runs.items():
        if run.recipe.data.fold != fold:
            raise UserError(
                f"{run.path} is not fold {fold} of anything: its recipe has data.fold "
                f"{run.recipe.data.fold}. Move it elsewhere."
            )
        if differing := _differences(expected.recipe, run.recipe):
            raise UserError(
                f"{run.path} and {expected.path} are not folds of one recipe; they differ in "
                f"{', '.join(differing[:5])}. Train all folds with the same one."
            )
        if run.has_manifest and dealt(run.manifest) != dealt(expected.manifest):
            raise UserError(
                f"{run.path} and {expected.path} were not dealt from the same clips, labels and "
                "groups. Train all folds on one table."
            )
    return found


def dealt(manifest: Manifest) -> str:
    """SHA-256 over the labelled clips, in any order: id, label, group and fold."""
    rows = np.flatnonzero(manifest.columns.label.numbers > 0)
    columns = manifest.columns
    parts = [manifest.ids(), columns.label.text(), columns.group.text()]
    parts.append(as_text(manifest.extras[COLUMN]))
    lines = pc.binary_join_element_wise(
        *(as_text(one).take(rows) for one in parts), pa.scalar("\0", TEXT)
    )
    return hashlib.sha256("\n".join(sorted(lines.to_pylist())).encode()).hexdigest()


def refuse_parts(found: FoldRuns) -> None:
    """Raises UserError where folds are missing that all clips together would need."""
    missing = [fold for fold in range(1, found.count + 1) if fold not in found.runs]
    missing += [fold for fold, run in found.runs.items() if not run.checkpoints()]
    if missing:
        raise UserError(
            f"Of {found.count} folds in {found.path}, {', '.join(map(str, sorted(missing)))} "
            "are not trained yet, and one figure for all clips needs each. Go on with: "
            f"understudy train --resume {shlex.quote(str(found.path))}"
        )


def _numbers(path: Path) -> list[int]:
    matches = ((re.fullmatch(r"fold-([1-9]\d{0,3})", one.name), one) for one in path.glob("fold-*"))
    return sorted(
        int(found[1]) for found, one in matches if found and (one / "recipe.yaml").exists()
    )


_MAY_DIFFER = ("name", "data.fold", "data.workers", "data.memory_mb", "train.device",
               "train.tracker", "train.checkpoint_every")  # fmt: skip


def _differences(a: Recipe, b: Recipe) -> list[str]:
    """The keys that what is learned depends on, and in which two recipes differ."""
    flat_a, flat_b = (_flat(one.model_dump(mode="json", exclude={"eval"})) for one in (a, b))
    return [
        key
        for key in sorted(flat_a.keys() | flat_b.keys())
        if key not in _MAY_DIFFER and flat_a.get(key) != flat_b.get(key)
    ]


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat
