import pytest
import torch
from torch.nn import functional as F

from understudy.models.linear_attention import linear_attention, positive


def draw(tokens: int, width: int = 24, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    return [
        torch.randn(2, 3, tokens, width, generator=generator, dtype=torch.float64).to(dtype)
        for _ in range(3)
    ]


@pytest.mark.parametrize("tokens", [1, 7, 200])
def test_equals_its_quadratic_definition(tokens):
    """Rows of phi(Q) phi(K)^T, each normalised to a sum of 1, times V."""
    query, key, value = draw(tokens, dtype=torch.float64)
    weights = (F.elu(query) + 1) @ (F.elu(key) + 1).mT
    expected = (weights / weights.sum(-1, keepdim=True)) @ value
    torch.testing.assert_close(linear_attention(query, key, value), expected)


def test_the_feature_map_is_elu_plus_one_with_its_gradient_and_more_digits():
    x = torch.linspace(-9, 9, 37, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(positive(x), F.elu(x) + 1)
    ours, theirs = (torch.autograd.grad(f.sum(), x)[0] for f in (positive(x), F.elu(x) + 1))
    torch.testing.assert_close(ours, theirs)
    small = torch.tensor(-20.0)
    assert positive(small) == small.exp() > 0
    assert F.elu(small) + 1 == 0


def test_forgets_the_order_of_keys_and_keeps_that_of_queries():
    query, key, value = draw(9, dtype=torch.float64)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    seen = linear_attention(query, key, value)
    torch.testing.assert_close(linear_attention(query, key[:, :, order], value[:, :, order]), seen)
    moved = linear_attention(query[:, :, order], key, value)
    torch.testing.assert_close(moved, seen[:, :, order])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_thousands_of_tokens_stay_within_half_precision(dtype):
    """The sums themselves, some 3,136 x 24 here, would pass the largest float16."""
    query, key, value = draw(3136)
    exact = linear_attention(query, key, value)
    half = linear_attention(query.to(dtype), key.to(dtype), value.to(dtype)).float()
    assert torch.isfinite(half).all()
    assert (half - exact).abs().max() < 0.02


def test_keys_far_below_zero_give_no_nan():
    query, key, value = draw(5)
    assert torch.isfinite(linear_attention(query, key - 1e4, value)).all()
