"""Frames one by one: the very frames that are found at their times, and no end hidden."""

import struct
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from understudy.data.decode import DecodeError, read_frames, read_timeline, stream_frames
from understudy.data.sampling import sample_times

CONTAINERS = [
    ("clip.mp4", {}),
    ("clip.mkv", {}),
    ("clip.ts", {}),
    ("clip.webm", {"codec": "libvpx"}),
    ("clip.avi", {"codec": "mpeg4"}),
]


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "options"), CONTAINERS)
@pytest.mark.parametrize("step_s", [None, 0.1, 0.17, 0.01])
def test_they_are_the_frames_read_at_their_times(film, name, options, step_s):
    path = film(name, 30, picture=noise, **options)
    times, streamed = zip(*stream_frames(path, step_s), strict=True)
    start_s = read_timeline(path).start_s
    expected = read_frames(path, [start_s + time_s for time_s in times])
    assert torch.equal(torch.stack(streamed), expected)
    steps = {None: 30, 0.1: 12, 0.17: 7, 0.01: 30}
    assert len(times) == steps[step_s], "and none twice, however short the step"


@pytest.mark.parametrize("frames", [1, 2, 5, 8, 16, 30, 60])
def test_over_one_clip_they_are_those_of_uniform_sampling(film, numbers, frames):
    path = film("clip.mp4", 30)
    timeline = read_timeline(path)
    wanted = numbers(read_frames(path, sample_times("uniform", frames, timeline)))
    step_s = (timeline.end_s - timeline.start_s) / frames
    assert numbers([pixels for _, pixels in stream_frames(path, step_s)]) == wanted


def test_every_step_of_a_long_video_has_its_frame(film):
    path = film("clip.mp4", 300)
    times = [time_s for time_s, _ in stream_frames(path, 0.21)]
    assert len(times) == round(12 / 0.21)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(abs(gap - 0.21) for gap in gaps) < 0.041, "a frame's length off, and no drift"
    assert times[-1] == pytest.approx((len(times) - 0.5) * 0.21, abs=0.041)


def test_a_frame_that_stays_for_several_steps_is_given_once(film, numbers):
    path = film("clip.mp4", 6, ticks=[0, 1, 10, 11, 12, 24])  # of 1/25 s
    found = list(stream_frames(path, 0.2))
    assert numbers([pixels for _, pixels in found]) == [1, 4]
    assert [time_s for time_s, _ in found] == pytest.approx([0.04, 0.48])


def test_rotation_is_obeyed(film):
    path = film("clip.mp4", 3, picture=noise)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of header
    struct.pack_into(">9i", content, place, 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    streamed = torch.stack([pixels for _, pixels in stream_frames(path, None)])
    assert streamed.shape[-2:] == (64, 48)
    assert torch.equal(streamed, read_frames(path, [0.0, 0.04, 0.08]))


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi", "clip.mp4"])
def test_a_file_that_breaks_off_is_told_after_what_is_there(film, name):
    codec = {"codec": "mpeg4"} if name.endswith("avi") else {}
    # With its index in front, as for the web, an MP4 can lose its end and still be opened.
    options = {"movflags": "faststart"} if name.endswith("mp4") else None
    path = film(name, 300, picture=noise, options=options, **codec)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    seen = []
    with pytest.raises(DecodeError, match=r"breaks off after [4-7]\.\d s; its header|damaged"):
        seen.extend(time_s for time_s, _ in stream_frames(path, 0.5))
    assert 4 < seen[-1] < 8


def test_a_damaged_stretch_ends_the_stream_where_it_lies(film):
    path = film("clip.mp4", 60, picture=noise, gop=60)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = b"\xff" * 20_000
    path.write_bytes(content)
    seen = []
    with pytest.raises(DecodeError, match="damaged"):
        seen.extend(time_s for time_s, _ in stream_frames(path, None))
    assert 0.1 < seen[-1] < 1.3


def test_only_a_video_is_a_stream(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.mp4").write_bytes(b"no video" * 99)
    for path, reason in [
        (tmp_path, "a folder, not a video"),
        (tmp_path / "a.png", "a picture, not a video"),
        (tmp_path / "b.mp4", "no readable video"),
        (tmp_path / "c.mp4", "cannot be opened"),
    ]:
        with pytest.raises(DecodeError, match=reason):
            next(stream_frames(path, None))
