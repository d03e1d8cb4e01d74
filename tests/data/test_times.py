"""Every frame at its own time, whatever container it lies in and however its codec reorders."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from understudy.data.decode import probe, read_frames, read_timeline, stream_frames
from understudy.data.sampling import sample_times
from understudy.data.video import read_video

SIZE = (64, 48)
REST = np.random.default_rng(0).integers(0, 40, (*SIZE[::-1], 3), dtype=np.uint8)


def picture(number: int) -> np.ndarray:
    """One that moves, so that an encoder predicts it, and whose level tells its number."""
    return np.roll(REST, 2 * number, axis=1) + np.uint8(5 * (number % 40))


def numbers_of(frames: torch.Tensor) -> list[int]:
    return [round((frame.float().mean().item() - REST.mean()) / 5) for frame in frames]


def film_moving(film, name: str, frames: int = 30, **options) -> Path:
    return film(name, frames, picture=picture, **options)


def assert_in_order(path: Path, frames: int = 30, fps: float = 25) -> None:
    """Frame n is shown from n / fps on: at random, with and without jumps, and one by one."""
    timeline = read_timeline(path)
    assert timeline.frames == frames
    assert timeline.fps == pytest.approx(fps, rel=0.02)  # of clocks that count milliseconds
    expected = [number % 40 for number in range(frames)]
    times = sample_times("uniform", frames, timeline)
    assert numbers_of(read_frames(path, times)) == expected
    for first in range(0, frames, 7):
        apart = times[first::13]
        jumped = read_video(path, apart, lambda pixels: pixels)
        straight = read_video(path, apart, lambda pixels: pixels, seek=False)
        assert torch.equal(torch.stack(jumped), torch.stack(straight))
        assert numbers_of(torch.stack(jumped)) == expected[first::13]
    streamed = list(stream_frames(path, None))
    assert numbers_of(torch.stack([pixels for _, pixels in streamed])) == expected
    assert [time_s for time_s, _ in streamed] == pytest.approx(
        [n / fps for n in range(frames)], abs=0.002
    )


def mpeg4_chunks(frames: int, b_frames: int, gop: int) -> Iterator[tuple[str, bytes]]:
    """Frames of MPEG-4 in the order of decoding, as (kind, bytes)."""
    encoder = av.CodecContext.create("mpeg4", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *SIZE, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.gop_size, encoder.max_b_frames, encoder.bit_rate = gop, b_frames, 4_000_000
    encoder.options = {"sc_threshold": "1000000000"}
    frames_in = [av.VideoFrame.from_ndarray(picture(n), format="rgb24") for n in range(frames)]
    for number, frame in enumerate(frames_in):
        frame.pts, frame.time_base = number, Fraction(1, 25)
    packets = [packet for frame in [*frames_in, None] for packet in encoder.encode(frame)]
    for packet in packets:
        content = bytes(packet)
        yield "IPBS"[content[content.index(b"\0\0\1\xb6") + 4] >> 6], content


NOTHING = b"\0\0\1\xb6\x51\xff\xff"
"""A frame that says "as the one before"."""


def packed(chunks: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
    """As XviD and DivX pack for Video for Windows, that knows no reordering: a frame together with
    the B-frame that is shown before it, and an empty frame where the B-frame stood."""
    waiting: bytes | None = None
    for kind, content in chunks:
        if kind == "B":
            assert waiting is not None
            yield waiting + content
            yield NOTHING
            waiting = None
        else:
            if waiting is not None:
                yield waiting
            start = content.index(b"\0\0\1\xb6")
            told = b"\0\0\1\xb2DivX503b1393p" if kind == "I" else b""
            waiting = content[:start] + told + content[start:]
    if waiting is not None:
        yield waiting


def write_avi(path: Path, chunks: Iterator[bytes]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.time_base = Fraction(1, 25)
        for number, content in enumerate(chunks):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = number
            packet.is_keyframe = number == 0 or b"\0\0\1\xb2DivX" in content
            container.mux(packet)
    return path


@pytest.mark.parametrize("gop", [12, 100])
def test_packed_b_frames_of_an_avi(tmp_path, gop):
    """As in UCF101 and HMDB51."""
    chunks = list(packed(mpeg4_chunks(120, 1, gop)))
    assert chunks.count(NOTHING) > 40
    assert_in_order(write_avi(tmp_path / "clip.avi", iter(chunks)), 120)


CODECS = {
    "mp4": "libx264 libx265 mpeg4 mpeg2video libsvtav1 libvpx-vp9",
    "mov": "libx264 mpeg4",
    "3gp": "mpeg4 libx264",
    "mkv": "libx264 libx265 mpeg4 mpeg2video mpeg1video libvpx libvpx-vp9 ffv1",
    "webm": "libvpx libvpx-vp9",
    "avi": "mpeg4 libx264 mpeg2video mpeg1video msmpeg4 wmv2 ffv1",
    "ts": "libx264 libx265 mpeg2video mpeg4 mpeg1video",
    "mpg": "mpeg2video mpeg1video",
    "wmv": "wmv1 wmv2",
    "asf": "mpeg4 libx264",
    "flv": "libx264 flv",
    "nut": "libx264 mpeg4",
    "mxf": "mpeg2video",
    "m2v": "mpeg2video",
    "m1v": "mpeg1video",
    "m4v": "mpeg4",
    "h264": "libx264",
    "hevc": "libx265",
    "ivf": "libvpx libvpx-vp9",
}
REORDERS = {"libx264", "libx265", "mpeg4", "mpeg2video", "mpeg1video"}
WAYS = [(0, 12, 25), (2, 12, 25), (3, 100, 30), (1, 5, Fraction(30000, 1001))]
"""B-frames, group of pictures, frames a second."""
EVERY_KIND = [
    (suffix, codec, *way)
    for suffix, codecs in CODECS.items()
    for codec in codecs.split()
    for way in WAYS
    if codec in REORDERS or not way[0]
]
SAMPLE = [kind for kind in EVERY_KIND if kind[0] == "avi" or kind[1:3] in {("libx264", 2)}]
SAMPLE += [("mpg", "mpeg1video", *WAYS[3]), ("m2v", "mpeg2video", *WAYS[2])]


def film_kind(film, kind: tuple) -> Path:
    suffix, codec, b_frames, gop, fps = kind
    size = (64, 64) if codec == "libsvtav1" else SIZE
    return film(
        f"clip.{suffix}",
        40,
        fps=fps,
        gop=gop,
        codec=codec,
        size=size,
        b_frames=b_frames,
        picture=lambda number: np.resize(picture(number), (size[1], size[0], 3)),
        codec_options={"strict": "-2"},
    )


@pytest.mark.parametrize("kind", SAMPLE, ids=str)
def test_frame_n_is_shown_at_n_over_fps(film, kind):
    assert_in_order(film_kind(film, kind), 40, float(kind[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in EVERY_KIND if kind not in SAMPLE], ids=str)
def test_of_every_kind_that_can_be_written(film, kind):
    assert_in_order(film_kind(film, kind), 40, float(kind[-1]))


@pytest.mark.parametrize("b_frames", [0, 2])
def test_frames_that_an_avi_left_out_are_gaps(film, b_frames):
    ticks = [*range(13), *range(18, 35)]
    path = film_moving(film, "clip.avi", codec="mpeg4", b_frames=b_frames, ticks=ticks)
    shown = [n for n, tick in enumerate(ticks) for _ in range(6 if tick == 12 else 1)]
    times = sample_times("uniform", 35, read_timeline(path))
    assert numbers_of(read_frames(path, times)) == shown
    assert [round(25 * time_s) for time_s, _ in stream_frames(path, None)] == ticks


def test_a_part_of_an_avi_is_that_part(film):
    path = film_moving(film, "clip.avi", 120, codec="mpeg4", b_frames=2)
    timeline = read_timeline(path, start_s=3.0, end_s=3.4)
    times = sample_times("uniform", 99, timeline)
    assert numbers_of(read_frames(path, times)) == [n % 40 for n in range(75, 85)]


def test_one_frame_with_reordering_is_a_clip(film):
    path = film_moving(film, "clip.avi", 1, codec="mpeg4", b_frames=2)
    assert probe(path).start_s == 0
    assert_in_order(path, 1)
