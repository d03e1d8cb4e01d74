from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import VisionTransformer
from torch import Tensor, nn

from understudy.errors import UserError
from understudy.models import create_model, vit_weights
from understudy.models.backbones import from_hub
from understudy.models.recurrent import RecurrentRecognizer
from understudy.models.rvit import resize_positions
from understudy.models.vit_weights import load_vit
from understudy.types import Inherited

STUDENT: dict[str, Any] = {
    "patch_size": 8,
    "layers": 2,
    "dim": 32,
    "heads": 4,
    "mlp_dim": 64,
    "attention": "softmax",
    "repeat_positions": False,
    "input_size": 32,
}


def picture_vit(**options: Any) -> VisionTransformer:
    """A small ViT of timm with weights as if trained: nothing 0, nothing near it."""
    torch.manual_seed(0)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
    vit = VisionTransformer(**size | {"mlp_ratio": 2, "num_classes": 5} | options).eval()
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.2)
    return vit


def written(vit: nn.Module, folder: Path) -> str:
    path = folder / "vit.safetensors"
    pixels = {"mean": "[0.485, 0.456, 0.406]", "std": "[0.229, 0.224, 0.225]"}
    save_file(vit.state_dict(), path, pixels)
    return str(path)


def student(name: str, **options: Any) -> RecurrentRecognizer:
    torch.manual_seed(1)
    return cast(RecurrentRecognizer, create_model(name, 3, **STUDENT | options).eval())


def silence(model: RecurrentRecognizer) -> None:
    """Let the gate read nothing of the hidden tokens."""
    for block in cast(Any, model.backbone).encoder.blocks:
        nn.init.zeros_(block.gate.qkv_h.weight)
        nn.init.zeros_(block.gate.qkv_h.bias)


def layers_of(model: RecurrentRecognizer, frame: Tensor) -> list[Tensor]:
    """What every block gives for the last of its frames: tokens (B, N, D)."""
    given: list[Tensor] = []
    blocks = cast(Any, model.backbone).encoder.blocks
    hooks = [block.register_forward_hook(lambda *a: given.append(a[2][0])) for block in blocks]
    with torch.inference_mode():
        model(frame)
    for hook in hooks:
        hook.remove()
    return given[-len(blocks) :]


def how(layers: list[Inherited]) -> dict[str, str]:
    return {layer.layer: layer.how for layer in layers if layer.how != "left behind"}


@pytest.mark.parametrize(
    ("name", "vit_options", "options"),
    [
        ("rvit", {}, {}),
        ("rvit", {"init_values": 0.5}, {}),
        ("rvit", {"qkv_bias": False}, {}),
        ("rvit-image", {"class_token": False, "global_pool": "avg"}, {}),
        ("rvit-image", {"class_token": False, "global_pool": "avg"}, {"patch_frames": 1,
                                                                       "window_frames": 1}),
        ("rvit-image", {"class_token": False, "global_pool": "avg"}, {"patch_frames": 3,
                                                                       "window_frames": 3}),
    ],
)  # fmt: skip
def test_a_frame_passes_the_layers_as_it_passes_the_vit(name, vit_options, options, tmp_path):
    """Block by block, while the gate reads nothing of h; in a clip of frames that differ too."""
    vit, model = picture_vit(**vit_options), student(name, **options)
    load_vit(model, written(vit, tmp_path))
    silence(model)
    frames = torch.randint(0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8)
    expected: list[Tensor] = []
    for block in vit.blocks:
        block.register_forward_hook(lambda *a: expected.append(a[2]))
    for clip in (frames[:, :1], frames):
        expected.clear()
        with torch.inference_mode():
            vit.forward_features(model.normalize(clip[:, -1]))
        assert len(expected) == 2
        for ours, theirs in zip(layers_of(model, clip), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["rvit", "rvit-image"])
def test_every_layer_of_the_student_and_every_part_of_the_source_is_listed(name, tmp_path):
    vit = picture_vit(depth=4)
    model = student(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    layers = load_vit(model, written(vit, tmp_path))
    kinds = how(layers)
    changed = {
        key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])
    }
    for key in dict(model.named_parameters()):
        layer = key if key in kinds else key.rpartition(".")[0]
        assert (kinds[layer] == "random") == (key not in changed), key
    noise = {layer for layer, kind in kinds.items() if kind == "random"}
    read_h = {f"backbone.encoder.blocks.{i}.{part}" for i in (0, 1)
              for part in ("norm_h", "gate.qkv_h")}  # fmt: skip
    sequence = {"backbone.sequence_tokens"} if name == "rvit" else set()
    assert noise == read_h | sequence | {"projection.0", "head.1"}
    left = {layer.layer for layer in layers if layer.how == "left behind"}
    tokens = {"cls_token"} if name == "rvit-image" else set()
    assert left == {"blocks.2", "blocks.3", "norm", "head"} | tokens


