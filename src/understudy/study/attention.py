"""Where a student looked: its attention maps laid over the very pixels that it saw.

For models with `attention_maps`. A map is coarser than the picture; between the centres of its
places it is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.errors import UserError
from understudy.run import Run
from understudy.study.gallery import SIDE, Clip, Gallery, jpeg_address, spread_frames

_MISTAKES, _RIGHT = 2, 2
_PICTURES = 3
"""Of pictures so many times as many: each is one frame."""
_PIXELS = 0.45
"""Share of the overlay that is the picture, in grey; the rest is the map's colour."""


@dataclass(frozen=True, slots=True)
class Film:
    """Frames of a clip in one row, after a stage or as they were. `title` says which."""

    title: str
    images: list[str]
    alt: str


@dataclass(frozen=True, slots=True)
class Look:
    """A clip, and where each stage looked in it."""

    clip: Clip
    films: list[Film]


class _Attentive(Protocol):
    has_maps: bool

    def attention_maps(
        self, frames: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, ...]: ...


def make_looks(
    run: Run,
    data: dict[str, Any],
    gallery: Gallery,
    checkpoint: str = "best",
    *,
    device: str = "cpu",
) -> list[Look]:
    """Overlays of the first mistakes and right answers of the page; none without maps to show.

    data: content of the run's data.json. What could not be loaded stands in the notes of `gallery`.
    """
    more = _PICTURES if gallery.pictures else 1
    clips = gallery.mistakes[: _MISTAKES * more] + gallery.right[: _RIGHT * more]
    if not clips or not _has_maps(run, data):
        return []
    try:
        model = cast(_Attentive, run.classifier(checkpoint, device=device).model)
    except UserError as error:
        gallery.notes.append(f"This page does not show where the student looked. {error}")
        return []
    return [look_at(model, clip, device) for clip in clips]


def look_at(model: _Attentive, clip: Clip, device: str = "cpu") -> Look:
    """The clip as it was, then each stage's map over it. device: where the model is.

    Colours go from the least to the largest value of a stage in this clip; titles name both.
    """
    films = [Film("what it saw", clip.images, clip.alt)]
    frames = spread_frames(clip.pixels)
    with torch.no_grad():
        stages = [one.cpu() for one in model.attention_maps(clip.pixels[None].to(device))]
    for number, stage in enumerate(stages, start=1):
        low, high = float(stage.min()), float(stage.max())
        maps = spread_frames((stage[0] - low) / max(high - low, 1e-6))
        images = [jpeg_address(overlay(*pair), SIDE) for pair in zip(frames, maps, strict=True)]
        height, width = stage.shape[-2:]
        title = f"stage {number}, {width} × {height}: {low:.2f} to {high:.2f}"
        films.append(Film(title, images, f"Where stage {number} looked in {clip.alt}"))
    return Look(clip, films)


def overlay(frame: Tensor, weights: Tensor) -> Tensor:
    """A map (h, w) of 0 to 1 in colour over a frame (3, H, W) uint8 in grey; gives the latter's
    shape and type."""
    from matplotlib import colormaps

    size = (frame.shape[-2], frame.shape[-1])
    fine = F.interpolate(weights[None, None], size=size, mode="bilinear")[0, 0]
    coloured = torch.from_numpy(colormaps["inferno"](fine.numpy())[..., :3]).permute(2, 0, 1)
    grey = frame.float().mean(0) / 255
    mixed = _PIXELS * grey + (1 - _PIXELS) * coloured
    return (mixed * 255).round().to(torch.uint8)


def _has_maps(run: Run, data: dict[str, Any]) -> bool:
    """Asked of the architecture alone, so that reports of other models load no weights."""
    from understudy.models import create_model

    try:
        with torch.device("meta"):
            model = create_model(
                run.recipe.model.name, len(data["classes"]), **data["model_options"]
            )
    except UserError:
        return False
    return getattr(model, "has_maps", False)
