"""Every model of `list_models()` as small as it gets, for tests that sweep over all of them."""

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from understudy.models import create_model
from understudy.types import Output, Recognizer, StreamingRecognizer

CLASSES = 5
PIXELS = 32
FRAMES = 6
"""Frames of a clip where the model takes any number."""

SMALL_FRAMES = {"embedding_dim": 32, "hidden_dim": 16, "heads": 2, "window": 4}
TINY_FRAMES = SMALL_FRAMES | {"backbone": "test_efficientnet"}
SMALL_CNN = {"widths": (8, 12, 16), "embedding_dim": 16}
SMALL_C3D = {"width": 4, "hidden_dim": 24}
SMALL_RVIT = {"dim": 16, "heads": 2, "mlp_dim": 32}

OPTIONS: dict[str, dict[str, Any]] = {
    "c3d": SMALL_C3D,
    "c3d-mc3": SMALL_C3D,
    "c3d-mc4": SMALL_C3D,
    "c3d-mc5": SMALL_C3D,
    "c3d-sp": SMALL_C3D,
    "cnn-attention": SMALL_CNN,
    "cnn-plain": SMALL_CNN,
    "frames-attention": TINY_FRAMES,
    "frames-average": TINY_FRAMES,
    "frames-gru": TINY_FRAMES,
    "frames-tcn": TINY_FRAMES,
    "mobilenetv3": SMALL_FRAMES,
    "mobilenetv4": SMALL_FRAMES,
    "mobilevit-xxs": SMALL_FRAMES,
    "rvit": SMALL_RVIT,
    "rvit-image": SMALL_RVIT | {"recurrent_dropout": 0.0},
}
"""Each model as small as it gets. A new one needs an entry here before it can be swept."""


def swept(cases: Iterable[Any], sample: Collection[Any], quick: Collection[Any] = ()) -> list[Any]:
    """Parameters of a test that sweeps: `make sweep` runs all `cases`, CI those of `sample` too,
    and the default run those that are `quick`."""
    params, known = [], set()
    for case in cases:
        known.add(case)
        marks = [pytest.mark.sweep]
        if case in quick:
            marks = [pytest.mark.sample]
        elif case in sample:
            marks = [pytest.mark.sample, pytest.mark.slow]
        params.append(pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=marks))
    assert known >= {*sample, *quick}, "a sample must be part of its sweep"
    return params


def build(name: str, seed: int = 0, classes: int = CLASSES, **options: Any) -> Recognizer:
    """A model as if it had trained a little, with `options` in place of its small ones.

    Parameters that start at 0 hide what lies behind them (timm ends residual blocks so), and batch
    statistics that never saw a clip leave hardly a signal at the end of a deep network.
    """
    torch.manual_seed(seed)
    model = create_model(name, classes, input_size=PIXELS, dropout=0.0, **(OPTIONS[name] | options))
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    recognise(model.train(), clip(8, length_of(model), seed=9))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model


@cache
def built(name: str) -> Recognizer:
    """One model for all tests that leave it as it is, in evaluation mode."""
    return build(name).eval()


@cache
def streaming(name: str) -> StreamingRecognizer:
    model = built(name)
    if not isinstance(model, StreamingRecognizer):
        pytest.skip(f"{name} does not stream")
    return model


def clip(batch: int, frames: int, seed: int = 0) -> Tensor:
    """Coarse patches of colour (batch, frames, 3, PIXELS, PIXELS), each frame of its own contrast:
    finer noise would look alike to a network whose first layers are random."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, frames, 3, 4, 4, generator=generator)
    contrast = torch.rand(batch, frames, 1, 1, 1, generator=generator)
    pixels = (250 * contrast * coarse).to(torch.uint8)
    return pixels.repeat_interleave(PIXELS // 4, -1).repeat_interleave(PIXELS // 4, -2)


def length_of(model: Recognizer) -> int:
    return model.clip_frames or FRAMES


def recognise(model: Recognizer, frames: Tensor, lengths: list[int] | None = None) -> Output:
    given = [frames.shape[1]] * len(frames) if lengths is None else lengths
    with torch.inference_mode():
        return model(frames, torch.tensor(given))
