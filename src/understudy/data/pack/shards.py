"""One shard of a pack: frames of some clips in a safetensors file that is named by its head.

The head lists the clips, the times of their frames and a checksum of each frame; the file's name is
the hash of the head. So a head that was changed is not believed, and a frame that was changed is
not shown: each is checked when a process first reads it.
"""

from __future__ import annotations

import hashlib
import re
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import numpy as np
import torch
from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from understudy.data.jpeg import from_jpeg
from understudy.data.media import MAX_PIXELS
from understudy.data.sampling import Timeline
from understudy.data.whole_files import whole_file
from understudy.recipe.values import Count, Method, Pixels, Section, Text

SHARD_NAME = re.compile(r"[0-9a-f]{32}\.safetensors")
MAX_HEAD_BYTES = 50_000_000

Quality = Annotated[int, Field(ge=1, le=100)]
_Number = Annotated[int, Field(ge=0, lt=2**32)]
_Side = Annotated[int, Field(ge=1, le=MAX_PIXELS)]


class Settings(Section):
    """What the pixels of a pack are, and which frames of a clip are in it: all that a model could
    be shown, or with `frames` those that this sampling takes of it."""

    version: Literal[1] = 1
    short_side: Pixels
    jpeg_quality: Quality | None = None
    frames: Count | None = None
    sampling: Method | None = None


class PackedRow(Section):
    """Where a row of a manifest begins and ends in its file, and the timeline that follows."""

    start_s: float | None
    end_s: float | None
    timeline: tuple[float, float, float]


class Piece(Section):
    """Frames of one file, or a part of them; its tensor has its number for a name.

    path: for people; it is never opened. frames: for each of `times_s`, which frame of the tensor.
    checksums: CRC-32 of each. ends: of JPEG, where in the tensor each one ends.
    """

    fingerprint: Annotated[str, Field(min_length=1, max_length=64)]
    path: Text
    rows: tuple[PackedRow, ...]
    height: _Side
    width: _Side
    times_s: tuple[float, ...]
    frames: tuple[_Number, ...]
    checksums: tuple[_Number, ...]
    ends: tuple[_Number, ...] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Piece:
        if len(self.times_s) != len(self.frames) or not self.times_s:
            raise ValueError("every time has a frame, and there is one at least")
        if any(a >= b for a, b in zip(self.times_s, self.times_s[1:], strict=False)):
            raise ValueError("times rise")
        if max(self.frames) >= len(self.checksums):
            raise ValueError("a frame is named that is not there")
        if self.height * self.width > MAX_PIXELS:
            raise ValueError("too many pixels")
        if self.ends is not None and (
            len(self.ends) != len(self.checksums) or list(self.ends) != sorted(self.ends)
        ):
            raise ValueError("JPEGs end one after the other")
        return self


class _Head(Section):
    settings: Settings
    pieces: tuple[Piece, ...]


class BrokenShard(Exception):
    """A shard that is not used. Its text says why."""


class Frames(NamedTuple):
    """A `Piece` as it is read: arrays in place of lists. checked: (N,) bool, of this process."""

    fingerprint: str
    path: str
    rows: tuple[tuple[float | None, float | None, Timeline], ...]
    height: int
    width: int
    times_s: np.ndarray
    frames: np.ndarray
    checksums: np.ndarray
    ends: np.ndarray | None
    checked: np.ndarray


