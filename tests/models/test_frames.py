import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from understudy.errors import UserError
from understudy.models import create_model
from understudy.models.layers import sinusoidal_positions
from understudy.models.small_cnn import WIDTHS, SmallCNN
from understudy.types import parameter_count

TINY = {"backbone": "test_efficientnet", "embedding_dim": 32, "hidden_dim": 16, "heads": 2}


def clip(batch: int = 2, frames: int = 5, size: int = 64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(
        0, 256, (batch, frames, 3, size, size), dtype=torch.uint8, generator=generator
    )


def tiny(name: str = "frames-attention", **options) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model(name, 4, **{**TINY, **options}).eval()


def test_exact_parameter_counts():
    assert parameter_count(create_model("mobilevit-xxs", 15)) == 2_303_743
    assert parameter_count(timm.create_model("mobilevit_xxs", num_classes=0)) == 951_024
    # The average needs no query, no attention and no norm.
    attention = 512 + 4 * (512 * 512 + 512) + 2 * 512
    average = create_model("mobilevit-xxs", 15, temporal="average")
    assert parameter_count(average) == 2_303_743 - attention
    without_positions = create_model("mobilevit-xxs", 15, positions=False, window=8)
    assert parameter_count(without_positions) == 2_303_743
    # Three blocks of two convolutions: weights, and per channel a magnitude and a bias.
    tcn = create_model("mobilevit-xxs", 15, temporal="tcn")
    assert parameter_count(tcn) == 2_303_743 - attention + 6 * (3 * 512 * 512 + 2 * 512)
    gru = create_model("mobilevit-xxs", 15, temporal="gru")
    assert parameter_count(gru) == 2_303_743 - attention + 3 * (2 * 512 * 512 + 2 * 512)


def test_names_of_weights_stay_so_that_old_checkpoints_load():
    own = [key for key in tiny().state_dict() if not key.startswith("backbone.")]
    attention = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
    assert own == [
        *("normalize.mean", "normalize.std"),
        *(f"projection.{layer}.{kind}" for layer in (0, 1) for kind in ("weight", "bias")),
        "temporal.query",
        *(f"temporal.attention.{part}" for part in attention),
        *("temporal.norm.weight", "temporal.norm.bias"),
        *(f"head.{layer}.{kind}" for layer in (0, 3) for kind in ("weight", "bias")),
    ]


def test_padding_does_not_shift_batch_statistics_while_training():
    frames, lengths = clip(2, 4), torch.tensor([4, 1])
    statistics = []
    for filling in (0, 255):
        model = tiny().train()
        frames[1, 1:] = filling
        model(frames, lengths)
        statistics.append({k: v for k, v in model.state_dict().items() if "running" in k})
    assert statistics[0]
    for name, value in statistics[0].items():
        assert torch.equal(value, statistics[1][name]), name


def test_positions_and_only_positions_tell_a_clip_from_its_reverse():
    frames = clip(2, 8)
    with torch.inference_mode():
        for name, options, tells in (
            ("frames-attention", {}, True),
            ("frames-attention", {"positions": False}, False),
            ("frames-average", {}, False),
            ("frames-tcn", {}, True),
            ("frames-gru", {}, True),
        ):
            model = tiny(name, **options)
            same = torch.allclose(model(frames).logits, model(frames.flip(1)).logits, atol=1e-5)
            assert same != tells, (name, options)


def test_attention_pool_equals_full_self_attention_read_at_the_query():
    # Only the query's row is computed; a full encoder pass must give the same row.
    model = tiny()
    pool = model.temporal
    tokens = torch.randn(2, 5, 32)
    mask = torch.ones(2, 5, dtype=torch.bool)
    placed = tokens + sinusoidal_positions(5, 32)
    seen = torch.cat([pool.query.expand(2, -1, -1), placed], dim=1)
    with torch.inference_mode():
        full = pool.norm(pool.attention(seen, seen, seen)[0][:, 0])
        assert torch.allclose(pool(tokens, mask), full, atol=1e-5)


def test_positions_are_those_of_the_formula():
    table = sinusoidal_positions(7, 8)
    assert table[3, 1].item() == pytest.approx(torch.tensor(3 / 10_000**0.25).sin().item())
    assert table[3, 5].item() == pytest.approx(torch.tensor(3 / 10_000**0.25).cos().item())
    assert torch.equal(sinusoidal_positions(3, 8, first=4), table[4:])


def test_model_normalises_pixels_itself_with_the_statistics_it_is_given():
    model = tiny(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert model.normalize(pixels)[:, 0, 0, 0].tolist() == [-1.0, 1.0]
    config = timm.create_model("test_efficientnet", num_classes=0).pretrained_cfg
    assert tiny().normalize.mean.flatten().tolist() == pytest.approx(list(config["mean"]))
    assert "normalize.mean" in model.state_dict()


def backbone_file(path, **changes) -> str:
    torch.manual_seed(3)
    state = timm.create_model("test_efficientnet", num_classes=10).state_dict() | changes
    tensors = {key: value.contiguous() for key, value in state.items()}
    save_file(tensors, path, {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"})
    return str(path)


def test_local_weights_are_loaded_exactly_and_the_old_classifier_is_left(tmp_path):
    file = backbone_file(tmp_path / "weights.safetensors")
    torch.manual_seed(3)
    expected = timm.create_model("test_efficientnet", num_classes=10).state_dict()
    loaded = tiny(weights=file).backbone.state_dict()
    assert loaded
    for name, tensor in loaded.items():
        assert torch.equal(tensor, expected[name]), name


def test_pixel_statistics_are_read_from_the_file_or_beside_it_or_asked_for(tmp_path):
    def statistics(model) -> tuple[list[float], list[float]]:
        of = model.normalize
        return of.mean.flatten().tolist(), of.std.flatten().tolist()

    def config(architecture: str) -> None:
        content = {
            "architecture": architecture,
            "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3},
        }
        (tmp_path / "config.json").write_text(json.dumps(content))

    torch.manual_seed(3)
    tensors = timm.create_model("test_efficientnet", num_classes=0).state_dict()
    path = tmp_path / "bare.safetensors"
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(UserError, match=r"does not tell the mean and std.*model\.options\.mean=\["):
        tiny(weights=str(path))
    with pytest.raises(UserError, match="does not tell the mean and std"):
        tiny(weights=str(path), mean=[0.5] * 3)  # half an answer
    config("mobilevit_xxs")
    with pytest.raises(UserError, match="does not tell the mean and std"):
        tiny(weights=str(path))  # of another network
    config("test_efficientnet")
    assert statistics(tiny(weights=str(path))) == ([0.5] * 3, [0.25] * 3)
    given = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    assert statistics(tiny(weights=str(path), **given)) == ([0.0] * 3, [1.0] * 3)
    inside = {"pretrained_cfg": json.dumps({"mean": [0.0, 0.0, 0.0], "std": [0.5, 0.5, 0.5]})}
    save_file(tensors, path, inside)
    assert statistics(tiny(weights=str(path))) == ([0.0] * 3, [0.5] * 3)
    save_file(tensors, path, {"mean": "[0.5]", "std": "[0.5]"})
    with pytest.raises(UserError, match=r"bare\.safetensors: mean is \[0\.5\]; it must be three"):
        tiny(weights=str(path))


@pytest.mark.parametrize("options", [{"mean": (123.7, 116.3, 103.5)}, {"std": (0.2, 0.2, 0.0)}])
def test_pixel_statistics_are_of_pixels_from_0_to_1(options):
    with pytest.raises(UserError, match="Divide those of 0 to 255 by 255"):
        tiny(**options)


def test_half_precision_file_is_read_into_single(tmp_path):
    torch.manual_seed(3)
    state = timm.create_model("test_efficientnet", num_classes=0).half().state_dict()
    save_file(state, tmp_path / "half.safetensors")
    pixels = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    model = tiny(weights=str(tmp_path / "half.safetensors"), **pixels)
    assert model.backbone.conv_stem.weight.dtype == torch.float32
    assert torch.equal(model.backbone.conv_stem.weight, state["conv_stem.weight"].float())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"backbone": "mobilevit_xxxs"},
            r"no backbone mobilevit_xxxs\. Did you mean mobilevit_xxs\? timm has:",
        ),
        ({"weights": "gone.safetensors"}, "no weight file gone.safetensors"),
        ({"freeze_backbone": True}, "would never learn anything"),
        ({"embedding_dim": 33}, "multiple of 2 x heads"),
        ({"positionz": False}, "Did you mean positions?"),
    ],
)
def test_mistakes_in_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        tiny(**options)


