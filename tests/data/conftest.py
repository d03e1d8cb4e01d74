"""Videos whose frames tell their own number, for the tests of data."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from torch import Tensor

STEP = 6
"""Grey levels from one frame to the next; compression moves a level by 1 or 2."""


def write_film(
    path: Path,
    frames: int = 30,
    *,
    fps: int = 25,
    size: tuple[int, int] = (64, 48),
    gop: int = 12,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    ticks: Sequence[int] | None = None,
    picture: Callable[[int], np.ndarray] | None = None,
    b_frames: int | None = None,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
) -> Path:
    """Film plain grey frames, frame i of level STEP * (i % 40), or what `picture(i)` gives.

    `ticks` are the times of the frames in units of 1 / fps. `options` are those of the container.
    """
    width, height = size
    with av.open(str(path), "w", options=options or {}) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=fps))
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.gop_size = gop
        stream.time_base = stream.codec_context.time_base = Fraction(1, fps)
        settings: dict[str, str] = {}
        if codec == "libx264":
            reordered = "" if b_frames is None else f":bframes={b_frames}:b-adapt=0"
            settings = {"crf": "1", "x264-params": f"keyint={gop}:scenecut=0{reordered}"}
        else:
            stream.bit_rate = 4_000_000
        if b_frames is not None and codec != "libx264":
            stream.codec_context.max_b_frames = b_frames
            settings = {"sc_threshold": "1000000000"}  # no key frames but those of the GOP
        stream.options = {**settings, **(codec_options or {})}
        for number in range(frames):
            if picture is None:
                array = np.full((height, width, 3), STEP * (number % 40), dtype=np.uint8)
            else:
                array = picture(number)
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts = ticks[number] if ticks is not None else number
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def frame_numbers(frames: Tensor) -> list[int]:
    """The numbers that frames of `write_film` tell, for films of at most 40 frames."""
    return [round(frame.float().mean().item() / STEP) for frame in frames]


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Path]:
    """Writes a film under a name in the test's folder; see `write_film`."""
    return lambda name, *args, **options: write_film(tmp_path / name, *args, **options)


@pytest.fixture(scope="session")
def film_to() -> Callable[..., Path]:
    """`write_film` itself, for what several tests share."""
    return write_film


@pytest.fixture
def numbers() -> Callable[[Tensor], list[int]]:
    return frame_numbers
