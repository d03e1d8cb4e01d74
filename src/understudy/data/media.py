"""What a media file is: its kinds and suffixes, how it is opened, and the error if it is not read.

Files come from strangers. Whatever a decoder raises on one of them is that file's fault and becomes
a DecodeError; only a regular file is ever opened, and nothing absurdly large is decoded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Literal

PICTURE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .webp .tif .tiff .avif .heic .heif .ppm .pgm".split()  # noqa: SIM905
)
VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .gif".split()  # noqa: SIM905
)
MEDIA_SUFFIXES = PICTURE_SUFFIXES | VIDEO_SUFFIXES

FOLDER_FPS = 25.0
"""A folder of frames does not say how fast it was filmed; this is assumed."""

MAX_PIXELS = 2**30 // 4 // 3
"""The most that a picture or a frame of a video may have, as Pillow has it: a quarter of a gigabyte
in RGB. What a header says is tested before anything is decoded."""
TOO_MANY = f"too many pixels; at most {MAX_PIXELS:,} are decoded"
MAX_ASPECT = 100
"""Longer side by shorter side. Models see the shorter side at full size, so that a file of a few
bytes, 65,535 pixels by 1, would otherwise become gigabytes."""

Kind = Literal["video", "picture", "frames"]


class DecodeError(Exception):
    """A clip cannot be read. Loaders skip and count it; nothing is put in its place."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What the header of a clip says.

    start_s is the time of the first frame on the file's own clock, not always 0, and duration_s
    the time until the last one ends; a picture lasts 0 seconds and has an fps of 0. frames: their
    number, None where the header does not say. width and height are those of the picture as it is
    shown, rotation obeyed.
    """

    kind: Kind
    duration_s: float
    fps: float
    frames: int | None
    width: int
    height: int
    start_s: float = 0.0


def exact_s(time_s: float) -> Fraction:
    """A time in exact seconds, moved by a microsecond.

    A time computed as number / fps then lies inside its frame and not just before it.
    """
    return Fraction(time_s) + Fraction(1, 1_000_000)


@contextmanager
def faults_of(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a file into a DecodeError: "<what>: <why>".

    Decoders of some hundred formats, given damaged bytes, raise anything there is: MemoryError and
    RecursionError are no rarity. What is no error, KeyboardInterrupt and its like, goes through.
    """
    try:
        yield
    except DecodeError:
        raise
    except MemoryError as error:
        raise DecodeError(path, f"{what}: it asks for more memory than there is") from error
    except Exception as error:
        raise DecodeError(path, f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@contextmanager
def open_file(path: Path) -> Iterator[FileIO]:
    """The bytes of a file, unbuffered. Raises DecodeError for what is no regular file.

    Anything else is not even opened: a FIFO would be waited for, a device acts when it is opened.
    """
    with faults_of(path, "it cannot be opened"):
        kind = kind_of(path)
        if kind != "file":
            raise DecodeError(path, f"{kind}, not a file")
        # By its descriptor: decoders would take a name for more than it is.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    with FileIO(descriptor) as file:
        yield file


def kind_of(path: str | Path) -> str:
    """What is at a path, links followed: "file", "a folder", "a FIFO", "a socket" or "a device".

    Raises OSError where there is nothing or a link goes round in circles, ValueError for a name
    with a NUL.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def check_size(path: Path, width: int, height: int) -> None:
    """Raises DecodeError for a picture or a frame that is too large to be meant."""
    if width * height > MAX_PIXELS:
        raise DecodeError(path, f"{width} x {height} are {TOO_MANY}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise DecodeError(
            path,
            f"{width} x {height} pixels: one side may be {MAX_ASPECT} times the other, not more",
        )


def is_folder(path: Path) -> bool:
    """Whether there is a folder at a path; False for whatever cannot be asked."""
    try:
        return kind_of(path) == "a folder"
    except (OSError, ValueError):
        return False