def test_layers_beyond_the_depth_of_the_vit_stay_noise(tmp_path):
    kinds = how(load_vit(student("rvit", layers=3), written(picture_vit(), tmp_path)))
    assert kinds["backbone.encoder.blocks.1.gate.qkv_x"] == "exact"
    assert kinds["backbone.encoder.blocks.2.gate.qkv_x"] == "random"


def test_positions_of_another_grid_are_resized_and_listed_so(tmp_path):
    vit, model = picture_vit(), student("rvit", input_size=48)
    layers = load_vit(model, written(vit, tmp_path))
    entry = next(layer for layer in layers if layer.layer == "backbone.positions")
    assert (entry.how, entry.note) == ("approximate", "4 x 4 resized to 6 x 6")
    places = vit.pos_embed[:, 1:].mT.unflatten(2, (4, 4))
    backbone = cast(Any, model.backbone)
    torch.testing.assert_close(backbone.positions, resize_positions(places, (6, 6)))
    torch.testing.assert_close(backbone.class_position, vit.pos_embed[:, :1])


def test_notes_say_what_is_read_otherwise(tmp_path):
    model = student("rvit", attention="linear", repeat_positions=True)
    notes = {one.layer: one.note for one in load_vit(model, written(picture_vit(), tmp_path))}
    assert notes["backbone.encoder.blocks.0.gate.qkv_x"] == (
        "trained for softmax attention, read by linear; split into 4 heads; the file does not tell "
        "how many it had"
    )
    assert notes["backbone.positions"] == "added before every layer, there before the first alone"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 48}, r"a student with dim 48\. Set model\.options\.dim=32,"),
        ({"patch_size": 16}, r"patch_size 16\. Set model\.options\.patch_size=8,"),
        (
            {"dim": 48, "mlp_dim": 96},
            r"dim 48, mlp_dim 96\. Set model\.options\.dim=32 model\.options\.mlp_dim=64,",
        ),
    ],
)
def test_a_vit_of_another_size_is_refused_with_what_would_fit(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        load_vit(student("rvit", **options), written(picture_vit(), tmp_path))


def test_other_sources_and_students_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"hub:NAME or the path"):
        load_vit(student("rvit"), str(tmp_path / "nothing.safetensors"))
    with pytest.raises(UserError, match="no VisionTransformer of timm"):
        load_vit(student("rvit"), written(nn.Linear(3, 3), tmp_path))
    with pytest.raises(UserError, match="fills rvit and rvit-image"):
        load_vit(create_model("cnn-plain", 3), "hub:vit_tiny_patch16_224")
    with pytest.raises(UserError, match=r"knows no network vit_tinny_patch16_224\. Did you mean"):
        load_vit(student("rvit"), "hub:vit_tinny_patch16_224")
    network = timm.create_model("test_efficientnet", num_classes=0)
    monkeypatch.setattr(vit_weights, "from_hub", lambda *_: network)
    with pytest.raises(UserError, match="only a VisionTransformer fits"):
        load_vit(student("rvit"), "hub:test_efficientnet")


def test_without_a_network_the_message_names_the_file_and_both_ways_out(monkeypatch):
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise OSError("no route to host")
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"model\.safetensors of timm/.*model\.start\.vit=PATH"):
        load_vit(student("rvit"), "hub:test_vit")
    with pytest.raises(UserError, match="weights=random"):
        from_hub("test_vit", "model.options.weights=PATH", "model.options.weights=random")


def test_a_file_that_does_not_tell_its_pixel_statistics_is_asked_for_them(tmp_path):
    save_file(picture_vit().state_dict(), tmp_path / "vit.safetensors")
    given = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    with pytest.raises(UserError, match=r"does not tell the mean and std.*model\.options\.mean"):
        load_vit(student("rvit"), str(tmp_path / "vit.safetensors"))
    model = student("rvit", **given)
    load_vit(model, str(tmp_path / "vit.safetensors"), pixels_given=True)
    assert model.normalize.mean.flatten().tolist() == [0.5] * 3
    stated = student("rvit", **given)
    load_vit(stated, written(picture_vit(), tmp_path), pixels_given=True)
    assert stated.normalize.mean.flatten().tolist() == [0.5] * 3, "what the recipe states stays"


def test_a_vit_of_the_hub_brings_heads_and_pixel_statistics(monkeypatch):
    vit = picture_vit(num_heads=2)
    vit.pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "std": (0.1, 0.2, 0.3)}
    monkeypatch.setattr(vit_weights, "from_hub", lambda *_: vit)
    model = student("rvit")
    notes = {one.layer: one.note for one in load_vit(model, "hub:test_vit")}
    assert "split into 4 heads, there into 2" in notes["backbone.encoder.blocks.0.gate.qkv_x"]
    assert "normalize" in notes
    torch.testing.assert_close(model.normalize.mean.flatten(), torch.tensor([0.5, 0.4, 0.3]))
    torch.testing.assert_close(model.normalize.std.flatten(), torch.tensor([0.1, 0.2, 0.3]))
