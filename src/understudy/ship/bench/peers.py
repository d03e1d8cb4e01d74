"""Models to time a student against, by name: a CLIP tower, networks of timm and torchvision.

    clip:ViT-B-32   the image tower of an architecture that open_clip knows; no text
    timm:NAME       a classifier of timm
    torchvision:NAME  a classifier of torchvision
    model:NAME      one of `list_models()`, 15 classes

Each may end in @FORMAT (`clip:ViT-B-32@onnx`): then it is exported first and timed in that runtime,
otherwise in PyTorch. Weights are random and nothing is ever fetched: time does not depend on them,
so that these models answer how fast, never how well. Batch statistics are measured on pictures:
without them a deep network with random weights fades to numbers too small to be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from understudy.errors import UserError, nearest
from understudy.models.layers import Normalize
from understudy.models.picture_peer import PicturePeer
from understudy.types import Recognizer

CLASSES = 15
"""Of a model of ours; picture models of other libraries keep their 1000."""

_CALIBRATION_PICTURES = 8
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def split_peer(spec: str) -> tuple[str, str | None]:
    """`clip:ViT-B-32@onnx` to `clip:ViT-B-32` and `onnx`; the second is None without an @.

    Raises UserError for a format that is unknown or that this package only converts to.
    """
    from understudy.ship.formats import FORMATS

    name, at, format_ = spec.partition("@")
    if not at:
        return name, None
    executed = tuple(key for key, module in FORMATS.items() if module.RUNS_HERE)
    if format_ in FORMATS and format_ not in executed:
        raise UserError(f"{spec}: this package does not execute {FORMATS[format_].TITLE} files.")
    if format_ not in FORMATS:
        raise UserError(
            f"{spec}: there is no export format {format_ or '(nothing)'}."
            f"{nearest(format_, executed)} After @ stands one of: {', '.join(executed)}."
        )
    return name, format_


def is_peer(spec: str) -> bool:
    """Whether a name is meant as one of these: it begins with one of their prefixes."""
    return spec.partition(":")[0] in PREFIXES and ":" in spec


def create_peer(spec: str, *, frames: int, size: int) -> Recognizer:
    """The model that `spec` names (a format after @ is left out of account), in evaluation mode.

    frames, size: T and S of the clips that it will be timed on. Weights are random, the same at
    every call. Raises UserError for an unknown prefix or name, naming the nearest, and for frames
    or a size that the model cannot take.
    """
    source, colon, name = split_peer(spec)[0].partition(":")
    if source not in PREFIXES or not colon:
        ways = "; ".join(f"{prefix}:NAME, {what}" for prefix, (what, _) in PREFIXES.items())
        raise UserError(
            f"{spec} is no model to time.{nearest(source, list(PREFIXES))} Give one of: {ways}."
        )
    _, build = PREFIXES[source]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model = build(name, size)
            needed = model.clip_frames
            if needed is not None and needed != frames:
                raise UserError(f"{spec} needs clips of {needed} frames; given: {frames}.")
            _calibrate(model, frames, size)
        except UserError:
            raise
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            raise UserError(
                f"{spec} cannot be built for {frames} frames of {size} pixels: {error}"
            ) from error
    return model.eval()


def _clip(name: str, size: int) -> Recognizer:
    import open_clip

    from understudy.ship.formats.quiet import quiet

    _check(name, open_clip.list_models(), "open_clip", "architecture")
    with quiet("root"):  # it warns that the weights are random, which is meant
        tower = cast(Any, open_clip.create_model(name, force_image_size=size)).visual
    config = tower.preprocess_cfg
    return PicturePeer(tower, Normalize(tuple(config["mean"]), tuple(config["std"])), size)


def _timm(name: str, size: int) -> Recognizer:
    import timm

    from understudy.models.pixel_statistics import pixel_statistics

    # Only names of architectures: timm takes addresses of hubs too, and would fetch.
    _check(name, timm.list_models(), "timm", "model")
    config = cast(Any, timm.get_pretrained_cfg(name, allow_unregistered=True)).to_dict()
    sized: dict[str, Any] = {"img_size": size} if config.get("fixed_input_size") else {}
    network = timm.create_model(name, pretrained=False, **sized)
    return PicturePeer(network, Normalize(*pixel_statistics(network)), size)


def _torchvision(name: str, size: int) -> Recognizer:
    from torchvision import models

    from understudy.ship.formats.quiet import quiet

    _check(name, models.list_models(module=models), "torchvision", "classifier")
    sized: dict[str, Any] = {"image_size": size} if name.startswith("vit_") else {}
    with quiet():  # two old networks warn that they start slowly
        network = models.get_model(name, weights=None, **sized)
    return PicturePeer(network, Normalize(**_IMAGENET), size)


def _own(name: str, size: int) -> Recognizer:
    from understudy.models import create_model

    return create_model(name, CLASSES, input_size=size)


PREFIXES: dict[str, tuple[str, Callable[[str, int], Recognizer]]] = {
    "clip": ("an architecture of open_clip", _clip),
    "timm": ("a classifier of timm", _timm),
    "torchvision": ("a classifier of torchvision", _torchvision),
    "model": ("one of our models", _own),
}
"""What comes before the colon -> what comes after it, and what builds that."""


def _check(name: str, known: list[str], library: str, what: str) -> None:
    if name in known:
        return
    raise UserError(
        f"{library} has no {what} {name or '(nothing)'}.{nearest(name, known)} Only names of its "
        "architectures are taken, never weights: only time is measured."
    )


def _calibrate(model: Recognizer, frames: int, size: int) -> None:
    """Set every BatchNorm to the statistics of a few pictures, one layer after the other.

    A model without any is run as well, so that a size that it cannot take is noticed here.
    """
    from understudy.ship.bench.subjects import natural_clips

    norms = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    count = max(1, -(-_CALIBRATION_PICTURES // frames)) if norms else 1
    clips = natural_clips(count, frames, size)
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        model(clips)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