class Shard:
    """A shard whose head was checked. Its frames are mapped into memory when one is asked for."""

    def __init__(self, path: Path, pieces: Sequence[Frames]) -> None:
        self.path, self.pieces = path, pieces
        self._tensors: list[Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Workers map it for themselves."""
        return self.__dict__ | {"_tensors": None}

    def frame(self, number: int, frame: int) -> Tensor:
        """A frame (3, H, W) uint8 of a piece, not to be written to. Raises BrokenShard where its
        bytes are not those that were written."""
        piece = self.pieces[number]
        tensor = self._mapped()[number]
        if piece.ends is None:
            stored = tensor[frame]
        else:
            stored = tensor[int(piece.ends[frame - 1]) if frame else 0 : int(piece.ends[frame])]
        if not piece.checked[frame]:
            if checksum(stored) != piece.checksums[frame]:
                raise BrokenShard("a frame is not what was written")
            piece.checked[frame] = True
        if piece.ends is None:
            return stored
        try:
            return from_jpeg(stored, piece.height, piece.width)
        except ValueError as error:
            raise BrokenShard(f"a frame is none: {error}") from error

    def check(self) -> None:
        """Read all of its frames. Raises BrokenShard."""
        for number, piece in enumerate(self.pieces):
            for frame in range(len(piece.checksums)):
                self.frame(number, frame)

    def _mapped(self) -> list[Tensor]:
        if self._tensors is None:
            try:
                with safe_open(self.path, "pt") as stored:
                    names = range(len(self.pieces))
                    self._tensors = [stored.get_tensor(str(number)) for number in names]
            except (OSError, SafetensorError) as error:
                raise BrokenShard(str(error)) from error
        return self._tensors


def checksum(stored: Tensor) -> int:
    return zlib.crc32(cast("bytes", stored.numpy()))  # whatever is a buffer


def write_shard(
    folder: Path, settings: Settings, pieces: Sequence[Piece], tensors: Sequence[Tensor]
) -> Path:
    """Write a shard under the name that it has by its head. Raises UserError where it cannot."""
    head = _Head(settings=settings, pieces=tuple(pieces))
    named = {str(number): tensor for number, tensor in enumerate(tensors)}
    content = save(named, {"pack": head.model_dump_json()})
    path = folder / f"{_name_of(content[: _head_bytes(content)])}.safetensors"
    with whole_file(path) as partial:
        partial.write_bytes(content)
    return path


def open_shard(path: Path, settings: Settings) -> Shard:
    """A shard that is what its name says. Raises BrokenShard for any other."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise BrokenShard("it is no file")
        with path.open("rb") as file:
            start = file.read(8)
            size = _head_bytes(start)
            if len(start) < 8 or size > min(MAX_HEAD_BYTES, status.st_size):
                raise BrokenShard("it is cut off, or no shard")
            if _name_of(start + file.read(size - 8)) != path.stem:
                raise BrokenShard("its name is not the hash of its head")
        with safe_open(path, "pt") as stored:
            head = _Head.model_validate_json((stored.metadata() or {}).get("pack", ""))
            shapes = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118
            _refuse_other_shapes(head, shapes)
    except (OSError, SafetensorError) as error:
        raise BrokenShard(getattr(error, "strerror", None) or str(error)) from error
    except ValidationError as error:
        raise BrokenShard(f"its head is none of a shard: {error.errors()[0]['msg']}") from error
    if head.settings != settings:
        raise BrokenShard("it belongs to another pack")
    return Shard(path, [_as_arrays(piece) for piece in head.pieces])


def _refuse_other_shapes(head: _Head, shapes: dict[str, Any]) -> None:
    if set(shapes) != set(map(str, range(len(head.pieces)))):
        raise BrokenShard("its clips are not those that its head lists")
    for number, piece in enumerate(head.pieces):
        found = shapes[str(number)]
        expected = [len(piece.checksums), 3, piece.height, piece.width]
        if piece.ends is not None:
            expected = [piece.ends[-1]]
        if (piece.ends is None) != (head.settings.jpeg_quality is None):
            raise BrokenShard("its frames are not stored as its head says")
        if found.get_dtype() != "U8" or found.get_shape() != expected:
            raise BrokenShard("its frames have another shape than its head says")


def _as_arrays(piece: Piece) -> Frames:
    return Frames(
        piece.fingerprint,
        piece.path,
        tuple((row.start_s, row.end_s, Timeline(*row.timeline)) for row in piece.rows),
        piece.height,
        piece.width,
        np.array(piece.times_s),
        np.array(piece.frames, np.int64),
        np.array(piece.checksums, np.int64),
        None if piece.ends is None else np.array(piece.ends, np.int64),
        np.zeros(len(piece.checksums), bool),
    )


def _head_bytes(content: bytes) -> int:
    """Of a safetensors file: eight bytes that tell the length of the head, and the head."""
    return 8 + int.from_bytes(content[:8], "little")


def _name_of(head: bytes) -> str:
    return hashlib.blake2b(head, digest_size=16).hexdigest()


def joined(stored: Sequence[Tensor]) -> tuple[Tensor, tuple[int, ...] | None]:
    """Frames (3, H, W), or JPEGs (n,), as one tensor, and where each JPEG ends."""
    if stored[0].ndim == 3:
        return torch.stack(list(stored)), None
    return torch.cat(list(stored)), tuple(np.cumsum([len(one) for one in stored]).tolist())
