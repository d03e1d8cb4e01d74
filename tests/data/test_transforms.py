"""One draw for a clip, replayable, and nothing else disturbed."""

import math
import statistics

import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from understudy.data.manifest import Manifest
from understudy.data.reader import FileReader, sampling_of
from understudy.data.transforms import Draw, apply, draw, generator_of, prepare, window
from understudy.recipe import Augment, Data
from understudy.record import Record

EVERYTHING = Augment(
    crop_scale=0.4,
    flip=0.5,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    rotation_degrees=20,
    erase=0.5,
)
KINDS = {
    "crop": Augment(crop_scale=0.3),
    "flip": Augment(flip=0.5),
    "colour": Augment(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2),
    "rotation": Augment(rotation_degrees=45),
    "erase": Augment(erase=0.5),
    "everything": EVERYTHING,
}


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8, generator=seeded(1))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(frames, config, view=0, clip="a", seed=0, size=32):
    [pixels] = apply([frames], [draw(config, seed=seed, clip=clip, view=view)], size)
    return pixels


@pytest.mark.parametrize("kind", KINDS)
def test_all_frames_of_a_clip_share_one_draw(picture, kind):
    still = picture.expand(5, -1, -1, -1).contiguous()
    for view in range(10):
        pixels = drawn(still, KINDS[kind], view)
        assert pixels.shape == (5, 3, 32, 32)
        assert pixels.dtype == torch.uint8
        assert all(torch.equal(pixels[0], frame) for frame in pixels)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_differ_between_views_clips_and_seeds(picture, kind):
    frames, config = picture[None], KINDS[kind]
    by_view = {drawn(frames, config, view=n).numpy().tobytes() for n in range(12)}
    by_clip = {drawn(frames, config, clip=str(n)).numpy().tobytes() for n in range(12)}
    by_seed = {drawn(frames, config, seed=n).numpy().tobytes() for n in range(12)}
    # A coin has two sides only; everything else never repeats.
    expected = 2 if kind == "flip" else 3 if kind == "erase" else 12
    assert min(len(by_view), len(by_clip), len(by_seed)) >= expected


def test_a_draw_does_not_depend_on_what_was_drawn_before(picture):
    frames = picture[None]
    forward = [drawn(frames, EVERYTHING, view) for view in range(6)]
    torch.manual_seed(123)
    backward = [drawn(frames, EVERYTHING, view) for view in reversed(range(6))]
    for first, second in zip(forward, reversed(backward), strict=True):
        assert torch.equal(first, second)


def test_the_global_random_state_is_left_alone(picture):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    drawn(picture[None], EVERYTHING)
    assert torch.equal(torch.get_rng_state(), before)


def test_drawing_nothing_is_preparing(picture):
    assert torch.equal(drawn(picture[None], Augment()), prepare(picture[None], 32))


def test_preparing_is_one_antialiased_resize_and_a_centre_crop(picture):
    resized = F.resize(picture[None], [32], antialias=True)
    assert resized.shape[-2:] == (32, 42)
    assert torch.equal(prepare(picture[None], 32), resized[..., 5:37])


def test_a_picture_of_the_right_size_is_not_touched(picture):
    right = picture[None, :, :48, :48]
    assert torch.equal(prepare(right, 48), right)


def test_flip_is_a_mirror_in_about_its_share_of_views(picture):
    plain = prepare(picture[None], 32)
    views = [drawn(picture[None], Augment(flip=0.3), view) for view in range(300)]
    mirrored = sum(torch.equal(frames, plain.flip(-1)) for frames in views)
    assert mirrored + sum(torch.equal(frames, plain) for frames in views) == 300
    assert 60 <= mirrored <= 120  # 90 expected, standard deviation 8


def test_seeds_are_the_same_on_every_machine():
    """Pinned: a changed hash would silently change every view of every stored teacher."""
    assert generator_of("augment", 0, "clip", 0).initial_seed() == PINNED
    seeds = {
        generator_of("augment", 0, str(c), v).initial_seed() for c in range(100) for v in range(100)
    }
    assert len(seeds) == 10_000


