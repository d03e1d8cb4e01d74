"""Videos as cameras, recorders and careless joining leave them: read as one expects, or told."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from understudy.data.decode import DecodeError, probe, read_frames, read_timeline, stream_frames
from understudy.data.sampling import Timeline, sample_times
from understudy.data.video import read_video


def all_numbers(path: Path, numbers) -> list[int]:
    """Of all frames, at random; one by one they must be the same."""
    timeline = read_timeline(path)
    read = numbers(read_frames(path, sample_times("uniform", 999, timeline)))
    assert numbers([pixels for _, pixels in stream_frames(path, None)]) == read
    return read


def grained(number: int) -> np.ndarray:
    """A frame that needs bytes, and tells its number as the plain ones do."""
    grain = np.random.default_rng(number).integers(0, 6, (48, 64, 3), dtype=np.uint8)
    return grain + np.uint8(6 * number)


# Where a file begins, and where its clock begins anew


@pytest.mark.parametrize(
    ("name", "codec"),
    [("clip.ts", "libx264"), ("clip.ts", "mpeg2video"), ("clip.ts", "mpeg4"),
     ("clip.mpg", "mpeg2video")],
)  # fmt: skip
def test_a_recording_begins_with_its_first_whole_frame(film, numbers, name, codec):
    path = film(name, 40, codec=codec, b_frames=2, picture=grained)
    whole_start_s = probe(path).start_s
    content = path.read_bytes()
    packet = 188 if name == "clip.ts" else 2048
    cut = len(content) // 3 // packet * packet
    path.write_bytes((content[:376] if name == "clip.ts" else b"") + content[cut:])
    info, read = probe(path), all_numbers(path, numbers)
    assert read == list(range(read[0], 40))
    assert read[0] in {12, 24}
    if name == "clip.ts":  # a programme stream tells few times, and FFmpeg guesses the first ones
        assert info.start_s == pytest.approx(whole_start_s + read[0] / 25, abs=0.001)
    assert "begins in the middle of a group of pictures" in info.notes[0]


@pytest.mark.parametrize(
    ("name", "codec"), [("ts", "libx264"), ("ts", "mpeg2video"), ("mpg", "mpeg2video")]
)
def test_streams_joined_byte_by_byte_follow_each_other(film, numbers, name, codec):
    """The second of them whole, or begun in the middle of a group of pictures."""
    first = film(f"first.{name}", 20, codec=codec, b_frames=2).read_bytes()
    path = film(f"clip.{name}", 15, codec=codec, b_frames=2)
    path.write_bytes(first + path.read_bytes())
    assert all_numbers(path, numbers) == [*range(20), *range(15)]
    info = probe(path)
    assert info.duration_s == pytest.approx(35 / 25)
    assert "its clock begins anew 0.8 s after its start" in info.notes[0]


def test_the_second_of_them_may_begin_in_the_middle(film, numbers):
    before = film("first.ts", 20, b_frames=2).read_bytes()
    path = film("clip.ts", 40, b_frames=2, picture=grained)
    content = path.read_bytes()
    path.write_bytes(before + content[len(content) // 3 // 188 * 188 :])
    assert all_numbers(path, numbers) in ([*range(20), *range(first, 40)] for first in (12, 24))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("mp4", "libx264"), ("mov", "mpeg4"), ("avi", "mpeg4"), ("mkv", "libx264"),
     ("webm", "libvpx"), ("flv", "flv"), ("wmv", "wmv2")],
)  # fmt: skip
def test_other_files_joined_so_are_refused_by_everybody(film, name, codec):
    first = film(f"first.{name}", 20, codec=codec).read_bytes()
    path = film(f"clip.{name}", 15, codec=codec)
    path.write_bytes(first + path.read_bytes())
    reason = rf"a second one begins at byte {len(first):,}, after some .* s.*ffmpeg -f concat"
    for read in (probe, read_timeline, lambda path: next(stream_frames(path, None))):
        with pytest.raises(DecodeError, match=reason) as caught:
            read(path)
        assert not caught.value.damaged


def test_the_clock_of_a_transport_stream_may_wrap(film, numbers):
    wrap = int(2**33 / 90_000 * 25)
    path = film("clip.ts", 40, b_frames=2, ticks=range(wrap - 20, wrap + 20))
    assert all_numbers(path, numbers) == list(range(40))
    assert probe(path).notes == ()


@pytest.mark.parametrize(
    "flags", ["frag_keyframe", "frag_keyframe+empty_moov", "dash", "frag_keyframe+delay_moov"]
)
def test_a_fragmented_mp4_is_read_to_its_end(film, numbers, flags):
    path = film("clip.mp4", 40, b_frames=2, options={"movflags": flags})
    assert all_numbers(path, numbers) == list(range(40))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])
def test_frames_before_an_open_group_lean_on_the_one_before(film, name):
    def noise(number: int) -> np.ndarray:
        return np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)

    open_groups = {"x264-params": "keyint=8:scenecut=0:bframes=3:b-adapt=0:open-gop=1"}
    path = film(name, 60, picture=noise, codec_options=open_groups)
    times = sample_times("uniform", 60, read_timeline(path))
    straight = read_video(path, times, lambda pixels: pixels, seek=False)
    for wanted in range(20, 45):
        jumped = read_video(path, [times[0], times[wanted]], lambda pixels: pixels)
        assert torch.equal(jumped[1], straight[wanted])


# Pauses


@pytest.mark.parametrize(
    ("name", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("ts", "libx264")]
)
def test_a_pause_is_no_part_of_a_clip(film, numbers, name, codec):
    path = film(f"clip.{name}", 40, codec=codec, b_frames=0, ticks=[*range(20), *range(1520, 1540)])
    info, timeline = probe(path), read_timeline(path)
    assert (info.fps, info.duration_s) == pytest.approx((25, 61.6), abs=0.002)
    assert info.pauses_s[0] == pytest.approx((0.8, 60.8), abs=0.002)
    assert re.search("no frames come from 0.8 to 60.8 s: a pause", info.notes[0])
    assert timeline.frames == 40
    assert all_numbers(path, numbers) == list(range(40))
    with pytest.raises(DecodeError, match=r"no frames come between 10\.0 s and 20\.0 s"):
        read_timeline(path, 10.0, 20.0)
    times = sample_times("uniform", 99, read_timeline(path, 0.4, 61.0))
    assert numbers(read_frames(path, times)) == list(range(10, 25))


def test_a_slow_film_does_not_pause(film, numbers):
    path = film("clip.mkv", 8, fps=1, ticks=range(0, 40, 5))
    assert probe(path).pauses_s == ()
    assert all_numbers(path, numbers) == list(range(8))


def test_a_timeline_stands_still_in_its_pauses():
    timeline = Timeline(1.0, 10.0, 2.0, ((2.0, 5.0), (6.0, 9.0)))
    assert timeline.frames == 6
    assert [timeline.time_of(frame) for frame in range(6)] == [1.25, 1.75, 5.25, 5.75, 9.25, 9.75]
    assert [(one.start_s, one.end_s) for one in timeline.stretches()] == [(1, 2), (5, 6), (9, 10)]
    assert timeline.part(1.5, 5.5).pauses == ((2.0, 5.0),)
    assert timeline.part(3.0, 4.0).running_s == 0


# Sizes


@pytest.mark.parametrize(("aspect", "shape"), [((2, 1), (48, 128)), ((1, 2), (96, 64))])
def test_pixels_become_squares(film, aspect, shape):
    path = film("clip.mkv", 3, codec_options={"aspect": f"{aspect[0]}:{aspect[1]}"})
    info = probe(path)
    assert (info.height, info.width) == shape
    assert read_frames(path, [0.0]).shape[-2:] == shape
    assert next(stream_frames(path, None))[1].shape[-2:] == shape


def test_a_picture_that_turns_half_way_is_read_through(film, numbers):
    first = film("first.ts", 20, size=(64, 48)).read_bytes()
    path = film("clip.ts", 20, size=(48, 64), ticks=range(20, 40))
    path.write_bytes(first + path.read_bytes())
    assert all_numbers(path, numbers) == [*range(20), *range(20)]
    times = sample_times("uniform", 8, read_timeline(path))
    assert read_frames(path, times).shape == (8, 3, 48, 48)
    assert read_frames(path, times, short_side=24).shape == (8, 3, 24, 24)


# Rows of pictures


def jpeg(number: int, size: tuple[int, int] = (64, 48), **options) -> bytes:
    to = io.BytesIO()
    Image.new("L", size, 6 * number).save(to, "JPEG", **options)
    return to.getvalue()


@pytest.mark.parametrize("count", [2, 3, 30])
def test_a_row_of_jpegs_is_a_video(tmp_path, numbers, count):
    path = tmp_path / "clip.mjpeg"
    path.write_bytes(b"".join(jpeg(number) for number in range(count)))
    info = probe(path)
    assert (info.kind, info.fps) == ("video", 25)
    assert all_numbers(path, numbers) == list(range(count))
    assert "a raw stream, which tells no times" in info.notes[0]


def test_a_picture_with_a_preview_behind_it_is_a_picture(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(1) + jpeg(2, (32, 24)))
    views = [Image.new("L", (64, 48), 6 * number) for number in (1, 2)]
    views[0].save(tmp_path / "b.jpg", "MPO", save_all=True, append_images=views[1:])
    (tmp_path / "c.jpg").write_bytes(jpeg(1) + struct.pack(">I4s", 24, b"ftyp") + bytes(99))
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        assert probe(tmp_path / name).kind == "picture"


# The files themselves

GREYS = ["packed.avi", "plain.avi", "nob.avi", "joined.ts", "numbered.h264", "numbered.mjpeg"]


@pytest.mark.real
@pytest.mark.parametrize("name", [*GREYS, "cut.ts"])
def test_frame_n_has_its_grey(real_data, name):
    path = real_data / "odd" / name
    timeline = read_timeline(path)
    first = 20 if name == "cut.ts" else 0
    levels = [8 + 8 * number for number in range(first, 30)]
    read = read_frames(path, sample_times("uniform", 99, timeline))
    streamed = list(stream_frames(path, None))
    assert [round(time_s * timeline.fps) for time_s, _ in streamed] == list(range(len(levels)))
    for frames in (read, torch.stack([pixels for _, pixels in streamed])):
        assert frames.float().mean(dim=(1, 2, 3)).tolist() == pytest.approx(levels, abs=4)


@pytest.mark.real
def test_the_pause_is_the_same_in_both_containers(real_data):
    one, other = (probe(real_data / "odd" / f"pause1m.{kind}") for kind in ("mp4", "mkv"))
    assert one.pauses_s == other.pauses_s == ((2.0, 62.0),)
    assert (one.fps, one.duration_s, one.notes) == (other.fps, other.duration_s, other.notes)


@pytest.mark.real
def test_odd_shapes(real_data):
    info = probe(real_data / "odd/anamorphic.mkv")
    assert (info.width, info.height) == (128, 64)
    square, stretched = (
        read_frames(real_data / "odd" / name, [0.05])[0].float()
        for name in ("square.mp4", "anamorphic.mkv")
    )
    assert (square - stretched).abs().mean() < 4
    path = real_data / "odd/turned.ts"
    assert read_frames(path, sample_times("uniform", 60, read_timeline(path))).shape[0] == 60
