"""Frames of some files, decoded, made small and written as shards. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from understudy.data.decode import DecodeError, opened, part_of, probe, read_each, shrink
from understudy.data.jpeg import to_jpeg
from understudy.data.media import MediaInfo
from understudy.data.pack.shards import (
    PackedRow,
    Piece,
    Settings,
    checksum,
    joined,
    write_shard,
)
from understudy.data.sampling import Timeline, sample_times
from understudy.errors import UserError

SHARD_BYTES = 2**26
"""A shard is written once it holds so much: more would be held in memory, and lost by a kill."""

Span = tuple[float | None, float | None]
"""start_s and end_s of a row."""


class PackedFile(NamedTuple):
    """A file of a manifest and all rows that it holds. path: absolute; name: in the manifest."""

    path: str
    name: str
    fingerprint: str
    spans: tuple[Span, ...]


class Fault(NamedTuple):
    """What could not be packed. span: None: the whole file."""

    name: str
    span: Span | None
    reason: str


class Estimate(NamedTuple):
    """frames and bytes that a file will take; 0 where it cannot be read."""

    frames: int
    bytes: int


class Unwritable(NamedTuple):
    """Why shards cannot be written any more, in words."""

    reason: str


class Part(NamedTuple):
    """What one process packs at a time."""

    folder: str
    settings: Settings
    files: tuple[PackedFile, ...]


def times_of(settings: Settings, timeline: Timeline) -> list[float]:
    """The times of all frames that a pack holds of a clip: those that any sampling could ask for,
    or those that the sampling of the pack takes."""
    if settings.frames is None:
        return [timeline.time_of(frame) for frame in range(timeline.frames)]
    return sample_times(settings.sampling or "uniform", settings.frames, timeline)


def estimate(asked: tuple[Settings, PackedFile], alive: Callable[[], None]) -> Estimate:
    """How much a file will take, from its header, and for JPEG from its first frame."""
    alive()
    settings, file = asked
    try:
        info = probe(file.path)
        times = _union(settings, _timelines(file, info)[0].values())
        short, long = sorted((info.width, info.height))
        if short > settings.short_side:
            short, long = settings.short_side, int(settings.short_side * long / short)
        bytes_ = 3 * short * long
        if settings.jpeg_quality is not None and times:
            [first] = read_each(file.path, times[:1], lambda frame: frame)
            small = shrink(first, settings.short_side)
            bytes_ = len(to_jpeg(small, settings.jpeg_quality))
        # Rows that overlap name a frame twice, by times that differ in their last bits.
        frames = len({round(time_s, 6) for time_s in times})
        return Estimate(frames, frames * bytes_)
    except DecodeError:
        return Estimate(0, 0)


def pack_part(part: Part, alive: Callable[[], None]) -> list[Fault] | Unwritable:
    """Pack some files; what could not be packed."""
    sink, faults = _Sink(Path(part.folder), part.settings, alive), []
    try:
        for file in part.files:
            faults += sink.take(file)
        sink.flush()
    except UserError as error:
        return Unwritable(str(error))
    return faults


@dataclass
class _Sink:
    """Takes frames one by one, and writes a shard when there are enough of them."""

    folder: Path
    settings: Settings
    alive: Callable[[], None]
    waiting: list[tuple[Piece, Tensor]] = field(default_factory=list)
    waiting_bytes: int = 0

    def take(self, file: PackedFile) -> list[Fault]:
        """All frames of a file. Where it breaks off, what came before is kept."""
        self._file, faults = file, []
        self._called = self._done = 0
        self._frames: list[Tensor] = []  # as they are stored
        self._numbers: list[int] = []  # of a frame, for each time since the last piece
        self._last: Tensor | None = None
        try:
            with opened(file.path) as clip:
                self._timelines, faults = _timelines(file, probe(clip))
                self._times = _union(self.settings, self._timelines.values())
                if self._times:
                    read_each(clip, self._times, self._frame, self._again)
        except DecodeError as error:
            faults.append(Fault(file.name, None, error.reason))
        self._end_piece()
        return faults

    def flush(self) -> None:
        if self.waiting:
            pieces, tensors = zip(*self.waiting, strict=True)
            write_shard(self.folder, self.settings, pieces, tensors)
        self.waiting, self.waiting_bytes = [], 0

    def _again(self) -> None:
        self._called = 0

    def _frame(self, frame: Tensor) -> None:
        self.alive()
        self._called += 1
        if self._called <= self._done:  # it was taken before the times began again
            return
        small = shrink(frame, self.settings.short_side).contiguous()
        if not self._frames or self._last is None or not torch.equal(small, self._last):
            if self._last is not None and small.shape != self._last.shape:
                raise DecodeError(Path(self._file.path), "its frames differ in size")
            quality = self.settings.jpeg_quality
            stored = small if quality is None else to_jpeg(small, quality)
            self._frames.append(stored)
            self.waiting_bytes += stored.nbytes
        self._last = small
        self._numbers.append(len(self._frames) - 1)
        self._done += 1
        if self.waiting_bytes >= SHARD_BYTES * 3 // 2:  # a file too large for one
            self._end_piece()
            self.flush()

    def _end_piece(self) -> None:
        """What has come of a file so far waits to be written; the next frame begins another."""
        if not self._frames:
            return
        assert self._last is not None
        tensor, ends = joined(self._frames)
        piece = Piece(
            fingerprint=self._file.fingerprint,
            path=self._file.name,
            rows=tuple(PackedRow.of(*one) for one in self._timelines.items()),
            height=self._last.shape[1],
            width=self._last.shape[2],
            times_s=tuple(self._times[self._done - len(self._numbers) : self._done]),
            frames=tuple(self._numbers),
            checksums=tuple(map(checksum, self._frames)),
            ends=ends,
        )
        self.waiting.append((piece, tensor))
        self._frames, self._numbers = [], []


def _timelines(file: PackedFile, info: MediaInfo) -> tuple[dict[Span, Timeline], list[Fault]]:
    found, faults = {}, []
    for span in file.spans:
        try:
            found[span] = part_of(file.path, info, *span)
        except DecodeError as error:
            faults.append(Fault(file.name, span, error.reason))
    return found, faults


def _union(settings: Settings, timelines: Iterable[Timeline]) -> list[float]:
    return sorted({time for one in timelines for time in times_of(settings, one)})
