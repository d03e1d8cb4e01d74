"""Models to time against, by name: what they compute, and what is said of unknown names."""

import pytest
import torch
from torch import nn

from understudy.errors import UserError
from understudy.ship.bench.peers import create_peer, is_peer, split_peer
from understudy.ship.bench.subjects import natural_clips

SMALL = [("timm:test_efficientnet", 48), ("torchvision:squeezenet1_1", 48), ("timm:test_vit", 64)]


def test_a_name_is_split_from_its_format():
    assert split_peer("clip:ViT-B-32@onnx") == ("clip:ViT-B-32", "onnx")
    assert split_peer("timm:test_vit") == ("timm:test_vit", None)
    assert is_peer("clip:ViT-B-32@onnx")
    assert not is_peer("runs/clip")
    with pytest.raises(UserError, match=r"no export format onx\. Did you mean onnx"):
        split_peer("clip:ViT-B-32@onx")


@pytest.mark.parametrize(("spec", "size"), SMALL)
def test_a_picture_model_is_averaged_over_the_true_frames(spec, size):
    peer = create_peer(f"{spec}@onnx", frames=3, size=size)
    assert (peer.input_size, peer.training) == (size, False)
    clips = natural_clips(2, 3, size)
    with torch.inference_mode():
        output = peer(clips, torch.tensor([3, 2]))
        pictures = peer.backbone(peer.get_submodule("normalize")(clips.flatten(0, 1)))
        whole = peer(clips)
    each = pictures.unflatten(0, (2, 3))
    assert each.shape[2] == 1000
    torch.testing.assert_close(output.logits[0], each[0].mean(0))
    torch.testing.assert_close(output.logits[1], each[1, :2].mean(0))
    assert torch.equal(output.logits, output.embedding)
    torch.testing.assert_close(whole.logits, each.mean(1))


def test_the_same_name_has_the_same_random_weights_and_leaves_the_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (create_peer("timm:test_efficientnet", frames=2, size=32) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_batch_statistics_are_those_of_pictures():
    peer = create_peer("model:frames-average", frames=2, size=32)
    norms = [module for module in peer.modules() if isinstance(module, nn.BatchNorm2d)]
    given: list[torch.Tensor] = []
    norms[0].register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    with torch.inference_mode():
        peer(natural_clips(4, 2, 32))  # 8 pictures, the very ones that it was calibrated on
    mean, variance = given[0].mean((0, 2, 3)), given[0].var((0, 2, 3))
    assert norms[0].momentum != 1.0
    assert variance.max() > 0
    torch.testing.assert_close(norms[0].running_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norms[0].running_var, variance, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("torchvison:resnet18", "Did you mean torchvision"),
        ("resnet18", "no model to time"),
        ("timm:mobilevit_xxss", "Did you mean mobilevit_xxs"),
        ("timm:hf-hub:someone/network", "never weights"),
        ("torchvision:resnet19", "Did you mean resnet18"),
        ("clip:ViT-B32", "Did you mean ViT-B-32"),
        ("model:mobilevit-xs", "Did you mean mobilevit-xxs"),
        ("model:c3d", "clips of 16 frames; given: 2"),
        ("timm:test_vit", "cannot be built for 2 frames of 7 pixels"),
    ],
)
def test_a_name_that_is_not_known_is_told_with_the_nearest(spec, message):
    size = 7 if spec == "timm:test_vit" else 32
    with pytest.raises(UserError, match=message):
        create_peer(spec, frames=2, size=size)
