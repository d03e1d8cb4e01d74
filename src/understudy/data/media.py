"""What a media file is: its kinds, its suffixes, and the error when it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

PICTURE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .webp .tif .tiff .avif .heic .heif .ppm .pgm".split()  # noqa: SIM905
)
VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .gif".split()  # noqa: SIM905
)
MEDIA_SUFFIXES = PICTURE_SUFFIXES | VIDEO_SUFFIXES

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