def test_weights_of_another_network_are_refused(tmp_path):
    renamed = backbone_file(tmp_path / "a.safetensors", **{"stem.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=r"stem\.weight is not part of test_efficientnet"):
        tiny(weights=renamed)
    resized = backbone_file(tmp_path / "b.safetensors", **{"conv_stem.weight": torch.zeros(1, 3)})
    with pytest.raises(UserError, match=r"conv_stem\.weight is \(1, 3\) in the file"):
        tiny(weights=resized)
    (tmp_path / "c.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        tiny(weights=str(tmp_path / "c.safetensors"))


def test_hub_without_a_network_says_which_file_to_fetch(monkeypatch):
    real = timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise OSError("no route to host")
        return real(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        UserError, match=r"model\.safetensors of timm/.*model\.options\.weights=PATH"
    ):
        create_model("mobilevit-xxs", 3, weights="hub")


@pytest.mark.parametrize("head", ["average", "attention", "tcn", "gru"])
def test_frozen_backbone_learns_nothing_and_stays_in_eval_mode(head, tmp_path):
    # small-cnn has both: batch statistics that could move, and dropout that could strike.
    torch.manual_seed(3)
    file = tmp_path / "backbone.safetensors"
    pixels = {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"}
    save_file(SmallCNN(WIDTHS["small-cnn"]).state_dict(), file, pixels)
    options = {"backbone": "small-cnn", "weights": str(file), "freeze_backbone": True}
    model = tiny("frames-attention", temporal=head, **options)
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    assert any("running_mean" in name for name in before)
    model.train()
    assert not any(module.training for module in model.backbone.modules())
    assert model.head.training
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    frames = clip()
    features = model.forward_features(frames)
    assert not features.requires_grad
    assert torch.equal(features, model.forward_features(frames))
    loss = model(frames).logits.square().sum()
    output, _ = model.step(frames[:, 0], model.init_state(2))
    (loss + output.logits.square().sum()).backward()
    optimizer.step()
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert all(p.grad is not None for p in model.temporal.parameters())


def test_unknown_model_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean mobilevit-xxs"):
        create_model("mobilevit_xxs", 3)
    with pytest.raises(UserError, match="at least one class"):
        create_model("mobilevit-xxs", 0)


@pytest.mark.real
def test_real_imagenet_weights_know_what_they_see(real_data):
    """The local weights load strictly, and their own pixel statistics matter."""
    file = real_data / "backbones" / "mobilenetv2_100_imagenet_fp16.safetensors"
    options = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "freeze_backbone": True}
    model = create_model(
        "frames-attention", 8, backbone="mobilenetv2_100", weights=str(file), **options
    ).eval()
    reference = timm.create_model("mobilenetv2_100", num_classes=1000)
    from safetensors.torch import load_file

    reference.load_state_dict({k: v.float() for k, v in load_file(file).items()})
    reference.eval()
    pixels = clip(1, 2, 96)
    with torch.inference_mode():
        features = model.forward_features(pixels)
        scaled = (pixels[0].float() / 255 - 0.5) / 0.5
        expected = reference.forward_head(reference.forward_features(scaled), pre_logits=True)
        assert torch.allclose(features[0], expected, atol=1e-3)


@pytest.mark.parametrize("options", [{"dropout": 2}, {"mean": 5}, {"hidden_dim": -1}])
def test_a_value_that_cannot_be_built_with_is_named(options):
    [(option, value)] = options.items()
    with pytest.raises(
        UserError, match=f"frames-attention cannot be built with .*{option}={value}"
    ):
        create_model("frames-attention", 3, backbone="test_efficientnet", **options)


def test_a_window_changes_nothing_up_to_its_length():
    """Neither the weights that a seed draws nor the answer to a clip that fits into it."""
    narrow, wide = tiny(window=5), tiny(window=64)
    assert all(
        torch.equal(a, b) for a, b in zip(narrow.parameters(), wide.parameters(), strict=True)
    )
    frames = clip(frames=5)
    assert torch.equal(narrow(frames).logits, wide(frames).logits)
    longer = clip(frames=7)
    assert not torch.equal(narrow(longer).logits, wide(longer).logits)
    assert torch.equal(narrow(longer).logits, narrow(longer[:, 2:]).logits)
