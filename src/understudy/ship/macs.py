"""How much arithmetic a clip costs: multiply-accumulates, counted while the model runs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from understudy.types import Recognizer


def count_macs(model: Recognizer, frames: Tensor) -> int:
    """Multiply-accumulates of convolutions, matrix products and attention for `frames`.

    frames: (B, T, 3, H, W) uint8; the count is for the whole batch. Norms, activations and
    softmax are left out, as is usual.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    # The fused kernels of attention are opaque to the counter: it would see no product in them.
    torch.backends.mha.set_fastpath_enabled(False)
    # It also hooks into whatever needs a gradient, and fails on views of parameters.
    detached = {name: parameter.detach() for name, parameter in model.named_parameters()}
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            torch.func.functional_call(model, detached, (frames,))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.get_total_flops() // 2
