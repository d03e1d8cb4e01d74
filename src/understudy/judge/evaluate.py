"""From a trained run to predictions and figures: the only place where both are made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from understudy.data.loader import clip_seconds, make_loader
from understudy.data.manifest import Manifest
from understudy.data.sources import read_manifest
from understudy.errors import UserError, nearest
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import Predictions, read_predictions, some_of
from understudy.run import Run, write_json
from understudy.types import Batch, Recognizer, Skipped

__all__ = [
    "Predictions",
    "evaluate_run",
    "evaluation_path",
    "predict_loader",
    "predict_own_split",
    "read_predictions",
]


def predict_loader(
    model: Recognizer,
    loader: Iterable[Batch],
    manifest: Manifest,
    split: str,
    device: str = "cpu",
    *,
    classes: tuple[str, ...] | None = None,
) -> Predictions:
    """Run a model over the batches of one split of a manifest.

    classes: the classes of the model in the order of its logits; those of the manifest by default.
    The model is put into evaluation mode and left on `device`. Raises UserError when a label is
    none of the classes, or for a multi-label manifest.
    """
    classes = manifest.classes if classes is None else classes
    _refuse_labels(manifest, classes)
    model = model.to(device).eval()
    rows: list[int] = []
    skipped: list[Skipped] = []
    logits = [torch.empty(0, len(classes))]
    with torch.inference_mode():
        for batch in loader:
            skipped.extend(batch.skipped)
            if len(batch):
                rows.extend(batch.index.tolist())
                moved = batch.to(device)
                logits.append(model(moved.frames, moved.lengths).logits.float().cpu())
    records = [manifest.records[row] for row in rows]
    return Predictions(
        record=rows,
        path=[record.path for record in records],
        group=[record.group for record in records],
        target=torch.tensor([classes.index(str(record.label)) for record in records]).long(),
        # A clone, since a tensor made in inference mode cannot be used in training later.
        logits=torch.cat(logits).clone(),
        classes=classes,
        split=split,
        skipped=tuple(skipped),
    )


def evaluate_run(
    run: Run,
    *,
    manifest: str | None = None,
    split: str | None = None,
    checkpoint: str = "best",
    device: str = "cpu",
) -> dict[str, Any]:
    """Evaluate a run, write predictions.parquet and metrics.json, and give the metrics.

    manifest: a table or folder; by default the data that the run was trained on. It may lack some
    of the run's classes, but not name others. Where it names no splits at all, all of it is
    evaluated. split: by default the recipe's. Both files go where `evaluation_path` says.
    The metrics are those of `compute_metrics`, and manifest and checkpoint.
    Raises UserError for data or a checkpoint that does not fit the run.
    """
    recipe = run.recipe
    classes = run.classes
    split = recipe.eval.split if split is None else split
    model = run.load_model(checkpoint)
    warnings: list[str] = []
    trained = _trained_on(run, warnings)
    if _is_own(run, manifest):
        source = run.data["manifest"]
        data = trained or _read_moved(run)
    else:
        source = str(manifest)
        data = _read_other(Path(source), split, warnings)
    _refuse_labels(data, classes)
    rows = data.rows(split)
    if trained is not None:
        warnings += _leaks(trained, data, rows)
    warnings += _from_pictures(run, data, rows)
    loader = make_loader(data, recipe.data, rows, batch_size=recipe.eval.batch_size)
    predictions = predict_loader(model, loader, data, split, device, classes=classes)
    metrics = compute_metrics(
        predictions, confidence=recipe.eval.confidence, resamples=recipe.eval.resamples
    )
    metrics |= {"manifest": source, "checkpoint": checkpoint}
    metrics["warnings"] = warnings + metrics["warnings"]
    place = evaluation_path(run, manifest=manifest, split=split, checkpoint=checkpoint)
    try:
        place.mkdir(parents=True, exist_ok=True)
        predictions.write(place / "predictions.parquet")
        write_json(place / "metrics.json", metrics)
    except OSError as error:
        raise UserError(f"{place} cannot be written: {error.strerror}.") from error
    return metrics


def predict_own_split(run: Run, model: Recognizer, split: str, device: str = "cpu") -> Predictions:
    """What a model of a run says about a split of the data that the run was trained on.

    Writes nothing. Raises UserError when that data cannot be read.
    """
    recipe, manifest = run.recipe, _read_own(run)
    rows = manifest.rows(split)
    loader = make_loader(manifest, recipe.data, rows, batch_size=recipe.eval.batch_size)
    return predict_loader(model, loader, manifest, split, device, classes=run.classes)


def evaluation_path(
    run: Run, *, manifest: str | None = None, split: str | None = None, checkpoint: str = "best"
) -> Path:
    """Where an evaluation lies: the run itself for its own data, its recipe's split and its best
    checkpoint; for all else evaluations/<manifest>-<split>[-<checkpoint>]/ inside the run."""
    split = run.recipe.eval.split if split is None else split
    own = _is_own(run, manifest)
    if own and split == run.recipe.eval.split and checkpoint == "best":
        return run.path
    stem = Path(run.data["manifest"] if own or manifest is None else manifest).stem
    suffix = "" if checkpoint == "best" else f"-{checkpoint}"
    return run.path / "evaluations" / f"{stem}-{split}{suffix}"


def _is_own(run: Run, manifest: str | None) -> bool:
    return manifest is None or Path(manifest).resolve() == Path(run.data["manifest"]).resolve()


def _read_own(run: Run) -> Manifest:
    config = run.recipe.data
    return read_manifest(
        run.data["manifest"], allow_shared_groups=config.allow_shared_groups, seed=config.seed
    )


def _read_moved(run: Run) -> Manifest:
    try:
        return _read_own(run)
    except UserError as error:
        raise UserError(f"{error} If the data has moved, name it with --data.") from error


def _trained_on(run: Run, warnings: list[str]) -> Manifest | None:
    """The manifest of training, or None with a warning where it is gone or has changed."""
    try:
        manifest = _read_own(run)
    except UserError as error:
        warnings.append(
            f"The manifest of training cannot be read, so nobody checked whether the run was "
            f"trained on groups of this split. {error}"
        )
        return None
    if manifest.fingerprint() != run.data["fingerprint"]:
        warnings.append(
            f"{run.data['manifest']} has changed since the run was trained: clips of this split "
            "may have been trained on."
        )
    return manifest


def _read_other(path: Path, split: str, warnings: list[str]) -> Manifest:
    """Data that the run was not trained on: one class or shared groups are no fault in it."""
    if not path.exists():
        raise UserError(f"There is no manifest {path}: neither a table nor a folder.")
    if path.is_dir():
        from understudy.data.sources.folder import from_folder as read
    else:
        from understudy.data.sources.table import from_table as read
    manifest = read(path)
    if any(manifest.splits):
        return manifest
    warnings.append(f"{path} names no splits, so all of its {len(manifest)} clips count.")
    return manifest.with_splits([split] * len(manifest))


def _refuse_labels(manifest: Manifest, classes: tuple[str, ...]) -> None:
    if manifest.is_multi_label:
        raise UserError(
            "This manifest gives several labels to one clip; evaluation takes exactly one."
        )
    unknown = [label for label in manifest.classes if label not in classes]
    if unknown:
        raise UserError(
            f"The data has labels that the run does not know: {some_of(unknown)}."
            f"{nearest(unknown[0], classes)} The run's classes: {some_of(list(classes), 20)}. "
            "Rename the labels, or leave those clips out."
        )


def _leaks(trained: Manifest, data: Manifest, rows: list[int]) -> list[str]:
    """A warning when these rows share a group or a file with the training split."""
    if "train" not in trained.splits:
        return []
    learned = trained.rows("train")
    groups = set(trained.groups(learned)) - {""}
    files = {trained.path_of(row).resolve() for row in learned}
    leaked = [
        row
        for row, group in zip(rows, data.groups(rows), strict=True)
        if group in groups or data.path_of(row).resolve() in files
    ]
    if not leaked:
        return []
    names = sorted({data.records[row].group or data.records[row].path for row in leaked})
    return [
        f"{len(leaked)} of {len(rows)} clips are of groups or files that the run was trained "
        f"on ({some_of(names)}): the figures are too good."
    ]


def _from_pictures(run: Run, data: Manifest, rows: list[int]) -> list[str]:
    """A warning when a run that learned from single pictures is shown videos."""
    config = run.recipe.data
    if run.data["clip_seconds"] > 0 or config.pseudo is not None or not clip_seconds(data, rows):
        return []
    if config.frames == 1:
        return ["The run was trained on pictures and reads one frame of each video."]
    return [
        f"The run was trained on single pictures and reads {config.frames} frames of each video: "
        "how frames go together it never learned. Train with data.pseudo, or with data.frames=1 to "
        "read one frame."
    ]
