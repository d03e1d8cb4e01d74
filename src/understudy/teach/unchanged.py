"""Whether a run that goes on is the one that stopped: its recipe, clips, model and teachers.

The state of the last finished epoch holds an identity, what all that was learned depends on. Going
on with anything else would be a run that no recipe describes, so it is refused. What says only
where things lie, how fast they are read and how long training lasts without getting better may be
edited in recipe.yaml, and is told.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from understudy.data.fingerprint import fingerprints
from understudy.data.manifest import Manifest
from understudy.errors import UserError
from understudy.recipe import Recipe
from understudy.run import Run
from understudy.teach.device import flat_settings
from understudy.teach.teachers import FrozenTeacher

MAY_CHANGE = (
    "name",
    "data.pack",
    "data.workers",
    "data.memory_mb",
    "train.device",
    "train.tracker",
    "train.patience",
    "train.checkpoint_every",
    "eval.split",
    "eval.batch_size",
    "eval.confidence",
    "eval.resamples",
)
"""Keys of a recipe that may be edited while a run is stopped."""
_OF_TEACHERS = ("path", "weights_file", "store")
"""Those of a teacher: its weights themselves are compared."""

Identity = dict[str, Any]
"""run: a random name; recipe: by key; clips, model_options, teachers: see `identity_of`."""


def identity_of(
    recipe: Recipe,
    manifest: Manifest,
    model_options: dict[str, Any],
    teachers: dict[str, FrozenTeacher],
) -> Identity:
    """All that the weights of a new run depend on, under a name that no other run has."""
    return {
        "run": secrets.token_hex(8),
        "recipe": flat_settings(recipe.model_dump(mode="json")),
        "clips": _clips_digest(manifest),
        "model_options": model_options,
        "teachers": {name: _seen(teacher.facts) for name, teacher in teachers.items()},
    }


def check_run(run: Run, recipe: Recipe, identity: Identity, note: Callable[[str], None]) -> None:
    """Raises UserError where the state in resume/ is not that of this run, or where the run is not
    what it was. identity: empty in a state of an earlier version. note: is given a sentence where
    nothing can be said, and about edits that change nothing of what is learned."""
    if not identity:
        note(
            "this run was begun by an earlier version: nothing says whether recipe, model and "
            "teachers are what they were"
        )
        return
    if run.environment.get("run") != identity["run"]:
        raise UserError(
            f"resume/state.safetensors in {run.path} belongs to another run. Put its own back, or "
            "train a new run with --out."
        )
    for name in run.checkpoints():
        run.refuse_foreign(name)
    _check_recipe(run, recipe, identity["recipe"], note)
    if _clips_digest(run.manifest) != identity["clips"]:
        raise UserError(_changed(run, "manifest.parquet", "the clips of training"))
    if run.data["model_options"] != identity["model_options"]:
        raise UserError(_changed(run, "data.json", "model_options, with which the model is built,"))


def check_teachers(teachers: dict[str, FrozenTeacher], identity: Identity) -> None:
    """Raises UserError for a teacher that is not the one who taught so far."""
    for name, known in identity.get("teachers", {}).items():
        now = _seen(teachers[name].facts)
        if now == known:
            continue
        part = "weights" if now["weights_sha256"] != known["weights_sha256"] else "way of looking"
        raise UserError(
            f"{name} ({teachers[name].facts['source']}) is not the teacher that taught so far: its "
            f"{part} changed since. Put the earlier one back, or say in recipe.yaml where it lies; "
            "with this one, train a new run."
        )


def check_clips(manifest: Manifest) -> None:
    """Raises UserError, naming clips of training and validation that are gone or have changed.

    Those that could not be read when the run began need not be there now.
    """
    known = manifest.fingerprints or [""] * len(manifest)
    rows = [row for split in ("train", "val") for row in manifest.rows(split) if known[row]]
    now = fingerprints([manifest.path_of(row) for row in rows])
    changed = [
        row for row, found in zip(rows, now, strict=True) if not manifest.is_unchanged(row, found)
    ]
    if changed:
        named = "".join(
            f"\n  {manifest.records[row].path}: "
            f"{'has changed' if manifest.path_of(row).exists() else 'is gone'}"
            for row in changed[:5]
        )
        more = f"\n  and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise UserError(
            f"{len(changed)} of {len(rows)} clips are not what they were when the run began; going "
            f"on would mix two data sets:{named}{more}\nThey were looked for in {manifest.root}. "
            "Put them back, name the folder where they lie now with --data, or train a new run."
        )


def look_below(run: Run, folder: Path) -> None:
    """Have a run look for its clips below another folder from now on. Raises UserError, and changes
    nothing, where they are not the clips that it began with."""
    if not folder.is_dir():
        raise UserError(f"--data {folder} is no folder. Name the one in which the clips lie now as "
                        "they lay in the one that the run began with.")  # fmt: skip
    manifest = replace(run.manifest, root=folder.resolve())
    check_clips(manifest)
    run.write_manifest(manifest)


def _check_recipe(
    run: Run, recipe: Recipe, before: dict[str, Any], note: Callable[[str], None]
) -> None:
    now = flat_settings(recipe.model_dump(mode="json"))
    edits = {
        key: f"{key} was {before.get(key)}, is {now.get(key)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    }
    wrong = [edit for key, edit in edits.items() if not _may_change(key)]
    if wrong:
        longer = " To train longer, name this run in model.start.run of a new recipe."
        raise UserError(
            f"{run.path}/recipe.yaml was edited since the last epoch, and what was learned so far "
            f"depends on it: {'; '.join(wrong[:5])}. Put it back, or train a new run with --out."
            + (longer if any(edit.startswith("train.epochs") for edit in wrong) else "")
        )
    if edits:
        note(f"recipe.yaml was edited since the last epoch: {'; '.join(edits.values())}")


def _may_change(key: str) -> bool:
    teacher, _, last = key.rpartition(".")
    return key in MAY_CHANGE or (teacher.startswith("teacher") and last in _OF_TEACHERS)


def _clips_digest(manifest: Manifest) -> str:
    """Of all rows, in order, and of what the bytes of each clip were."""
    known = json.dumps(list(manifest.fingerprints or ()))
    return hashlib.sha256(f"{manifest.fingerprint()} {known}".encode()).hexdigest()


def _seen(facts: dict[str, Any]) -> dict[str, Any]:
    """What a teacher says depends on this. A probe is made of its tower and the clips; fitted again
    on another machine it differs in its last bits."""
    weights = facts.get("tower_sha256", facts["weights_sha256"])
    return {"weights_sha256": weights, "head": facts["head"], "looks_at": facts["looks_at"]}


def _changed(run: Run, file: str, what: str) -> str:
    return (
        f"{run.path / file} is not what it was when training stopped: {what} changed. Put it "
        "back, or train a new run with --out."
    )
