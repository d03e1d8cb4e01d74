"""cnn-plain and cnn-attention: one network but for the slots, and what the slots compute."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.errors import UserError
from understudy.models import create_model, model_options
from understudy.models.attention_cnn import (
    AttentionCNN,
    ChannelAttention,
    LinearAttention,
    SpatialAttention,
)
from understudy.types import parameter_count

KINDS = ["none", "spatial", "channel", "both", "linear"]
WITH_MAPS = ["spatial", "both", "linear"]
SMALL = {"widths": (8, 12), "strides": (2, 2), "embedding_dim": 16}


def build(attention: str = "both", **options: Any) -> AttentionCNN:
    model = create_model("cnn-attention", 5, attention=attention, **(SMALL | options))
    return cast(AttentionCNN, model)


def shaken(model: AttentionCNN) -> AttentionCNN:
    """With statistics and scales as after training, where nothing is 0 or 1 by chance."""
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.is_floating_point() and not name.startswith("normalize"):
                tensor.add_(torch.randn_like(tensor) * 0.03)
    return model.eval()


def clips(batch: int = 3, time: int = 4, side: int = 16) -> Tensor:
    return torch.randint(0, 256, (batch, time, 3, side, side), dtype=torch.uint8)


@pytest.mark.parametrize("attention", KINDS)
def test_the_same_seed_gives_every_common_weight_the_same_value(attention: str):
    torch.manual_seed(3)
    plain = create_model("cnn-plain", 5, **SMALL).state_dict()
    torch.manual_seed(3)
    other = build(attention).state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in plain.items())
    own = set(other) - set(plain)
    assert all(".slots." in name for name in own)
    assert bool(own) == (attention != "none")


def test_plain_and_attention_have_the_same_options_and_defaults_but_for_the_slots():
    plain, attention = model_options("cnn-plain"), model_options("cnn-attention")
    assert plain.pop("attention") == "none"
    assert attention.pop("attention") == "both"
    assert plain == attention


def test_parameters_are_those_counted_by_hand():
    widths, embedding, classes = (32, 64, 128), 128, 10
    common = 3 * 32 * 9 + 32 * 32 * 9 + 32 * 64 * 9 + 64 * 64 * 9 + 64 * 128 * 9 + 128 * 128 * 9
    common += 2 * 2 * sum(widths)  # BatchNorm behind each of two convolutions
    common += 128 * embedding + embedding + 2 * embedding + embedding * classes + classes
    spatial = len(widths) * (2 * 7 * 7 + 2)
    channel = sum(2 * w * max(w // 16, 4) + max(w // 16, 4) + w for w in widths)
    linear = sum(2 * w + 3 * w * (w + 1) + w * (w + 1) for w in widths)
    own = {"none": 0, "spatial": spatial, "channel": channel, "linear": linear}
    own["both"] = spatial + channel
    for attention in KINDS:
        model = create_model("cnn-attention", classes, attention=attention)
        assert parameter_count(model) == common + own[attention], attention


@pytest.mark.parametrize("attention", KINDS)
def test_stepping_gives_what_the_clip_gives_and_padding_changes_nothing(attention: str):
    model = shaken(build(attention))
    frames, lengths = clips(), torch.tensor([2, 4, 1])
    with torch.inference_mode():
        state = model.init_state(3)
        steps = []
        for t in range(4):
            given = [tensor.clone() for tensor in state]
            output, new = model.step(frames[:, t], state)
            assert all(map(torch.equal, given, state)), "the given state is left as it was"
            steps.append(output)
            state = new
            for mine, whole in zip(output, model(frames[:, : t + 1]), strict=True):
                torch.testing.assert_close(mine, whole, atol=1e-5, rtol=0)
        padded = model(frames, lengths)
        for clip, length in enumerate(lengths.tolist()):
            for mine, stepped in zip(padded, steps[length - 1], strict=True):
                torch.testing.assert_close(mine[clip], stepped[clip], atol=1e-5, rtol=0)


@pytest.mark.parametrize("attention", KINDS)
def test_padding_stays_out_of_the_statistics_of_training(attention: str):
    torch.manual_seed(0)
    one, other = build(attention, dropout=0.0), build(attention, dropout=0.0)
    other.load_state_dict(one.state_dict())
    frames, lengths = clips(2, 3), torch.tensor([2, 3])
    changed = frames.clone()
    changed[0, 2] = 255
    one(frames, lengths)
    other(changed, lengths)
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize("attention", WITH_MAPS)
def test_maps_lie_between_0_and_1_on_real_frames_and_are_0_on_padding(attention: str):
    model = shaken(build(attention))
    frames, lengths = clips(2, 3, 20), torch.tensor([1, 3])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    maps = model.attention_maps(frames, lengths)
    assert [tuple(one.shape) for one in maps] == [(2, 3, 10, 10), (2, 3, 5, 5)]
    for one in maps:
        assert one[0, 1:].abs().max() == 0
        real = torch.cat([one[0, :1], one[1]])
        assert real.min() > 0
        assert real.max() <= 1
        assert real.std(dim=(1, 2)).min() > 1e-4, "places differ"
    alone = model.attention_maps(frames[:1, :1])
    for one, mine in zip(maps, alone, strict=True):
        torch.testing.assert_close(one[0, 0], mine[0, 0])
    after = model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_maps_of_cbam_are_what_the_features_are_multiplied_by():
    model, frames = shaken(build("both")), clips(1, 1)
    maps, backbone = model.attention_maps(frames), cast(Any, model.backbone)
    features = model.normalize(frames[0])
    with torch.inference_mode():
        for stage, slot, found in zip(backbone.stages, backbone.slots, maps, strict=True):
            features = stage(features)
            by_map = slot.channel(features) * found
            features = slot(features)
            torch.testing.assert_close(by_map, features)


@pytest.mark.parametrize("attention", ["none", "channel"])
def test_what_weighs_no_places_has_no_maps_and_says_so(attention: str):
    model = build(attention)
    assert not model.has_maps
    with pytest.raises(UserError, match=f"attention={attention} weighs no places"):
        model.attention_maps(clips())


def test_there_are_no_maps_in_training_mode():
    with pytest.raises(UserError, match=r"eval\(\)"):
        build("both").train().attention_maps(clips())


def test_spatial_attention_is_the_formula_of_the_paper():
    slot = SpatialAttention().eval()
    x = torch.randn(2, 6, 9, 9)
    pooled = torch.cat([x.max(1, keepdim=True).values, x.mean(1, keepdim=True)], 1)
    padded = F.pad(pooled, (3, 3, 3, 3))
    windows = F.unfold(padded, 7).unflatten(2, (9, 9))  # (2, 2 * 49, 9, 9)
    weight = torch.einsum("nkhw,k->nhw", windows, slot.convolution.weight.flatten())
    expected = x * torch.sigmoid(weight / (1 + 1e-5) ** 0.5)[:, None]  # fresh running statistics
    torch.testing.assert_close(slot(x), expected)


def test_channel_attention_weighs_whole_channels_and_ignores_where_things_are():
    slot: Any = ChannelAttention(8)
    x = torch.randn(2, 8, 4, 4)
    ratio = slot(x) / x
    assert ratio.flatten(2).std(dim=2).max() < 1e-5
    first, _, second = slot.mlp
    hidden = [F.relu(p @ first.weight.T + first.bias) for p in (x.mean((2, 3)), x.amax((2, 3)))]
    summed = sum(h @ second.weight.T + second.bias for h in hidden)
    torch.testing.assert_close(ratio[:, :, 0, 0], cast(Tensor, summed).sigmoid())
    shuffled = x.flatten(2)[:, :, torch.randperm(16)].unflatten(2, (4, 4))
    torch.testing.assert_close((slot(shuffled) / shuffled)[:, :, 0, 0], ratio[:, :, 0, 0])


def test_linear_attention_equals_the_one_with_the_whole_matrix():
    slot = LinearAttention(6)
    x = torch.randn(2, 6, 3, 5)
    tokens = slot.norm(x.flatten(2).transpose(1, 2))
    query, key, value = slot.query_key_value(tokens).chunk(3, -1)
    weights = (F.elu(query) + 1) @ (F.elu(key) + 1).transpose(1, 2)  # (N, P, P)
    weights = weights / weights.sum(2, keepdim=True)
    expected = x + slot.output(weights @ value).transpose(1, 2).unflatten(2, (3, 5))
    torch.testing.assert_close(slot(x), expected)
    received = weights.mean(1)
    expected_map = (received / received.amax(1, keepdim=True)).unflatten(1, (3, 5))
    torch.testing.assert_close(slot.map(x)[:, 0], expected_map)


def test_a_wrong_choice_names_the_right_ones():
    with pytest.raises(UserError, match="Did you mean spatial"):
        build("spatail")
    with pytest.raises(UserError, match="one width and one stride per stage"):
        build(strides=(2, 2, 2))
