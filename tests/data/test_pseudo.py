"""A camera over a still: inside the picture, smooth, sub-pixel, and the same when drawn again."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from understudy.data.loader import EpochBatches, make_loader
from understudy.data.manifest import Manifest
from understudy.data.pseudo import camera_path, picture_side, pseudo_clip
from understudy.data.reader import draws_pixels
from understudy.data.transforms import generator_of, prepare
from understudy.recipe import Augment, Data, Pseudo
from understudy.teach.targets import draw_of, views_return
from understudy.types import Batch, Record

STILL = Pseudo(pan=0, zoom=1, rotation_degrees=0)
WILD = Pseudo(pan=1, zoom=2, rotation_degrees=45)
CORNERS = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [-1, 1, 1], [1, 1, 1]])


@pytest.fixture
def picture() -> Tensor:
    """A photograph's stand-in, (3, 48, 60) uint8, with detail in every direction."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (1, 3, 12, 15), generator=generator).float()
    return torch.nn.functional.interpolate(coarse, [48, 60], mode="bilinear")[0].to(torch.uint8)


def clip(picture: Tensor, config: Pseudo = WILD, size: int = 48, **changes: Any) -> Tensor:
    key: dict[str, Any] = {"frames": 8, "seed": 0, "clip": "a", "view": 0} | changes
    return pseudo_clip(picture, key.pop("frames"), size, config, **key)


def path(config: Pseudo, seed: int, frames: int = 12, size: tuple[int, int] = (48, 60)) -> Tensor:
    return camera_path(frames, *size, config, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(48, 60), (60, 48), (50, 50), (30, 300)])
@pytest.mark.parametrize(
    "config", [WILD, Pseudo(), Pseudo(pan=1, zoom=1, rotation_degrees=20), Pseudo(pan=1, zoom=4)]
)
def test_the_camera_never_leaves_the_picture(config, size):
    reached = torch.stack(
        [(path(config, seed, size=size) @ CORNERS.T).abs().amax() for seed in range(200)]
    )
    assert reached.max() <= 1 + 1e-6
    assert reached.max() > 0.9  # and the room that there is gets used


def test_the_whole_room_is_used_but_not_more_than_pan_allows():
    config = Pseudo(pan=0.5, zoom=2, rotation_degrees=0)
    windows = torch.cat([path(config, seed, size=(50, 50)) for seed in range(300)])
    half, centre = windows[:, 0, 0], windows[:, :, 2].abs().amax(1)
    share = centre / (1 - half)
    assert 0.45 < share.max() <= 0.5 + 1e-6


def test_windows_keep_their_shape_and_stay_within_zoom_and_rotation():
    config = Pseudo(pan=1, zoom=1.5, rotation_degrees=10)
    windows = torch.cat([path(config, seed) for seed in range(200)])
    pixels = windows[:, :, :2] * torch.tensor([[30.0], [24.0]])  # per frame coordinate
    across, down = pixels.unbind(2)
    assert torch.allclose((across * down).sum(1), torch.zeros(len(windows)), atol=1e-4)
    assert torch.allclose(across.norm(dim=1), down.norm(dim=1), atol=1e-4)
    degrees = torch.rad2deg(torch.atan2(across[:, 1], across[:, 0]))
    assert 8 < degrees.abs().max() <= 10 + 1e-4
    largest = 24 / across.norm(dim=1)  # how many times closer than the largest upright window
    spread = np.cos(np.deg2rad(10)) + np.sin(np.deg2rad(10))
    assert largest.min() >= 1 - 1e-5
    assert 1.4 < largest.max() <= 1.5 * spread + 1e-5


def test_the_path_is_smooth_and_starts_and_ends_at_rest():
    def steps(frames: int) -> Tensor:
        return torch.stack(
            [(path(WILD, s, frames) @ CORNERS.T).diff(dim=0).norm(dim=(1, 2)) for s in range(30)]
        )

    coarse, fine = steps(51), steps(201)
    assert fine.max() < 0.3 * coarse.max()  # four times the frames, a quarter of the step
    assert fine[:, [0, -1]].max() < 0.05 * fine.max()
    changes = torch.stack(
        [(path(WILD, s, 201) @ CORNERS.T).diff(n=2, dim=0).norm(dim=(1, 2)) for s in range(30)]
    )
    assert changes.max() < 0.1 * fine.max()


def test_a_camera_that_may_not_move_shows_the_prepared_picture(picture):
    frames = clip(picture, STILL)
    assert torch.equal(frames, prepare(picture[None], 48).expand(8, -1, -1, -1))


def test_a_camera_that_may_not_move_crops_a_wide_picture_like_evaluation(picture):
    small = clip(picture[:, :40], STILL, size=40)
    assert torch.equal(small[0], prepare(picture[None, :, :40], 40)[0])


def test_pixels_are_where_the_path_says_to_a_fraction_of_a_pixel():
    """On a ramp a pixel's value is its position, so the sampled values are the sampled places."""
    down, across = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    ramp = torch.stack([3 * across, 3 * down, torch.zeros(64, 64)]).to(torch.uint8)
    config = Pseudo(pan=0.5, zoom=2, rotation_degrees=20)
    generator = torch.Generator()
    for view in range(5):
        frames = clip(ramp, config, size=32, view=view).double()
        generator = generator_of("pseudo", 0, "a", view)
        windows = camera_path(8, 64, 64, config, generator).double()
        ticks = (torch.arange(32.0, dtype=torch.float64) + 0.5) / 16 - 1
        y, x = torch.meshgrid(ticks, ticks, indexing="ij")
        places = windows @ torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1)
        expected = 3 * ((places + 1) * 32 - 0.5).clamp(0, 63)  # (8, 2, 32 * 32)
        assert (frames[:, :2].flatten(2) - expected).abs().max() <= 0.51