@pytest.mark.parametrize(
    "size", [(1080, 1920), (480, 640), (500, 500), (1920, 1080)], ids=["16:9", "4:3", "1:1", "9:16"]
)
@pytest.mark.parametrize("scale", [0.9, 0.8, 0.7, 0.3])
def test_a_window_is_one_at_every_aspect(size, scale):
    """As many windows as views, each in the square that evaluation sees, undistorted where it fits,
    and of the area that was drawn."""
    config = Augment(crop_scale=scale)
    numbers = [draw(config, seed=0, clip="a", view=view) for view in range(20)]
    windows = [window(one, *size) for one in numbers]
    assert len(set(windows)) == 20
    for one, (top, left, along, across) in zip(numbers, windows, strict=True):
        square = min(size)
        above, beside = (size[0] - square) // 2, (size[1] - square) // 2
        assert above <= top <= top + along <= above + square, "in what evaluation sees"
        assert beside <= left <= left + across <= beside + square
        assert along * across <= 1.01 * one.area * square**2
        if along < square and across < square:
            assert across / along == pytest.approx(one.ratio, rel=0.01)
            assert along * across == pytest.approx(one.area * square**2, rel=0.01)
    tops = {top for top, *_ in windows}
    lefts = {left for _, left, *_ in windows}
    assert len(tops) > 1
    assert len(lefts) > 1


def test_a_batch_is_what_its_clips_are_alone(picture):
    clips = [picture[None].expand(3, -1, -1, -1), picture[None, :, :50, :50], picture[None]]
    draws = [draw(EVERYTHING, seed=0, clip=str(n), view=1) for n in range(3)]
    together = apply(clips, draws, 32)
    for clip, numbers, pixels in zip(clips, draws, together, strict=True):
        assert torch.equal(apply([clip], [numbers], 32)[0], pixels)


def test_the_same_draw_at_two_sizes_shows_the_same_part(picture):
    """A teacher at its own size sees what the student sees."""
    for view in range(8):
        small = drawn(picture[None], KINDS["everything"], view, size=16).float()
        large = drawn(picture[None], KINDS["everything"], view, size=48).float()
        shrunk = torch.nn.functional.avg_pool2d(large, 3)
        other = torch.nn.functional.avg_pool2d(
            drawn(picture[None], KINDS["everything"], view + 1, size=48).float(), 3
        )
        # Noise of single pixels is averaged in one and filtered in the other: not equal, but near.
        assert (small - shrunk).abs().mean() < 0.6 * (small - other).abs().mean()


def test_what_is_switched_off_changes_nothing():
    """Switching brightness on moves no window: each number has its own place among the draws."""
    crop = draw(Augment(crop_scale=0.5), seed=0, clip="a", view=3)
    both = draw(Augment(crop_scale=0.5, brightness=0.4), seed=0, clip="a", view=3)
    assert crop[:4] == both[:4]
    assert crop.brightness == 1 != both.brightness
    assert draw(Augment(), seed=0, clip="a", view=3) == Draw()


ASPECTS = {"16:9": (90, 160), "4:3": (96, 128), "1:1": (96, 96), "9:16": (160, 90)}


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("scale", [0.7, 0.8, 0.9])
def test_twenty_views_are_twenty_pictures_at_every_aspect(tmp_path, aspect, scale):
    """Counted as a model gets them, from a file through the reader."""
    texture = torch.randint(0, 256, (*ASPECTS[aspect], 3), dtype=torch.uint8, generator=seeded(2))
    Image.fromarray(texture.numpy()).save(tmp_path / "a.png")
    manifest = Manifest.from_records([Record("a.png", "x", "train", "a")], tmp_path)
    config = Data.model_validate(
        {"manifest": "-", "size": 48, "frames": 1, "augment": {"crop_scale": scale}}
    )
    reader, look = FileReader(manifest, config), sampling_of(config)
    views = [reader.read(0, view, [look])[0] for view in range(20)]
    assert len({view.numpy().tobytes() for view in views}) >= 19


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("scale", [0.7, 0.8, 0.9])
def test_training_sees_what_evaluation_sees_and_nothing_squeezed(aspect, scale):
    """A draw on a picture is that draw on the square that evaluation sees of it; width and height
    of the windows differ by a third at most, and either as often."""
    frames = torch.randint(0, 256, (1, 3, *ASPECTS[aspect]), dtype=torch.uint8, generator=seeded(2))
    square = F.center_crop(frames, [min(ASPECTS[aspect])] * 2)
    config, ratios = Augment(crop_scale=scale), []
    for view in range(200):
        numbers = draw(config, seed=0, clip="a", view=view)
        _, _, along, across = window(numbers, *ASPECTS[aspect])
        ratios.append(across / along)
        if view < 20:
            assert torch.equal(apply([frames], [numbers], 32)[0], apply([square], [numbers], 32)[0])
    assert 0.72 <= min(ratios) <= max(ratios) <= 1.39
    assert statistics.fmean(map(math.log, ratios)) == pytest.approx(0, abs=0.04)


PINNED = 3043821077961758382
