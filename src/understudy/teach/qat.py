"""Quantisation-aware training: a trained run, taught a little longer in the arithmetic of INT8.

It is for the run whose INT8 export loses too much. The new run is the old one's recipe once more,
started from its best checkpoint, shorter and gentler, with `train.qat` on; so its recipe.yaml alone
says what was done, and it resumes, evaluates, streams and exports as every run does. How values are
rounded in training is `fake_quantised.py`'s.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from understudy.errors import UserError
from understudy.recipe import Recipe, load_recipe
from understudy.run import Run
from understudy.teach.fake_quantised import require_torchao

EPOCHS = 5
LR_SHARE = 0.1


def qat_recipe(run: Run, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that goes on from a finished run's best checkpoint under fake quantisation.

    Clips, split, teacher and losses are the run's own. `overrides` are `section.key=value` strings
    and come last. Raises UserError if torchao is missing, the run was never finished, or it has no
    best checkpoint.
    """
    require_torchao()
    recipe = run.recipe
    if not run.checkpoint_path("best").is_file():
        there = ", ".join(run.checkpoints()) or "none"
        raise UserError(
            f"{run.path} has no checkpoint best to go on from. There: {there}. Train it first."
        )
    if "finished" not in run.environment:
        raise UserError(
            f"{run.path} is not finished. Go on with it first: understudy train --resume "
            f"{shlex.quote(str(run.path))}"
        )
    lr = recipe.train.lr * LR_SHARE
    changes = {
        "name": f"{run.path.resolve().name}-qat",
        # As they were when the run was built: pretrained weights are not fetched again.
        "model.options": run.data["model_options"],
        "model.start": {"run": str(run.path.resolve()), "checkpoint": "best"},
        "train.qat": True,
        "train.epochs": EPOCHS,
        "train.lr": lr,
        "train.min_lr": min(recipe.train.min_lr, lr),
        "train.warmup_epochs": 0,
        "train.patience": None,
        "train.checkpoint_every": None,
    }
    return load_recipe(run.path / "recipe.yaml", overrides, changes=changes, of_run=True)