def test_nothing_is_shown_from_outside():
    white = torch.full((3, 48, 60), 255, dtype=torch.uint8)
    assert all(bool((clip(white, view=view) == 255).all()) for view in range(20))


def test_the_same_key_gives_the_same_pixels_and_another_key_others(picture):
    first = clip(picture)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(clip(picture), first)
    assert torch.equal(torch.get_rng_state(), before)
    others = [clip(picture, seed=1), clip(picture, clip="b"), clip(picture, view=1)]
    assert not any(torch.equal(other, first) for other in others)
    assert all(not torch.equal(a, b) for a, b in pairwise(first))


def test_the_camera_does_not_depend_on_how_many_frames_are_taken():
    few, many = path(WILD, 3, frames=5), path(WILD, 3, frames=9)
    assert torch.allclose(few, many[::2], atol=1e-6)


@pytest.fixture
def mixed(tmp_path: Path, film, picture) -> Manifest:
    """A wide picture, a tall one and a video."""
    pixels = picture.permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 0, 2))).save(tmp_path / "tall.png")
    names = ["wide.png", "tall.png", film("film.mp4", 20, size=(48, 40)).name]
    records = [Record(name, "abc"[n], "train", name) for n, name in enumerate(names)]
    return Manifest.from_records(records, tmp_path)


def data(**changes) -> Data:
    return Data.model_validate({"manifest": "-", "size": 24, "frames": 5, "pseudo": {}} | changes)


def batch(manifest: Manifest, config: Data, *, epoch: int = 0, augment: bool = True) -> Batch:
    loader = make_loader(manifest, config, range(3), batch_size=3, augment=augment)
    assert isinstance(loader.batch_sampler, EpochBatches)
    loader.batch_sampler.set_epoch(epoch)
    (only,) = loader
    return only


def test_training_films_pictures_and_leaves_videos_alone(mixed):
    config = data(augment=Augment(brightness=0.3))
    given = batch(mixed, config)
    assert given.lengths.tolist() == [5, 5, 5]
    without = batch(mixed, config.model_copy(update={"pseudo": None}))
    assert without.lengths.tolist() == [1, 1, 5]
    assert torch.equal(given.frames[2], without.frames[2])
    assert not torch.equal(given.frames[0, 0], given.frames[0, -1])


def test_outside_training_a_picture_is_held_for_as_many_frames(mixed):
    given = batch(mixed, data(), augment=False)
    without = batch(mixed, data(pseudo=None), augment=False)
    assert given.view is None
    assert given.lengths.tolist() == [5, 5, 5]
    assert without.lengths.tolist() == [1, 1, 5]
    assert torch.equal(given.frames[:2], without.frames[:2, :1].expand(-1, 5, -1, -1, -1))
    assert torch.equal(given.frames[2], without.frames[2])


def test_light_and_colour_hold_for_a_whole_clip(mixed):
    light = Augment(brightness=0.5, hue=0.2, erase=1.0, crop_scale=0.5)
    frames = batch(mixed, data(pseudo=STILL, augment=light), epoch=2).frames[:2]
    assert torch.equal(frames, frames[:, :1].expand_as(frames))


def test_workers_and_kept_pictures_change_no_pixel(mixed):
    here = batch(mixed, data(), epoch=4)
    assert torch.equal(here.frames, batch(mixed, data(workers=2), epoch=4).frames)
    loader = make_loader(mixed, data(memory_mb=64), range(3), batch_size=3, augment=True)
    passes = []
    for epoch in (0, 4):
        loader.batch_sampler.set_epoch(epoch)  # pyright: ignore[reportAttributeAccessIssue]
        passes += loader
    assert torch.equal(passes[1].frames, here.frames)
    assert passes[0].view == 0
    assert not torch.equal(passes[0].frames[0], here.frames[0])


def test_pictures_are_read_large_enough_for_the_closest_window(mixed, picture):
    config = Pseudo(pan=0, zoom=2, rotation_degrees=0)
    assert picture_side(24, config) == 48
    assert picture_side(24, STILL) == 24
    assert picture_side(10, Pseudo(zoom=1, rotation_degrees=45)) == 15
    loader = make_loader(mixed, data(pseudo=config), [0], batch_size=1, augment=True)
    (only,) = loader
    expected = pseudo_clip(picture, 5, 24, config, seed=0, clip="wide.png", view=0)
    assert torch.equal(only.frames[0], expected)  # 48 pixels high, so nothing was resized before


def test_a_pseudo_clip_is_a_drawn_clip_for_caches(mixed):
    assert draws_pixels(data())
    assert not draws_pixels(data(pseudo=None))
    assert not views_return(data())
    assert views_return(data(augment=Augment(views=4)))
    draws = [draw_of(config) for config in (data(), data(pseudo=None), data(pseudo={"zoom": 2}))]
    assert draws[0] != draws[1] != draws[2] != draws[0]
    views = data(augment=Augment(views=2))
    epochs = [batch(mixed, views, epoch=epoch).frames for epoch in range(4)]
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])
