from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import UserError
from understudy.models import create_model
from understudy.models.rvit_image import RViTImage, RViTImageBackbone

TINY: dict[str, Any] = {"input_size": 24, "dim": 16, "heads": 2, "mlp_dim": 24, "dropout": 0.0}


def tiny(**options: Any) -> RViTImage:
    torch.manual_seed(0)
    model = create_model("rvit-image", 4, **TINY | options).eval()
    for parameter in model.parameters():
        if parameter.dim() > 2:
            nn.init.normal_(parameter, std=0.3)
    return cast(RViTImage, model)


def clips(batch: int, frames: int, size: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(batch * 100 + frames)
    shape = (batch, frames, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_folded_patches_are_a_3d_convolution():
    """Of both patches in a window of four frames; no tensor on the way has five dimensions."""
    model = tiny(patch_frames=2, window_frames=4, layers=1)
    backbone = cast(RViTImageBackbone, model.backbone)
    seen: list[Tensor] = []
    backbone.encoder.blocks[0].norm_x.register_forward_pre_hook(
        lambda _, given: seen.append(given[0])
    )
    model(clips(2, 4))

    pixels = torch.stack([model.normalize(frame) for frame in clips(2, 4).unbind(1)], dim=2)
    kernel = backbone.patches.weight.unflatten(1, (2, 3)).transpose(1, 2)
    patches = F.conv3d(pixels, kernel, backbone.patches.bias, stride=(2, 8, 8))
    expected = (patches + backbone.positions).flatten(2).mT
    torch.testing.assert_close(seen[-1], expected)


@pytest.mark.parametrize(("patch", "window"), [(1, 1), (1, 3), (2, 2), (2, 4), (3, 3)])
def test_every_window_steps_as_it_reads(patch, window):
    model, frames = tiny(patch_frames=patch, window_frames=window), clips(2, 6)
    lengths = torch.tensor([2, 6])
    state = model.init_state(2)
    with torch.inference_mode():
        ended = model(frames, lengths)
        for t in range(6):
            output, state = model.step(frames[:, t], state)
            torch.testing.assert_close(output, model(frames[:, : t + 1]), rtol=1e-5, atol=1e-5)
            for row in (lengths == t + 1).nonzero()[:, 0]:
                torch.testing.assert_close(ended.logits[row], output.logits[row])
    assert len(state) == 2 + 2 * (window > 1)
    assert all(one.dim() <= 4 for one in state)


def test_the_window_sees_its_last_frames_and_none_before():
    """With the hidden tokens silent, a clip is what its last `window_frames` frames are."""
    model, frames = tiny(patch_frames=2, window_frames=4), clips(1, 7)
    for block in cast(RViTImageBackbone, model.backbone).encoder.blocks:
        nn.init.zeros_(block.gate.qkv_h.weight)
    width = 16  # of the last layer's tokens, which the summary starts with
    summaries = []
    model.projection[0].register_forward_pre_hook(lambda _, given: summaries.append(given[0]))
    with torch.inference_mode():
        for first in (0, 3, 4):
            model(frames[:, first:])
    whole, four, three = (summary[:, :width] for summary in summaries)
    torch.testing.assert_close(whole, four)
    assert not torch.allclose(whole, three, atol=1e-3)


def test_a_still_is_a_video_in_which_nothing_moves():
    """One picture, and the first of many copies of it, look alike from every window."""
    picture = clips(2, 1)
    for window in (1, 2, 4):
        model = tiny(patch_frames=1, window_frames=window)
        copies = picture.expand(-1, 3, -1, -1, -1)
        with torch.inference_mode():
            torch.testing.assert_close(model(picture), model(copies, torch.tensor([1, 1])))
            assert torch.isfinite(model(picture).logits).all()


def test_positions_stretch_over_more_time_slots():
    """Weights learned with one slot of positions open in a window with four."""
    narrow = tiny(patch_frames=1, window_frames=1)
    wide = tiny(patch_frames=1, window_frames=4, position_frames=1)
    wide.load_state_dict(narrow.state_dict())
    assert torch.isfinite(wide(clips(1, 5)).logits).all()
    # Between two slots positions run linearly, and beyond them they stay.
    two = tiny(patch_frames=1, window_frames=4, position_frames=2)
    learned = cast(RViTImageBackbone, two.backbone).positions
    seen: list[Tensor] = []
    block = cast(RViTImageBackbone, two.backbone).encoder.blocks[0]
    block.norm_h.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    two(clips(1, 1))
    slots = seen[0].mT.unflatten(2, (4, 3, 3))
    for slot, share in enumerate((0.0, 0.25, 0.75, 1.0)):
        torch.testing.assert_close(
            slots[:, :, slot], torch.lerp(learned[:, :, 0], learned[:, :, 1], share)
        )


def test_recurrent_dropout_has_one_mask_for_all_frames_of_a_clip():
    model = tiny(recurrent_dropout=0.5).train()
    backbone = cast(RViTImageBackbone, model.backbone)
    for block in backbone.encoder.blocks:  # so that what is read is 1 wherever it is not dropped
        nn.init.zeros_(block.norm_h.weight)
        nn.init.ones_(block.norm_h.bias)
    masks: dict[int, list[Tensor]] = {0: [], 1: []}
    for layer, block in enumerate(backbone.encoder.blocks):
        block.gate.register_forward_pre_hook(
            lambda _, given, layer=layer: masks[layer].append(given[1].clone())
        )
    model(clips(3, 4))
    for layer in (0, 1):
        assert len(masks[layer]) == 4
        for later in masks[layer]:
            assert torch.equal(later, masks[layer][0])
        first = masks[layer][0]
        assert set(first.unique().tolist()) == {0.0, 2.0}
        assert torch.equal(first, first[:, :1].expand_as(first)), "the same for every token"
        assert not torch.equal(first[0], first[1]), "another one for every clip"
    assert not torch.equal(masks[0][0], masks[1][0]), "another one for every layer"
    seen = list(masks[0])
    model(clips(3, 4))
    assert not torch.equal(masks[0][-1], seen[0]), "drawn anew for every batch"


def test_no_recurrent_dropout_in_evaluation():
    model, frames = tiny(recurrent_dropout=0.5), clips(2, 3)
    with torch.inference_mode():
        once = model(frames)
        torch.testing.assert_close(model(frames), once, rtol=0, atol=0)
        model.recurrent_dropout = 0.0
        torch.testing.assert_close(model(frames), once, rtol=0, atol=0)


def test_windows_hold_whole_patches():
    with pytest.raises(UserError, match="another multiple"):
        tiny(patch_frames=2, window_frames=3)
    with pytest.raises(UserError, match="recurrent_dropout"):
        tiny(recurrent_dropout=1.0)
