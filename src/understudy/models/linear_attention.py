"""Attention whose cost grows with the number of tokens, not with its square.

Shapes: B clips, M heads, N tokens, d width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor


def linear_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """phi(Q) (phi(K)^T V) over phi(Q) sum(phi(K)), with phi(x) = elu(x) + 1; all (B, M, N, d).

    Katharopoulos et al., "Transformers are RNNs", ICML 2020, equation 5. Sums over tokens are taken
    as means, which cancels out: sums over thousands of tokens leave the range of float16.
    """
    query = positive(query)
    key = positive(key) / key.shape[-2]
    weight = query @ key.sum(-2)[..., None]
    # phi is positive but may round to zero; where it did not, this changes nothing.
    return query @ (key.mT @ value) / weight.clamp_min(torch.finfo(weight.dtype).tiny)


def positive(x: Tensor) -> Tensor:
    """elu(x) + 1, written so that small values keep their digits and CPUs are quick about it.

    elu takes exp(x) - 1, a slow function on CPUs, and adding 1 again would leave 0 of exp(-20). At
    0 minimum and maximum pass on half of the gradient each, clamping would pass on none.
    """
    zero = x.new_zeros(())
    return torch.minimum(x, zero).exp() + torch.maximum(x, zero)
