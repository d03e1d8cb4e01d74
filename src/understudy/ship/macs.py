"""How much arithmetic a call costs: multiply-accumulates, counted while the model runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_macs(module: nn.Module, *inputs: Tensor) -> int:
    """Multiply-accumulates of convolutions, matrix products and attention for `inputs`.

    The count is for the whole batch. Norms, activations and softmax are left out, as is usual.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    # The fused kernels of attention are opaque to the counter: it would see no product in them.
    torch.backends.mha.set_fastpath_enabled(False)
    # It also hooks into whatever needs a gradient, and fails on views of parameters.
    detached = {name: parameter.detach() for name, parameter in module.named_parameters()}
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            torch.func.functional_call(module, detached, inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.get_total_flops() // 2
