"""All folds of a recipe, each a run of its own, one after the other.

What is there already is not trained again, and what was interrupted goes on, so that stopping and
going on works between folds as it does within one.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from understudy.data.folds import each_fold, read_folds
from understudy.errors import UserError
from understudy.recipe import Recipe
from understudy.run import Run
from understudy.run.folds import FoldRuns, dealt, fold_path, for_fold, holds_folds, open_folds
from understudy.run.making import refuse_others
from understudy.teach.progress import Quiet, Reporter
from understudy.teach.resume import can_resume
from understudy.teach.train import resume, train

Tell = Callable[[str], None]


def train_folds(
    recipe: Recipe,
    path: str | Path,
    *,
    reporter: Callable[[], Reporter] = Quiet,
    tell: Tell = lambda line: None,
) -> FoldRuns:
    """Train a student for each fold of a recipe, into `path`/fold-1 and so on.

    reporter: gives what shows how the training of a fold goes on. tell: is told which one is next.
    Raises UserError before the first one where any fold cannot be trained, as a class would be
    missing in it, and where `path` holds anything already.
    """
    path = Path(path)
    if holds_folds(path):
        raise UserError(
            f"There are folds in {path} already. Go on with: understudy train --resume "
            f"{shlex.quote(str(path))}\nOr name another folder with --out."
        )
    refuse_others(path)
    return _train_each(recipe, path, {}, reporter, tell)


def resume_folds(
    path: str | Path,
    *,
    reporter: Callable[[], Reporter] = Quiet,
    tell: Tell = lambda line: None,
) -> FoldRuns:
    """Go on where the training of folds was stopped: with the fold that was interrupted, then with
    those that were not begun. Raises UserError where their table is no more what it was."""
    found = open_folds(path)
    return _train_each(found.recipe, found.path, found.runs, reporter, tell)


def _train_each(
    recipe: Recipe,
    path: Path,
    runs: dict[int, Run],
    reporter: Callable[[], Reporter],
    tell: Tell,
) -> FoldRuns:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "Several processes train one fold at a time: --set data.fold=1, then 2, and so on."
        )
    manifest = read_folds(recipe.data)
    known = next((run.manifest for run in runs.values() if run.has_manifest), None)
    if known is not None and dealt(known) != dealt(manifest):
        raise UserError(
            f"{recipe.data.manifest} has changed since the first fold was trained: its clips, "
            "labels or groups are others. Put it back, or train all folds anew with --out."
        )
    sizes = [one.clip_counts() for one in each_fold(manifest, seed=recipe.data.split_seed)]
    for fold, clips in enumerate(sizes, start=1):
        told = f"fold {fold} of {len(sizes)}"
        run = runs.get(fold)
        if run is not None and run.is_finished and (can_resume(run) or run.checkpoints()):
            tell(f"{told} is trained already")
            continue
        tell(f"{told}: {clips['train']} clips to learn from, {clips['val']} to validate, "
             f"{clips['test']} to be tested on")  # fmt: skip
        if run is not None:
            resume(run.path, reporter=reporter())
        else:
            train(for_fold(recipe, fold), fold_path(path, fold), reporter=reporter())
    return open_folds(path)
