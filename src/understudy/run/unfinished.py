"""What is said, everywhere in the same words, of a run whose training has not come to its end."""

from __future__ import annotations

import shlex

from understudy.run.directory import Run
from understudy.run.lock import is_being_written


def unfinished(run: Run) -> str | None:
    """A sentence on a run that was interrupted, or is being trained at this moment; None for a
    finished one, which one that was stopped early by its patience is too.

    It names no path, so that it can go with what leaves this machine. Raises UserError for damaged
    files.
    """
    if run.is_finished:
        return None
    done = f"{len(run.history)} of {run.recipe.train.epochs} epochs"
    so_far = "all of this is about what it had learned by then."
    if is_being_written(run.path):
        return f"{run.name} is being trained right now: {done} are done, and {so_far}"
    return f"Training of {run.name} stopped after {done}, and {so_far}"


def unfinished_note(run: Run) -> str | None:
    """That sentence, and for an interrupted run how to go on."""
    said = unfinished(run)
    if said is None or is_being_written(run.path):
        return said
    return f"{said} Go on with: understudy train --resume {shlex.quote(str(run.path))}"
