"""What a run holds after each epoch: checkpoints, history, and the state to go on from."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from understudy.data.loader import clip_fps, clip_seconds
from understudy.errors import UNWRITABLE, UserError
from understudy.judge.thresholds import keep_thresholds
from understudy.run import Run, save_weights, write_json
from understudy.teach.resume import Progress, save_state
from understudy.teach.setup import Setup


def describe_data(setup: Setup) -> dict[str, Any]:
    """What `data.json` of the run holds."""
    manifest = setup.manifest
    return {
        "classes": list(manifest.classes),
        "task": setup.task.name,
        "unlabelled": round((1 - setup.labelled_share) * len(manifest.rows("train"))),
        "manifest": str(Path(setup.recipe.data.manifest).resolve()),
        "fingerprint": manifest.fingerprint(),
        "clips": manifest.clip_counts(),
        "counts": manifest.counts(),
        "groups": manifest.group_counts(),
        "clip_seconds": clip_seconds(manifest, manifest.rows("train")),
        "clip_fps": clip_fps(manifest, manifest.rows("train")),
        "model_options": setup.facts.model_options,
        "skipped": setup.skipped.describe(),
    }


def keep(
    run: Run, setup: Setup, progress: Progress, thresholds: dict[str, Any] | None = None
) -> None:
    """Write checkpoints and history; the resume file last, since it says what is complete.

    thresholds: of these weights, where several labels may hold."""
    entry = progress.history[-1]
    names = ["best"] if entry["best"] else []
    every = setup.recipe.train.checkpoint_every
    if every and entry["epoch"] % every == 0:
        names.append(f"epoch_{entry['epoch']:03d}")
    with _told(
        run, f"; the epoch before {entry['epoch']} is kept" if len(progress.history) > 1 else ""
    ):
        for name in names:
            _save(run, setup, name)
        if thresholds is not None and names:
            keep_thresholds(run, dict.fromkeys(names, thresholds))
        write_json(run.path / "history.json", progress.history)
        data = run.data | {"skipped": progress.skipped}
        write_json(run.path / "data.json", data)
        save_state(run, setup.learner, setup.optimizer, setup.device, progress)


@contextmanager
def _told(run: Run, kept: str) -> Iterator[None]:
    """A disk that is full, or may not be written any more, is no defect of ours."""
    try:
        yield
    except OSError as error:
        # Of a run in which nothing was learned, nothing is kept; whoever made it says so.
        if error.errno not in UNWRITABLE or not run.history:
            raise
        raise UserError(
            f"{run.path} cannot be written any more ({error.strerror}){kept}. Make room, then: "
            f"understudy train --resume {shlex.quote(str(run.path))}"
        ) from error


def note_preparation(run: Run, seconds: float) -> None:
    """Add what was done again before going on to the time that training took. Going on with a
    finished run changes nothing."""
    environment = run.environment
    if "finished" in environment:
        return
    environment["prepare_seconds"] = round(environment.get("prepare_seconds", 0.0) + seconds, 3)
    write_json(run.path / "environment.json", environment)


def finish(run: Run, setup: Setup) -> None:
    """Keep the last weights too, and say that training came to its end."""
    environment = run.environment
    # Going on with a finished run changes nothing.
    environment.setdefault("finished", time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    with _told(run, "; every epoch is kept"):
        _save(run, setup, "final")
        write_json(run.path / "environment.json", environment)


def _save(run: Run, setup: Setup, name: str) -> None:
    save_weights(
        setup.learner.student,
        run.checkpoint_path(name),
        {
            "model": setup.recipe.model.name,
            "classes": json.dumps(setup.manifest.classes),
            "run": setup.facts.identity["run"],
        },
    )
