import pytest
import torch
from torch import nn
from torch.nn.functional import conv1d

from understudy.errors import UserError
from understudy.models import create_model
from understudy.models.layers import time_mask
from understudy.models.tcn import TemporalConvNet
from understudy.models.temporal import TEMPORAL_HEADS, AveragePool, create_temporal_head

WIDTH = 8


def head(name: str, **options):
    torch.manual_seed(0)
    defaults = {
        "dropout": 0.0,
        "heads": 2,
        "positions": True,
        "window": 64,
        "layers": 3,
        "kernel": 3,
    }
    return create_temporal_head(name, WIDTH, **defaults | options).eval()


def tokens(batch: int, frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, frames, WIDTH, generator=torch.Generator().manual_seed(seed))


def all_real(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(x.shape[:2], dtype=torch.bool)


def stream(model, x: torch.Tensor, steps: int | None = None) -> list[torch.Tensor]:
    """The embedding after every token of x (B, T, E)."""
    state, outputs = model.init_state(len(x), WIDTH, like=x), []
    with torch.inference_mode():
        for t in range(steps or x.shape[1]):
            output, state = model.step(x[:, t % x.shape[1]], state)
            outputs.append(output)
    return outputs


@pytest.mark.parametrize("name", TEMPORAL_HEADS)
def test_stepping_is_the_clip_far_beyond_every_buffer(name):
    model, x = head(name, window=5), tokens(2, 40)
    lengths = torch.tensor([40, 23])
    outputs = stream(model, x)
    with torch.inference_mode():
        whole = model(x, time_mask(lengths, 40))
        for t in range(1, 41):
            recent = x[:, max(0, t - (model.stream_frames or t)) : t]
            torch.testing.assert_close(
                outputs[t - 1], model(recent, all_real(recent)), rtol=1e-5, atol=1e-5
            )
    for row, length in enumerate(lengths):
        torch.testing.assert_close(outputs[length - 1][row], whole[row], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("layers", "kernel", "field"), [(3, 3, 29), (2, 3, 13), (4, 2, 31)])
def test_tcn_sees_exactly_the_frames_that_its_docstring_says(layers, kernel, field):
    # Positive weights on positive tokens keep every path alive.
    model = head("tcn", layers=layers, kernel=kernel)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    x = tokens(1, field + 4).abs().requires_grad_()
    model(x, all_real(x)).sum().backward()
    seen = x.grad.abs().sum((0, 2)) > 0
    assert seen.tolist() == [False] * 4 + [True] * field


def test_no_activation_of_tcn_depends_on_a_later_frame():
    model, x = head("tcn"), tokens(1, 12)
    changed = x.clone()
    changed[:, 7:] += 1
    outputs = []
    with torch.inference_mode():
        for clip in (x, changed):
            inner = clip.transpose(1, 2)
            for block in model.blocks:
                inner = block(inner)
            outputs.append(inner)
    assert torch.equal(outputs[0][..., :7], outputs[1][..., :7])
    assert (outputs[0][..., 7:] != outputs[1][..., 7:]).any(dim=1).all()


def test_tcn_is_what_the_paper_writes():
    # Sums over past frames written out, with weights g v / |v| and zeros before the first frame.
    model, x = head("tcn", layers=2), tokens(2, 9)
    for name, parameter in model.named_parameters():
        if name.endswith("original0"):
            nn.init.uniform_(parameter, 0.5, 2.0)  # magnitudes that differ from those of v

    def convolve(conv, inputs):
        magnitude = conv.parametrizations.weight.original0
        direction = conv.parametrizations.weight.original1
        norm = direction.square().sum((1, 2), keepdim=True).sqrt()
        weight = magnitude * direction / norm
        dilation, total = conv.dilation[0], conv.bias[:, None].expand(2, WIDTH, 9).clone()
        for tap in range(3):
            back = (2 - tap) * dilation
            shifted = torch.zeros_like(inputs)
            shifted[..., back:] = inputs[..., : 9 - back]
            total += conv1d(shifted, weight[..., tap : tap + 1])
        return total

    with torch.inference_mode():
        expected = x.transpose(1, 2)
        for block in model.blocks:
            inner = convolve(block.first.conv, expected).relu()
            expected = (expected + convolve(block.second.conv, inner).relu()).relu()
        torch.testing.assert_close(model(x, all_real(x)), expected[..., -1], rtol=0, atol=1e-5)


def test_tcn_drops_single_activations_after_each_convolution():
    model = head("tcn", dropout=0.5, layers=1)
    for conv in (model.blocks[0].first.conv, model.blocks[0].second.conv):
        nn.init.zeros_(conv.parametrizations.weight.original0)
        nn.init.ones_(conv.bias)
    block, x = model.blocks[0], torch.zeros(4, WIDTH, 200)
    with torch.no_grad():
        assert torch.equal(block(x), torch.ones_like(x))
        dropped = block.train()(x)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    shares = (dropped == 0).float().mean(2)  # per channel: whole channels would have 0 or 1
    assert ((shares > 0.3) & (shares < 0.7)).all()


def test_tcn_starts_as_pytorch_starts_a_convolution():
    model = TemporalConvNet(256, 1, 3, 0.0)
    weight = model.blocks[0].first.conv.weight
    bound = (3 * 256) ** -0.5
    assert weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_gru_equals_packed_sequences():
    model, x, lengths = head("gru"), tokens(3, 7), torch.tensor([4, 7, 1])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    with torch.inference_mode():
        _, hidden = model.gru(packed)
        given = model(x, time_mask(lengths, 7))
    torch.testing.assert_close(given, hidden[0], rtol=0, atol=1e-6)


def test_attention_of_a_long_clip_is_that_of_its_latest_frames():
    short, long = head("attention", window=4), head("attention")
    x, lengths = tokens(3, 9), torch.tensor([9, 3, 6])
    with torch.inference_mode():
        given = short(x, time_mask(lengths, 9))
        for row, length in enumerate(lengths.tolist()):
            recent = x[row : row + 1, max(0, length - 4) : length]
            torch.testing.assert_close(
                given[row], long(recent, all_real(recent))[0], rtol=1e-5, atol=1e-5
            )
        assert not torch.allclose(given[0], long(x, time_mask(lengths, 9))[0], atol=1e-3)


def test_running_mean_of_an_endless_stream_stays_exact():
    x = 100 + tokens(1, 100)
    outputs = stream(AveragePool(), x, steps=10_000)
    torch.testing.assert_close(outputs[-1][0], x[0].double().mean(0).float(), rtol=1e-5, atol=0)


def test_half_precision_counts_beyond_its_own_range():
    # float16 ends at 65504 and cannot count in ones beyond 2048: the mean is kept in float32.
    x = tokens(1, 4).half()
    pool = AveragePool()
    state = pool.init_state(1, WIDTH, like=x)
    assert {part.dtype for part in state} == {torch.float32}
    outputs = stream(pool, x, steps=4000)
    assert outputs[-1].dtype == torch.float16
    assert torch.allclose(outputs[-1][0].float(), x[0].float().mean(0), atol=2e-3)


@pytest.mark.parametrize("name", TEMPORAL_HEADS)
def test_state_follows_the_type_of_the_model(name):
    model, x = head(name).to(torch.bfloat16), tokens(2, 3).bfloat16()
    last = stream(model, x)[-1]
    assert last.dtype == torch.bfloat16
    with torch.inference_mode():
        torch.testing.assert_close(last, model(x, all_real(x)), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temporal": "tnc"}, r"no temporal head tnc\. Did you mean tcn\?"),
        ({"window": 0}, "window is 0; it must be at least 1"),
        ({"layers": 0}, "layers is 0; it must be at least 1"),
        ({"kernel": 1}, "kernel is 1; it must be at least 2"),
    ],
)
def test_mistakes_in_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        create_model("frames-tcn", 3, backbone="test_efficientnet", **options)


def test_a_step_of_attention_drops_what_the_clip_drops():
    # Dropout strikes the shares of attention: the mean of many draws is what evaluation gives.
    model, x = head("attention", dropout=0.5, window=3), tokens(1, 3)
    model.norm = nn.Identity()
    with torch.no_grad():
        expected = model(x, all_real(x))
        model.train()
        draws = model._look(x.expand(20_000, -1, -1), all_real(x).expand(20_000, -1))
        clips = model(x.expand(20_000, -1, -1), all_real(x).expand(20_000, -1))
    torch.testing.assert_close(draws.mean(0), expected[0], rtol=0, atol=0.03)
    torch.testing.assert_close(draws.std(0), clips.std(0), rtol=0.05, atol=0)
