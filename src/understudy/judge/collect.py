"""From clips to `Predictions`: the only place where a model is asked about labelled clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from understudy.data.loader import make_loader
from understudy.data.manifest import Manifest
from understudy.errors import UserError, nearest, some_of
from understudy.judge.predictions import Predictions
from understudy.progress import Track, untold
from understudy.recipe import Data
from understudy.task import SINGLE_LABEL, Task
from understudy.types import Batch, Classifier, Output, Sampling, Skipped

Recognise = Callable[[Tensor, Tensor], Output]
"""frames (B, T, 3, S, S) uint8 and lengths (B,) -> Output; a `Classifier` is one, and a model in
evaluation mode."""


def predict_split(
    classifier: Classifier,
    manifest: Manifest,
    split: str,
    *,
    data: Data | None = None,
    batch_size: int = 32,
    track: Track = untold,
) -> Predictions:
    """What a run or an artifact says about a split, whose clips it looks at in its own way.

    data: says how many workers read them. track: tells how far it is. Raises UserError for a split
    that is not there and for labels that the model does not know.
    """
    loader = track(
        split_loader(manifest, split, classifier.sampling, data=data, batch_size=batch_size),
        f"recognising the {split} split",
        len(manifest.rows(split)),
        lambda batch: batch.clips_asked_for,
    )
    predictions = predict_loader(
        classifier, loader, manifest, split, classes=classifier.classes, task=classifier.task
    )
    return replace(predictions, thresholds=classifier.thresholds)


def split_loader(
    manifest: Manifest,
    split: str,
    sampling: Sampling,
    *,
    data: Data | None = None,
    batch_size: int = 32,
) -> Iterable[Batch]:
    """Batches of a split, each clip once and in order, without augmentation."""
    # Every clip is read once, so nothing is gained by keeping its frames.
    data = (data or Data(manifest=str(manifest.root))).model_copy(update={"memory_mb": 0})
    rows = manifest.rows(split)
    return make_loader(manifest, data, rows, batch_size=batch_size, sampling=sampling)


def predict_loader(
    recognise: Recognise,
    loader: Iterable[Batch],
    manifest: Manifest,
    split: str,
    *,
    classes: tuple[str, ...] | None = None,
    task: Task = SINGLE_LABEL,
) -> Predictions:
    """Ask a model about the batches of a split; as `predict_each`. Raises UserError for labels of
    the split that the model does not know."""
    refuse_labels(manifest, manifest.rows(split), classes or manifest.classes, task)
    return predict_each({"": recognise}, loader, manifest, split, classes=classes, task=task)[""]


def predict_each(
    recognisers: Mapping[str, Recognise],
    loader: Iterable[Batch],
    manifest: Manifest,
    split: str,
    *,
    classes: tuple[str, ...] | None = None,
    task: Task = SINGLE_LABEL,
) -> dict[str, Predictions]:
    """Ask several models about the batches of a split, each clip being read once for all.

    classes: of the models, in the order of their logits; those of the manifest by default. A module
    is put into evaluation mode. The clips must have labels that are among them: `refuse_labels`.
    """
    classes = manifest.classes if classes is None else classes
    for recognise in recognisers.values():
        if isinstance(recognise, torch.nn.Module):
            recognise.eval()
    rows: list[int] = []
    skipped: list[Skipped] = []
    logits = {name: [torch.empty(0, len(classes))] for name in recognisers}
    with torch.inference_mode():
        for batch in loader:
            skipped.extend(batch.skipped)
            if len(batch):
                rows.extend(batch.index.tolist())
                for name, recognise in recognisers.items():
                    logits[name].append(recognise(batch.frames, batch.lengths).logits.float().cpu())
    records = [manifest.records[row] for row in rows]
    target = torch.from_numpy(manifest.holds(rows, classes))
    if not task.several:
        target = target.argmax(1)
    return {
        name: Predictions(
            record=rows,
            id=[manifest.id_of(row) for row in rows],
            path=[record.path for record in records],
            group=[record.group for record in records],
            target=target,
            # A clone, since a tensor made in inference mode cannot be used in training later.
            logits=torch.cat(said).clone(),
            classes=classes,
            split=split,
            skipped=tuple(skipped),
            task=task,
        )
        for name, said in logits.items()
    }


def refuse_labels(
    manifest: Manifest, rows: Sequence[int], classes: tuple[str, ...], task: Task = SINGLE_LABEL
) -> None:
    """Raises UserError unless each of these rows has labels, as many as the task takes, and all are
    known."""
    numbers = manifest.columns.label.numbers[rows]
    several = np.flatnonzero(numbers > 1)
    bare = [place for place, row in enumerate(rows) if not manifest.label_text(row)]
    if len(several) and not task.several:
        raise UserError(
            f"{len(several)} of {len(rows)} clips have several labels, the first of them "
            f"{manifest.id_of(rows[several[0]])}; the model was trained to name exactly one. Train "
            "one on a table in which clips have several."
        )
    if len(bare):
        raise UserError(
            f"{len(bare)} of {len(rows)} clips have no label, the first of them "
            f"{manifest.id_of(rows[bare[0]])}. Evaluation takes labelled clips: label them, or "
            "leave them out."
        )
    there = np.unique([code for row in rows for code in manifest.columns.label.of_row(row)])
    unknown = [name for name in (manifest.classes[n] for n in there) if name not in classes]
    if unknown:
        raise UserError(
            f"The data has labels that the model does not know: {some_of(unknown)}."
            f"{nearest(unknown[0], classes)} The model's classes: {some_of(list(classes), 20)}. "
            "Rename the labels, or leave those clips out."
        )
