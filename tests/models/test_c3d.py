"""C3D and its relatives: exact sizes, padding, streams, and that noise can learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from understudy.errors import UserError
from understudy.models import create_model
from understudy.models.c3d import C3D, CLIP_FRAMES, SeparableConv3d
from understudy.types import parameter_count

FAMILY = {
    "c3d": 27_655_936,
    "c3d-sp": 12_823_616,
    "c3d-mc5": 27_656_448,
    "c3d-mc4": 54_790_400,
    "c3d-mc3": 89_887_488,
}
SMALL = {"width": 2, "hidden_dim": 8, "input_size": 16}


def small(name: str = "c3d", **options) -> C3D:
    torch.manual_seed(0)
    model = create_model(name, 3, **(SMALL | options)).eval()
    assert isinstance(model, C3D)
    return model


def layer(model: nn.Module, name: str) -> Any:
    return model.get_submodule(name)


def clips(batch: int, time: int, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (batch, time, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("num_classes", [2, 101])
def test_convolutions_have_exactly_the_papers_parameters(name, num_classes):
    with torch.device("meta"):
        model = create_model(name, num_classes)
    assert parameter_count(model.backbone) == FAMILY[name]


def test_published_head_is_4096_4096():
    with torch.device("meta"):
        model = create_model("c3d", 487)
    assert isinstance(model, C3D)
    fc6, fc7 = layer(model.embed, "fc6"), layer(model.embed, "fc7")
    assert parameter_count(fc6) == 512 * 4 * 4 * 4096 + 4096
    assert parameter_count(fc7) == 4096 * 4096 + 4096
    assert parameter_count(model.head) == 4096 * 487 + 487


@pytest.mark.parametrize("size", [16, 40, 64])
@pytest.mark.parametrize("name", ["c3d", "c3d-mc3"])
def test_any_size_reaches_the_head(name, size):
    model = small(name, input_size=size)
    assert model(clips(1, 16, size)).logits.shape == (1, 3)


def test_pools_leave_the_sides_of_the_paper():
    sides = {}
    with torch.device("meta"):
        model = create_model("c3d", 3, width=1, head="pool")
        for name, module in model.backbone.named_children():
            if name.startswith("pool"):
                module.register_forward_hook(
                    lambda _m, _i, out, name=name: sides.update({name: tuple(out.shape[2:])})
                )
        model.backbone(torch.zeros(1, 3, 16, 112, 112))
    assert sides == {
        "pool1": (16, 56, 56),
        "pool2": (8, 28, 28),
        "pool3": (4, 14, 14),
        "pool4": (2, 7, 7),
        "pool5": (1, 4, 4),
    }


def test_separable_convolution_is_one_3d_convolution():
    """No activation stands between: the halves compose to a kernel of limited rank."""
    torch.manual_seed(0)
    pair = SeparableConv3d(2, 3).double()
    spatial, temporal = layer(pair, "spatial"), layer(pair, "temporal")
    nn.init.zeros_(spatial.bias)
    kernel = torch.einsum(
        "ortxy,rihwz->oithw", temporal.weight, spatial.weight.permute(0, 1, 3, 4, 2)
    )
    pixels = torch.randn(1, 2, 5, 6, 6, dtype=torch.double)
    whole = nn.functional.conv3d(pixels, kernel, temporal.bias, padding=1)
    torch.testing.assert_close(pair(pixels), whole)


@pytest.mark.parametrize("name", FAMILY)
def test_padding_never_changes_an_output(name):
    model, frames = small(name), clips(2, 16)
    lengths = torch.tensor([5, 16])
    dirty = frames.clone()
    dirty[0, 5:] = 255 - dirty[0, 5:]
    torch.testing.assert_close(model(dirty, lengths), model(frames, lengths), rtol=0, atol=0)
    alone = model(frames[:1, :5], lengths[:1])
    torch.testing.assert_close(alone.logits, model(frames, lengths).logits[:1])


def test_padding_may_reach_beyond_16_frames():
    model, frames = small(), clips(2, 20)
    lengths = torch.tensor([16, 3])
    torch.testing.assert_close(model(frames, lengths), model(frames[:, :16], lengths))


def test_short_clips_repeat_their_frames_evenly():
    model, frames = small(), clips(1, 3)
    repeated = frames[:, [0] * 5 + [1] * 6 + [2] * 5]
    torch.testing.assert_close(model(frames, torch.tensor([3])), model(repeated))


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize(("time", "lengths"), [(17, None), (17, [17]), (15, None), (1, None)])
def test_wrong_length_names_the_lengths_that_fit(name, time, lengths):
    given = None if lengths is None else torch.tensor(lengths)
    with pytest.raises(UserError, match=rf"{name} needs .*16 frames.*1 to 16; given: {time}"):
        small(name)(clips(1, time), given)


def test_other_picture_sizes_are_refused():
    with pytest.raises(UserError, match="16 x 16 pixels; given: 24 x 24"):
        small()(clips(1, 16, 24))


@pytest.mark.parametrize(
    "options",
    [{"head": "fc8"}, {"relative": "mc2"}, {"width": 0}, {"input_size": 8}, {"stream_stride": 0}],
)
def test_bad_options_say_what_is_allowed(options):
    with pytest.raises(UserError, match=next(iter(options))):
        C3D(3, **(SMALL | options))


@pytest.mark.parametrize("head", ["fc", "pool"])
@pytest.mark.parametrize("name", ["c3d", "c3d-mc4"])
def test_stepping_equals_forward_of_the_latest_frames(name, head):
    model, frames = small(name, head=head), clips(2, 20)
    state = model.init_state(2)
    for t in range(1, 21):
        before = tuple(tensor.clone() for tensor in state)
        output, new = model.step(frames[:, t - 1], state)
        assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True)), "not pure"
        assert all(tensor.ndim <= 4 for tensor in new)
        latest = frames[:, max(0, t - CLIP_FRAMES) : t]
        expected = model(latest, torch.full((2,), latest.shape[1]))
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
        state = new


def test_clips_of_one_batch_may_have_begun_at_different_times():
    model, frames = small(), clips(2, 9)
    state = model.init_state(2)
    for t in range(9):
        if t == 4:  # the second clip begins anew
            fresh = model.init_state(2)
            state = tuple(torch.stack([a[0], b[1]]) for a, b in zip(state, fresh, strict=True))
        output, state = model.step(frames[:, t], state)
    torch.testing.assert_close(output.logits[:1], model(frames[:1], torch.tensor([9])).logits)
    torch.testing.assert_close(output.logits[1:], model(frames[1:, 4:], torch.tensor([5])).logits)


def test_with_a_stride_the_output_is_held_between():
    model, frames = small(stream_stride=4), clips(1, 18)
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    state, outputs = model.init_state(1), []
    for t in range(18):
        output, state = model.step(frames[:, t], state)
        outputs.append(output.logits)
    assert len(calls) == 5, "frames 1, 4, 8, 12 and 16"
    for t in range(1, 19):
        due = max(1, t // 4 * 4)
        expected = model(frames[:, :due], torch.tensor([due])).logits
        torch.testing.assert_close(outputs[t - 1], expected, rtol=0, atol=1e-5)


def test_an_exported_step_keeps_its_state_and_its_stride():
    model, frames = small(stream_stride=2), clips(2, 5)

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, frame, latest, count, logits, embedding):
            return self.model.step(frame, (latest, count, logits, embedding))

    state = model.init_state(2)
    exported = torch.export.export(Step(), (frames[:, 0], *state)).module()
    state_exported = state
    for t in range(5):
        output, state = model.step(frames[:, t], state)
        given, state_exported = exported(frames[:, t], *state_exported)
        torch.testing.assert_close(given, tuple(output))


@pytest.mark.parametrize("name", ["c3d-sp", "c3d-mc5"])
def test_an_exported_clip_keeps_lengths_and_any_batch(name):
    model = small(name)
    batch = torch.export.Dim("batch", min=2)
    shapes = {"frames": {0: batch}, "lengths": {0: batch}}
    example = (clips(2, 16), torch.tensor([16, 5]))
    exported = torch.export.export(model, example, dynamic_shapes=shapes).module()
    frames, lengths = clips(3, 16), torch.tensor([16, 1, 7])
    torch.testing.assert_close(exported(frames, lengths), model(frames, lengths))


@pytest.mark.parametrize("head", ["fc", "pool"])
def test_embedding_takes_the_teachers_width(head):
    model = small(head=head, embedding_dim=5)
    assert model(clips(1, 16)).embedding.shape == (1, 5)
    same = small(head="pool", embedding_dim=16)
    assert "projection" not in dict(same.embed.named_children()), "16 features are 16 already"


@pytest.mark.parametrize("name", FAMILY)
def test_noise_learns_a_small_batch_by_heart(name):
    """Without BatchNorm a narrow network must not lose its signal on the way up."""
    torch.manual_seed(0)
    model = create_model(name, 4, width=4, hidden_dim=32, input_size=16, dropout=0.0)
    frames, target = clips(8, 16), torch.arange(8) % 4
    # At three times this rate some seeds end on a plateau, and which ones the processor decides.
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(120):  # 21 to 70 were needed, over seeds and instruction sets
        loss = nn.functional.cross_entropy(model(frames).logits, target)
        if loss.item() < 0.1:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError(f"the loss is still {loss.item():.2f}")


def test_a_split_convolution_equals_its_two_3d_convolutions():
    torch.manual_seed(0)
    split = SeparableConv3d(5, 7)
    clip = torch.randn(2, 5, 4, 6, 8, requires_grad=True)
    expected = split.temporal(split.spatial(clip))
    torch.testing.assert_close(split(clip), expected, atol=1e-5, rtol=1e-5)
    ours, theirs = (torch.autograd.grad(y.square().sum(), clip)[0] for y in (split(clip), expected))
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)
