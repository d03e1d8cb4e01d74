"""Pictures for the report: the very pixels that the student saw, as small JPEGs inside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.data.loader import ClipDataset
from understudy.data.manifest import Manifest, labels_of
from understudy.data.reader import FileReader, sampling_of
from understudy.errors import UserError
from understudy.judge.figures import refuse_unusable
from understudy.judge.predictions import Predictions, read_predictions
from understudy.run import Run
from understudy.types import Skipped

SIDE = 160
"""Pixels a side on the page, at most; smaller inputs stay as they are."""
_SHOWN_FRAMES = 4
_HERO_SIDE = 320
_CLIPS, _PICTURES = 8, 15
_NAMED = 5
"""Clips that could not be read and are named, at most."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip on the page. `images` are data addresses, some of the `frames` that the model saw;
    `pixels` (T, 3, S, S) uint8 are all of those."""

    row: int
    images: list[str]
    frames: int
    label: str
    alt: str
    pixels: Tensor = field(repr=False, compare=False)
    said: str | None = None
    confidence: float | None = None


@dataclass(slots=True)
class Gallery:
    """Clips to show, and `notes` on what could not be shown."""

    hero: list[Clip] = field(default_factory=list)
    training: list[Clip] = field(default_factory=list)
    right: list[Clip] = field(default_factory=list)
    mistakes: list[Clip] = field(default_factory=list)
    mistakes_total: int = 0
    pictures: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def most(self) -> int:
        """How many to show of training data, of right answers and of mistakes, each."""
        return _PICTURES if self.pictures else _CLIPS

    def noun(self, count: int) -> str:
        """What the data are called: clips or pictures."""
        return ("picture" if self.pictures else "clip") + ("" if count == 1 else "s")


def make_gallery(run: Run, data: dict[str, Any], *, pictures: bool = True) -> Gallery:
    """Choose clips and read them; no frame of any where `pictures` are not wanted.

    Training clips are the first of each class, in turns, with their first augmentation. Right
    answers are the surest of each class, of several labels those of each set; mistakes are the
    surest of all.
    """
    gallery = Gallery(pictures=data.get("clip_seconds") == 0)
    predictions = None
    if run.predictions_path.is_file():
        try:
            predictions = read_predictions(run.predictions_path)
            refuse_unusable(predictions)
        except UserError as error:
            gallery.notes.append(str(error))
            predictions = None
    if predictions is not None:
        gallery.mistakes_total = int((~predictions.correct).sum())
    if not pictures:
        gallery.notes.append("This page was written without pictures, as asked for.")
        return gallery
    try:
        manifest = run.manifest
    except UserError as error:
        gallery.notes.append(f"This page shows no pictures. {error}")
        return gallery
    reader = _Reader(run, manifest)
    if "train" in manifest.splits:
        for row in _in_turns(manifest, manifest.rows("train"))[: gallery.most]:
            label = ", ".join(labels_of(manifest.records[row])) or "no label"
            reader.show(gallery.training, row, 0, label)
    if predictions is not None:
        _show_answers(gallery, reader, manifest, predictions)
    # The page opens with the surest right answers, or else with what it learned from: four frames
    # of one clip, or four pictures.
    opening = (gallery.right or gallery.training)[: _SHOWN_FRAMES if gallery.pictures else 1]
    gallery.hero = [reader.enlarge(clip) for clip in opening]
    if reader.unread:
        gallery.notes.append(_unread_note(reader.unread, gallery))
    return gallery


def _unread_note(unread: dict[str, str], gallery: Gallery) -> str:
    """Which clips the page could not show, and why: gone, changed or damaged since the run."""
    named = "; ".join(f"{path}: {reason}" for path, reason in list(unread.items())[:_NAMED])
    more = f"; and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
    return (
        f"{len(unread)} {gallery.noun(len(unread))} meant for this page could not be read. "
        f"{named}{more}."
    )


def _show_answers(
    gallery: Gallery, reader: _Reader, manifest: Manifest, predictions: Predictions
) -> None:
    if not _same_clips(manifest, predictions):
        gallery.notes.append(
            "This page shows no answers in pictures: the run was evaluated on other clips than "
            "those of its own manifest."
        )
        return
    confidence = torch.from_numpy(predictions.probabilities).max(dim=1).values
    order = torch.argsort(confidence, descending=True, stable=True).tolist()
    correct = predictions.correct
    surest: dict[tuple[str, ...], int] = {}
    for i in order:
        if correct[i]:
            surest.setdefault(predictions.labels_of(i), i)
    said_of_all = predictions.said

    def show(into: list[Clip], i: int) -> None:
        label = ", ".join(predictions.labels_of(i))
        named = [predictions.classes[k] for k in np.flatnonzero(said_of_all[i])]
        said = ", ".join(named) or "no label"
        reader.show(into, predictions.record[i], None, label, said, float(confidence[i]))

    for i in [i for i in order if not correct[i]][: gallery.most]:
        show(gallery.mistakes, i)
    for i in list(surest.values())[: gallery.most]:
        show(gallery.right, i)


def _same_clips(manifest: Manifest, predictions: Predictions) -> bool:
    return all(
        row < len(manifest) and Path(manifest.records[row].path).name == Path(path).name
        for row, path in zip(predictions.record, predictions.path, strict=True)
    )


def _in_turns(manifest: Manifest, rows: list[int]) -> list[int]:
    """Rows reordered so that classes take turns."""
    seen: dict[Any, int] = {}
    turns = []
    for row in rows:
        label = manifest.records[row].label
        turns.append((seen.get(label, 0), len(turns), row))
        seen[label] = seen.get(label, 0) + 1
    by_class = sorted(turns, key=lambda turn: (turn[0], str(manifest.records[turn[2]].label)))
    return [row for _, _, row in by_class]


class _Reader:
    """Reads clips as the run's loader does, and remembers those that cannot be read."""

    def __init__(self, run: Run, manifest: Manifest) -> None:
        # Each clip is read once or twice here, so nothing is worth keeping in memory.
        config = run.recipe.data.model_copy(update={"memory_mb": 0})
        reader, look = FileReader(manifest, config), sampling_of(config)
        large = replace(look, size=max(look.size, _HERO_SIDE))
        self.clips = ClipDataset(manifest, config, sampling=look, reader=reader)
        self.large = ClipDataset(manifest, config, sampling=large, reader=reader)
        self.unread: dict[str, str] = {}

    def show(
        self,
        into: list[Clip],
        row: int,
        view: int | None,
        label: str,
        said: str | None = None,
        confidence: float | None = None,
    ) -> None:
        """Read one clip and add it to a list; one that cannot be read is noted instead."""
        sample = self.clips[(row, view)]
        if isinstance(sample, Skipped):
            self.unread[sample.path] = sample.reason
            return
        images = [jpeg_address(frame, SIDE) for frame in spread_frames(sample.frames)]
        shown = f"{len(images)} frames of a clip" if len(images) > 1 else "A picture"
        alt = f"{shown} of {label}"
        if said is not None:
            alt += f", recognised as {said}" if said == label else f", taken for {said}"
        into.append(
            Clip(row, images, len(sample.frames), label, alt, sample.frames, said, confidence)
        )

    def enlarge(self, clip: Clip) -> Clip:
        """The same frames with more pixels than the model saw."""
        sample = self.large[(clip.row, None)]
        if isinstance(sample, Skipped):
            return clip
        images = [jpeg_address(frame, _HERO_SIDE) for frame in spread_frames(sample.frames)]
        return replace(clip, images=images)


def spread_frames(frames: Tensor) -> list[Tensor]:
    """At most four of (T, ...), from the first to the last."""
    count = min(_SHOWN_FRAMES, len(frames))
    return [frames[round(i)] for i in torch.linspace(0, len(frames) - 1, count).tolist()]


def jpeg_address(frame: Tensor, most_px: int) -> str:
    """A frame (3, S, S) uint8 RGB as the address of a JPEG that lies in the page itself."""
    from PIL import Image

    picture = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
    picture.thumbnail((most_px, most_px))
    target = io.BytesIO()
    picture.save(target, format="JPEG", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(target.getvalue()).decode()}"
