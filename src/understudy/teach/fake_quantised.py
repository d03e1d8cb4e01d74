"""A model that computes as its INT8 export will: weights and activations rounded to 8 bits.

What an export quantises, training can feel beforehand. Every value is rounded to the grid that it
will have and comes back as a float ("fake" quantisation), and the gradient goes through the
rounding as if it were not there (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", CVPR 2018, section 3):

- weights: symmetric, -127 to 127, one scale for each output channel, from the weights as they are;
- activations that enter a layer: affine, 0 to 255, one scale for the tensor, from a moving average
  of the smallest and the largest value of each batch so far, which torchao's observer keeps. The
  very first batch, before which there is none, enters as it is.

The layers are convolutions, Linear and the projections of attention. Weights are rounded as they
stand, before a batch normalisation is folded into them: its factor is one for each output channel,
and a symmetric grid with one scale for each output channel is stretched by it, never bent. For the
same reason the direction of a weight-normalised convolution may be rounded in place of the weight.
"""

from __future__ import annotations

import importlib.util
import logging
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from understudy.errors import UserError

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.MultiheadAttention)
WEIGHTS = ("weight", "in_proj_weight", "parametrizations.weight.original1")

AVERAGING = 0.1
"""Weight of the newest batch in a range. A few epochs must be enough to forget the first batch."""


class FakeQuantized(nn.Module):
    """A recogniser as it will compute in 8 bits: called as the recogniser is, with its outputs.

    The recogniser itself is left as it is, its class, its names and its float weights; nothing of
    the rounding stays on it between two calls. Ranges are observed while training and kept in
    evaluation. A layer that another module computes by itself, without calling it, has its weights
    rounded and its input not. Statistics of batch normalisation stand still, for an export folds
    them into the weights as constants.

    Raises UserError if the model has no layer that could be quantised, or torchao is missing.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.layers = {
            name: module for name, module in model.named_modules() if isinstance(module, LAYERS)
        }
        if not self.layers:
            raise UserError(
                f"{type(model).__name__} has neither a convolution nor a linear layer: there is "
                "nothing that 8 bits could make smaller. Leave train.qat out."
            )
        parameters = dict(model.named_parameters())
        names = [f"{layer}.{weight}" for layer in self.layers for weight in WEIGHTS]
        self.weights = {name: parameters[name] for name in names if name in parameters}
        # A module's name may hold no dot.
        self.ranges = nn.ModuleDict({_key(name): _observer() for name in self.layers})

    def train(self, mode: bool = True) -> FakeQuantized:
        super().train(mode)
        for module in self.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def forward(self, *inputs: Any) -> Any:
        weights = {name: round_weight(weight) for name, weight in self.weights.items()}
        seen: dict[str, list[Tensor]] = {name: [] for name in self.layers}
        with ExitStack() as hooks:
            for name, layer in self.layers.items():
                round_inputs = partial(self._round_inputs, self.ranges[_key(name)], seen[name])
                hooks.callback(layer.register_forward_pre_hook(round_inputs).remove)
            output = functional_call(self.model, weights, inputs)
        # Once for a batch, however often a layer was called: a recurrent one reads values that
        # grow from frame to frame, and the mean of its ranges would cut off the last frames.
        for name, extremes in seen.items():
            if extremes:
                self.ranges[_key(name)](torch.stack(extremes))
        return output

    def _round_inputs(
        self, observer: Any, extremes: list[Tensor], _: nn.Module, inputs: tuple
    ) -> tuple:
        """Query, key and value of an attention share one range; other layers have one input."""
        if self.training:
            for value in inputs:
                extremes.extend(value.detach().float().aminmax())
        if observer.min_val > observer.max_val:  # it has never seen a value
            return inputs
        scale, zero_point = observer.calculate_qparams()
        zero_point = zero_point.to(torch.int32)
        return tuple(
            torch.fake_quantize_per_tensor_affine(value, scale, zero_point, 0, 255)
            for value in inputs
        )


def round_weight(weight: Tensor) -> Tensor:
    """A weight (out, ...) on the grid of 8 bits that its largest value in each output channel sets.

    -128 is left out: the grid is then its own mirror, which the sign of a batch normalisation's
    factor needs.
    """
    from torchao.quantization.quant_primitives import (
        MappingType,
        choose_qparams_affine_with_min_max,
    )

    flat = weight.detach().flatten(1)  # torchao's own reduction takes (C, 1, 1, 1) for one channel
    scale, zero_point = choose_qparams_affine_with_min_max(
        flat.amin(1), flat.amax(1), MappingType.SYMMETRIC, (1, flat.shape[1]), torch.int8,
        quant_min=-127, quant_max=127, zero_point_dtype=torch.int32,
    )  # fmt: skip
    return torch.fake_quantize_per_channel_affine(weight, scale, zero_point, 0, -127, 127)


def require_torchao() -> None:
    """Raises UserError if torchao is not installed."""
    if importlib.util.find_spec("torchao") is None:
        raise UserError(
            "Quantisation-aware training (train.qat) needs torchao, which is not installed: "
            "pip install 'understudy[qat]'"
        )


def _observer() -> nn.Module:
    require_torchao()
    logger = logging.getLogger("torch.utils._pytree")
    level = logger.level
    logger.setLevel(logging.ERROR)  # where torchao's import warns of its own inside
    from torchao.quantization.pt2e.observer import MovingAverageMinMaxObserver

    logger.setLevel(level)
    return MovingAverageMinMaxObserver(
        averaging_constant=AVERAGING,
        dtype=torch.uint8,
        qscheme=torch.per_tensor_affine,
        quant_min=0,
        quant_max=255,
    )


def _key(name: str) -> str:
    return name.replace(".", "/")
