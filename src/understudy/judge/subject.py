"""Who is judged by which clips: a run or an artifact, and a split of its own or of other data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from understudy.data.folds import read_clips
from understudy.data.manifest import Manifest
from understudy.errors import UserError
from understudy.judge.leaks import leaks
from understudy.recipe import Data, Eval
from understudy.run import Run, read_json
from understudy.run.classifier import file_sha256
from understudy.types import Classifier


class Shipped(Protocol):
    """What must be known of an artifact to judge it; `ship.Artifact` is one."""

    @property
    def path(self) -> Path: ...

    @property
    def run(self) -> Run | None:
        """The run in which it lies; None where it lies alone."""
        ...

    @property
    def checkpoint(self) -> str: ...

    @property
    def weights_sha256(self) -> str: ...

    def classifier(
        self, checkpoint: str = "best", *, device: str = "cpu", threads: int | None = None
    ) -> Classifier: ...


Source = Run | Shipped


@dataclass(frozen=True, slots=True)
class Subject:
    """A run or an artifact, and the clips it is judged by.

    weights_sha256: None where the checkpoint is not there. manifest, split: the clips. origin:
    where they come from, for people. place: the folder of the evaluation. data: how clips are read.
    settings: batch size, interval. warnings: what is to be known of these clips. unfinished: how
    far the training of a run came that has not come to its end; None for others.
    """

    source: Source
    checkpoint: str
    weights_sha256: str | None
    manifest: Manifest
    split: str
    origin: str
    place: Path
    data: Data
    settings: Eval
    warnings: tuple[str, ...]
    unfinished: str | None

    @property
    def facts(self) -> dict[str, Any]:
        """What an evaluation is of: the same for two of which one can stand for the other."""
        return {
            "manifest": self.origin,
            "split": self.split,
            "checkpoint": self.checkpoint,
            "weights_sha256": self.weights_sha256,
            "unfinished": self.unfinished,
            "clips_fingerprint": self.manifest.fingerprint(),
        }


def find_subject(
    source: Source, manifest: str | Path | None, split: str | None, checkpoint: str
) -> Subject:
    """Look up the clips, and what is wrong with judging by them.

    Raises UserError for clips that cannot be read and for a split that is not there.
    """
    run = source if isinstance(source, Run) else source.run
    settings = run.recipe.eval if run is not None else Eval()
    split = settings.split if split is None else split
    warnings: list[str] = []
    own = is_own(run, manifest)
    if own:
        assert run is not None
        origin, clips = run.data["manifest"], run.manifest
        trained = clips
        if manifest is not None:
            warnings += _changes(run, clips)
    elif manifest is None:
        raise UserError(
            f"{source.path} does not lie in the run that it was made from, whose clips it would be "
            "evaluated on. Name clips with --data: a table or a folder."
        )
    else:
        origin = str(Path(manifest).resolve())
        clips = _with_splits(Path(manifest), split, warnings)
        trained = _trained_on(run, warnings)
    rows = clips.rows(split)
    if own and split == "val":
        warnings.append(
            "These clips chose the checkpoint from those of all epochs, so its figures are a "
            "little too good; those of the test split are not."
        )
    if trained is not None:
        warnings += leaks(trained, clips, rows)
    if isinstance(source, Run):
        weights_file = source.checkpoint_path(checkpoint)
        weights = file_sha256(weights_file) if weights_file.is_file() else None
    else:
        checkpoint = source.checkpoint if checkpoint == "best" else checkpoint
        weights = source.weights_sha256
    return Subject(
        source=source,
        checkpoint=checkpoint,
        weights_sha256=weights,
        manifest=clips,
        split=split,
        origin=origin,
        place=evaluation_path(source, manifest=manifest, split=split, checkpoint=checkpoint),
        data=run.recipe.data if run is not None else Data(manifest=origin),
        settings=settings,
        warnings=tuple(warnings),
        unfinished=_how_far(source) if isinstance(source, Run) else None,
    )


def _how_far(run: Run) -> str | None:
    return None if run.is_finished else f"{len(run.history)} of {run.recipe.train.epochs} epochs"


def evaluation_path(
    source: Source,
    *,
    manifest: str | Path | None = None,
    split: str | None = None,
    checkpoint: str = "best",
) -> Path:
    """Where an evaluation lies: evaluations/<manifest>-<split>[-<checkpoint>]/ inside the run or
    the artifact. That of a run's own clips, its recipe's split and its best checkpoint is the
    run's: it lies in its directory itself. Where the place is taken by an evaluation of another
    table of the same name, the name has a part of a hash of where the table lies."""
    run = source if isinstance(source, Run) else source.run
    own = is_own(run, manifest)
    settings = run.recipe.eval if run is not None else Eval()
    split = settings.split if split is None else split
    is_run = isinstance(source, Run)
    if is_run and own and split == settings.split and checkpoint == "best":
        return source.path
    table = Path(run.data["manifest"] if run is not None and own else str(manifest)).resolve()
    suffix = f"{split}-{checkpoint}" if is_run and checkpoint != "best" else split
    place = source.path / "evaluations" / f"{table.stem}-{suffix}"
    if _is_of_another(place, table):
        digest = hashlib.sha256(str(table).encode()).hexdigest()[:6]
        return place.with_name(f"{table.stem}-{digest}-{suffix}")
    return place


def _is_of_another(place: Path, table: Path) -> bool:
    """Whether an evaluation of another table lies there."""
    metrics = place / "metrics.json"
    return metrics.is_file() and Path(read_json(metrics).get("manifest", "")).resolve() != table


def is_own(run: Run | None, manifest: str | Path | None) -> bool:
    """Whether the clips of a run are meant: none were named, or the table that it has them from."""
    if run is None:
        return False
    return manifest is None or Path(manifest).resolve() == Path(run.data["manifest"]).resolve()


def _changes(run: Run, clips: Manifest) -> list[str]:
    """A warning where the table that was named is not what it was when the run took its clips."""
    source, config = run.data["manifest"], run.recipe.data
    try:
        now = read_clips(config.model_copy(update={"manifest": source}))
        if now.fingerprint() == clips.fingerprint():
            return []
        changed = f"{source} has changed since the run was trained."
    except UserError as error:
        changed = f"{source} cannot be read any more ({error})"
    return [
        f"{changed} Evaluated are the clips and splits that the run has kept of it; to evaluate "
        "the table as it is now, name a copy of it."
    ]


def _trained_on(run: Run | None, warnings: list[str]) -> Manifest | None:
    """The clips of training, or None with a warning where nobody knows them."""
    reason = "the artifact does not lie in the run that it was made from."
    if run is not None:
        try:
            return run.manifest
        except UserError as error:
            reason = str(error)
    warnings.append(
        f"Nobody checked whether the model was trained on groups or files of this split: {reason}"
    )
    return None


def read_other(path: Path) -> Manifest:
    """Data that no run is to be trained on: one class or shared groups are no fault in it.

    Raises UserError where there is no table and no folder.
    """
    if not path.exists():
        raise UserError(f"There is no manifest {path}: neither a table nor a folder.")
    if path.is_dir():
        from understudy.data.sources.folder import from_folder as read
    else:
        from understudy.data.sources.table import from_table as read
    return read(path)


def _with_splits(path: Path, split: str, warnings: list[str]) -> Manifest:
    manifest = read_other(path)
    if manifest.splits != ("",):
        return manifest
    warnings.append(f"{path} names no splits, so all of its {len(manifest)} clips count.")
    return manifest.with_splits([split] * len(manifest))
