from typing import Any, cast

import pytest
import torch
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from understudy.errors import UserError
from understudy.models import create_model
from understudy.models.recurrent import RecurrentRecognizer
from understudy.models.rvit import AttentionGate, RecurrentBlock, resize_positions
from understudy.types import parameter_count

TINY: dict[str, Any] = {"input_size": 24, "dim": 16, "heads": 2, "mlp_dim": 24, "dropout": 0.0}
NAMES = ["rvit", "rvit-image"]


def tiny(name: str = "rvit", **options: Any) -> RecurrentRecognizer:
    torch.manual_seed(0)
    model = create_model(name, 4, **TINY | options).eval()
    # As if trained a little: tokens and positions of 0.02 would hardly show in an output.
    for parameter in model.parameters():
        if parameter.dim() > 2:
            nn.init.normal_(parameter, std=0.3)
    return cast(RecurrentRecognizer, model)


def clips(batch: int, frames: int, height: int = 24, width: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(batch * 100 + frames)
    shape = (batch, frames, 3, height, width or height)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("attention", ["linear", "softmax", "mixed"])
def test_dropout_lies_on_x_and_never_on_h(attention):
    """With all of it dropped, x stays what it was, and h gets what it would without dropout."""
    torch.manual_seed(0)
    dropping = RecurrentBlock(16, 2, 24, attention, dropout=1.0).train()
    keeping = RecurrentBlock(16, 2, 24, attention, dropout=0.0)
    keeping.load_state_dict(dropping.state_dict())
    x, h, positions = (torch.randn(2, 5, 16) for _ in range(3))
    after_x, after_h = dropping(x, h, positions, None)
    kept_x, kept_h = keeping(x, h, positions, None)
    torch.testing.assert_close(after_x, x)
    torch.testing.assert_close(after_h, kept_h)
    assert (kept_x - x).abs().max() > 0.1
    assert (kept_h - h).abs().max() > 0.1


def test_reference_size_has_exactly_the_parameters_of_its_parts():
    dim, patches, classes = 192, (112 // 8) ** 2, 27
    linear = lambda inner, outer: inner * outer + outer  # noqa: E731
    layer = 2 * linear(dim, 3 * dim) + linear(dim, dim) + 3 * 2 * dim
    layer += linear(dim, 768) + linear(768, dim)
    common = 2 * layer + 2 * 3 * dim + linear(3 * dim, classes)
    rvit = common + linear(3 * 8 * 8, dim) + (patches + 1) * dim + dim + 2 * dim
    assert parameter_count(create_model("rvit", classes)) == rvit == 1_205_019
    image = common + linear(3 * 2 * 8 * 8, dim) + patches * dim
    assert parameter_count(create_model("rvit-image", classes)) == image == 1_241_115


def test_the_equations_written_out():
    """One layer, one clip of two frames, from the equations in the docstring alone."""
    model = tiny(layers=1, attention="softmax")
    backbone = cast(Any, model.backbone)
    block, frames = backbone.encoder.blocks[0], clips(1, 2)
    p = torch.cat([backbone.class_position, backbone.positions.flatten(2).mT], dim=1)
    h = torch.cat([backbone.sequence_tokens, torch.zeros(1, 9, 16)], dim=1)
    for t in range(2):
        patches = backbone.patches(model.normalize(frames[:, t])).flatten(2).mT
        x = torch.cat([backbone.class_token, patches], dim=1) + p
        qkv = block.gate.qkv_x(block.norm_x(x)) + block.gate.qkv_h(block.norm_h(h + p))
        heads = qkv.view(1, 10, 3, 2, 8).permute(2, 0, 3, 1, 4)
        weights = (heads[0] @ heads[1].mT / 8**0.5).softmax(-1)
        a = block.gate.out((weights @ heads[2]).transpose(1, 2).reshape(1, 10, 16))
        x, h = x + a, h + a
        x = x + block.mlp(block.norm_mlp(x))
    output = model(frames)
    embedding = model.projection(torch.cat([x[:, 0], h[:, 0]], dim=1))
    torch.testing.assert_close(output.embedding, embedding)
    torch.testing.assert_close(output.logits, model.head(embedding))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("attention", ["linear", "softmax", "mixed"])
def test_stepping_is_forward_for_every_length(name, attention):
    model, frames = tiny(name, attention=attention), clips(3, 5)
    lengths = torch.tensor([5, 1, 3])
    state = model.init_state(3)
    with torch.inference_mode():
        padded = model(frames, lengths)
        for t in range(5):
            output, state = model.step(frames[:, t], state)
            torch.testing.assert_close(output, model(frames[:, : t + 1]), rtol=1e-5, atol=1e-5)
            for row in (lengths == t + 1).nonzero()[:, 0]:
                torch.testing.assert_close(padded.logits[row], output.logits[row])
                torch.testing.assert_close(padded.embedding[row], output.embedding[row])
    assert all(one.dim() <= 4 and len(one) == 3 for one in state)


@pytest.mark.parametrize("name", NAMES)
def test_order_of_frames_matters_and_so_does_the_past(name):
    model, frames = tiny(name), clips(2, 4)
    with torch.inference_mode():
        forth, back = model(frames).logits, model(frames.flip(1)).logits
        last = model(frames[:, -1:]).logits
    assert (forth - back).abs().max() > 1e-3
    assert (forth - last).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_any_picture_size_and_padding_to_whole_patches(name):
    """Zeros after normalising are the mean colour, so a padded picture equals one painted so."""
    model = tiny(name, mean=(0.0, 0.0, 0.0))
    frames = clips(1, 3, 21, 34)
    painted = torch.zeros(1, 3, 3, 24, 40, dtype=torch.uint8)
    painted[..., :21, :34] = frames
    with torch.inference_mode():
        output = model(frames)
        torch.testing.assert_close(output, model(painted))
        state = model.init_state(1, (21, 34))
        for t in range(3):
            stepped, state = model.step(frames[:, t], state)
        torch.testing.assert_close(output, stepped)
        with pytest.raises(UserError, match=r"Begin with init_state\(1, \(24, 24\)\)"):
            model.step(clips(1, 1)[:, 0], state)


def test_positions_of_their_own_grid_are_untouched_and_others_as_timm_resizes_them():
    positions = torch.randn(1, 6, 5, 5)
    assert resize_positions(positions, (5, 5)) is positions
    for grid in ((8, 8), (3, 3), (4, 7)):
        theirs = resample_abs_pos_embed(positions.flatten(2).mT, list(grid), num_prefix_tokens=0)
        ours = resize_positions(positions, grid).flatten(2).mT
        torch.testing.assert_close(ours, theirs)


def test_softmax_gate_is_timms_attention_while_h_is_silent():
    gate, oracle = AttentionGate(16, 2, "softmax"), Attention(16, num_heads=2, qkv_bias=True)
    nn.init.zeros_(gate.qkv_h.weight)
    nn.init.zeros_(gate.qkv_h.bias)
    oracle.qkv.load_state_dict(gate.qkv_x.state_dict())
    oracle.proj.load_state_dict(gate.out.state_dict())
    x, h = torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    torch.testing.assert_close(gate(x, h), oracle(x))


@pytest.mark.parametrize(("blend", "attention"), [(-50.0, "linear"), (50.0, "softmax")])
def test_mixed_attention_ends_in_both_kinds(blend, attention):
    mixed, pure = AttentionGate(16, 2, "mixed"), AttentionGate(16, 2, attention)
    pure.load_state_dict({k: v for k, v in mixed.state_dict().items() if k != "blend"})
    nn.init.constant_(mixed.blend, blend)
    x, h = torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    torch.testing.assert_close(mixed(x, h), pure(x, h))


def test_mixed_attention_starts_at_half():
    mixed, linear, softmax = (AttentionGate(16, 2, kind) for kind in ("mixed", "linear", "softmax"))
    for pure in (linear, softmax):
        pure.load_state_dict({k: v for k, v in mixed.state_dict().items() if k != "blend"})
    x, h = torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    torch.testing.assert_close(mixed(x, h), (linear(x, h) + softmax(x, h)) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_embedding_in_a_teachers_space(name):
    plain, projected = tiny(name), tiny(name, embedding_dim=10)
    frames = clips(2, 2)
    assert plain(frames).embedding.shape == (2, 3 * 16)
    assert projected(frames).embedding.shape == (2, 10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close(name, dtype):
    model, frames = tiny(name), clips(2, 4)
    with torch.inference_mode():
        exact = model(frames)
        half = model.to(dtype)(frames)
    assert half.logits.dtype == dtype
    assert (half.logits.float() - exact.logits).abs().max() < 0.1


def test_what_cannot_be_built_is_explained():
    for options, message in (
        ({"attention": "linea"}, "Did you mean linear"),
        ({"dim": 18, "heads": 4}, "multiple of heads"),
        ({"gradient_frames": 0}, "give 1 or more"),
    ):
        with pytest.raises(UserError, match=message):
            create_model("rvit", 3, **options)
