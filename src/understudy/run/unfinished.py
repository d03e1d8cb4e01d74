"""What is said, everywhere in the same words, of a run whose training has not come to its end."""

from __future__ import annotations

import shlex

from understudy.run.directory import Run


def unfinished_note(run: Run) -> str | None:
    """A sentence on a run that was interrupted, or is still being trained; None for a finished one.

    Also None where nothing says how training ended. Raises UserError for damaged files.
    """
    if not (run.path / "environment.json").is_file() or run.is_finished:
        return None
    done, asked = len(run.history), run.recipe.train.epochs
    return (
        f"Training of {run.name} is not finished: {done} of {asked} epochs are done, and all of "
        "this is about what it learned so far. If it was interrupted, go on with: understudy train "
        f"--resume {shlex.quote(str(run.path))}"
    )
