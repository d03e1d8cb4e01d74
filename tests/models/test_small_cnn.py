import torch

from understudy.models import create_model
from understudy.models.small_cnn import WIDTHS, SmallCNN
from understudy.types import parameter_count


def test_parameters_are_those_of_four_convolutions():
    for widths in WIDTHS.values():
        channels = (3, *widths)
        convolutions = sum(9 * a * b for a, b in zip(channels, widths, strict=False))
        assert parameter_count(SmallCNN(widths)) == convolutions + 2 * sum(widths)


def test_grid_keeps_places_that_a_global_average_would_lose():
    torch.manual_seed(0)
    backbone = SmallCNN(WIDTHS["small-cnn"]).eval()
    left = torch.zeros(1, 3, 64, 64)
    left[..., 24:40, 8:16] = 1
    right = left.roll(32, dims=-1)  # 32 px are two cells of the grid, away from the border
    with torch.inference_mode():
        maps = [backbone(picture).view(96, 4, 4) for picture in (left, right)]
    assert not torch.allclose(maps[0], maps[1], atol=1e-3)
    inner = [m[:, 1:3] for m in maps]
    assert torch.allclose(inner[0][:, :, 0:2].mean(), inner[1][:, :, 2:4].mean(), rtol=0.2)


def test_any_frames_model_takes_it_as_a_backbone():
    model = create_model("frames-attention", 4, backbone="small-cnn", embedding_dim=64).eval()
    clip = torch.randint(0, 256, (2, 3, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        features = model.forward_features(clip)  # pyright: ignore
    assert features.shape == (2, 3, 16 * 96)
