"""What one file turned out to be, every frame of it decoded: also as a line of a file of state."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from understudy.data.check.looks import unpacked

NO_FILE = "there is no such file"


class Seen(BaseModel):
    """A file, whole or as far as it can be read.

    kind: None where nothing of it could be read. reason: why it cannot be read to its end, as a
    `DecodeError` has it; None: it can. frames: that were decoded, until `seconds`; promised: by its
    header, None where that does not say; duration_s: by its header. gaps: (from, to) in seconds,
    where it pauses; notes: what else is odd about it, as `MediaInfo` has both. uneven: share of
    frames that lasted over half longer or shorter than is usual. pixel_aspect: width of a
    pixel by its height. turned: whether it is shown otherwise than it is stored. digest: of the
    pixels of all frames. looks: how frames look, packed as `looks.packed` does; look_times_s: when
    each was on screen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["video", "picture", "frames"] | None = None
    reason: str | None = None
    frames: int = 0
    promised: int | None = None
    seconds: float = 0.0
    duration_s: float = 0.0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    turned: bool = False
    pixel_aspect: float = 1.0
    uneven: float = 0.0
    gaps: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()
    digest: str = ""
    look_times_s: tuple[float, ...] = ()
    looks: str = ""

    @model_validator(mode="after")
    def _looks_are_whole(self) -> Self:
        if len(self.look_times_s) != (len(unpacked(self.looks)) if self.looks else 0):
            raise ValueError("as many looks as moments")
        return self


def stamp(path: Path) -> str | None:
    """What changes with the bytes of a file, told without reading them: its size and when it was
    written; of a folder, those of all that lies in it. None where there is nothing."""
    try:
        if not os.path.isdir(path):
            return _stamp(os.stat(path))
        entries = sorted(f"{one.name} {_stamp(one.stat())}" for one in os.scandir(path))
    except (OSError, ValueError):
        return None
    text = "\n".join(entries).encode(errors="surrogateescape")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _stamp(found: os.stat_result) -> str:
    return f"{found.st_size:x}-{found.st_mtime_ns:x}"
