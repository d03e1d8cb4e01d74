"""A pack as it is read: its clips by the fingerprints of their bytes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from understudy.data.media import kind_of
from understudy.data.pack.shards import SHARD_NAME, BrokenShard, Settings, Shard, open_shard
from understudy.data.pack.writing import Span, times_of
from understudy.data.sampling import Timeline
from understudy.errors import UserError

SETTINGS_FILE = "pack.json"
MAX_SETTINGS_BYTES = 10_000


class _Places(NamedTuple):
    """Of one file: all times that are packed, rising, and where the frame of each one lies."""

    times_s: np.ndarray
    shards: np.ndarray
    pieces: np.ndarray
    frames: np.ndarray


class Pack:
    """A folder of shards. broken: by file, why one is not used.

    Raises UserError where the folder holds no pack.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.settings = folder, read_settings(folder)
        self.broken: dict[Path, str] = {}
        self.shards: list[Shard] = []
        self._pieces: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._timelines: dict[tuple[str, float | None, float | None], Timeline] = {}
        self._places: dict[str, _Places] = {}
        self._paths: dict[str, str] = {}
        try:
            names = sorted(
                path.name for path in folder.iterdir() if SHARD_NAME.fullmatch(path.name)
            )
        except OSError as error:
            raise UserError(f"The pack {folder} cannot be read: {error.strerror}.") from error
        for name in names:
            self._take(folder / name)

    def _take(self, path: Path) -> None:
        try:
            shard = open_shard(path, self.settings)
        except BrokenShard as error:
            self.broken[path] = str(error)
            return
        for number, piece in enumerate(shard.pieces):
            self._pieces[piece.fingerprint].append((len(self.shards), number))
            self._paths[piece.path] = piece.fingerprint
            for start_s, end_s, timeline in piece.rows:
                self._timelines[piece.fingerprint, start_s, end_s] = timeline
        self.shards.append(shard)

    def fingerprint_at(self, path: str) -> str | None:
        """What a file was known by when it was packed; path: as in the manifest. None: it never
        was."""
        return self._paths.get(path)

    def timeline(self, fingerprint: str, span: Span) -> Timeline | None:
        """The timeline of a row; None where the pack has nothing of it."""
        return self._timelines.get((fingerprint, *span))

    def holds(self, fingerprint: str, span: Span) -> bool:
        """Whether all frames of a row are there that a pack of these settings has."""
        timeline = self.timeline(fingerprint, span)
        return timeline is not None and (
            self._found(fingerprint, times_of(self.settings, timeline)) is not None
        )

    def frames_at(self, fingerprint: str, times_s: Sequence[float]) -> list[Tensor] | None:
        """The frame at each time, (3, H, W) uint8, not to be written to; None where one of them
        is not in the pack or is damaged, which `broken` tells from then on."""
        found = self._found(fingerprint, times_s)
        if found is None:
            return None
        places, at = found
        frames = []
        for place in at.tolist():
            shard = self.shards[int(places.shards[place])]
            if shard.path in self.broken:
                return None
            try:
                frames.append(shard.frame(int(places.pieces[place]), int(places.frames[place])))
            except BrokenShard as error:
                self.broken[shard.path] = str(error)
                return None
        return frames

    def check(self) -> None:
        """Read all frames of all shards; one that is damaged is in `broken` and lost for `holds`
        afterwards."""
        for shard in self.shards:
            try:
                shard.check()
            except BrokenShard as error:
                self.broken[shard.path] = str(error)
        self._places.clear()

    def _found(
        self, fingerprint: str, times_s: Sequence[float]
    ) -> tuple[_Places, np.ndarray] | None:
        places = self._places_of(fingerprint)
        wanted = np.array(times_s)
        at = np.searchsorted(places.times_s, wanted)
        at = np.minimum(at, len(places.times_s) - 1)
        if not len(places.times_s) or (places.times_s[at] != wanted).any():
            return None
        return places, at

    def _places_of(self, fingerprint: str) -> _Places:
        if fingerprint not in self._places:
            columns: list[list[np.ndarray]] = [[], [], [], []]
            for shard, number in self._pieces.get(fingerprint, ()):
                if self.shards[shard].path in self.broken:
                    continue
                piece = self.shards[shard].pieces[number]
                count = len(piece.times_s)
                parts = (piece.times_s, np.full(count, shard), np.full(count, number), piece.frames)
                for column, part in zip(columns, parts, strict=True):
                    column.append(part)
            times_s, *others = (np.concatenate([*parts, []]) for parts in columns)
            times_s, first = np.unique(times_s, return_index=True)
            shards, pieces, frames = (column[first].astype(np.int64) for column in others)
            self._places[fingerprint] = _Places(times_s, shards, pieces, frames)
        return self._places[fingerprint]


def as_clip(frames: Sequence[Tensor]) -> Tensor:
    """Frames (3, H, W) as a clip (T, 3, H, W) of its own."""
    return torch.stack(list(frames))


def read_settings(folder: Path) -> Settings:
    """What is said in pack.json. Raises UserError."""
    path = folder / SETTINGS_FILE
    try:
        if kind_of(path) != "file":
            raise UserError(f"{path} is no file.")
        with path.open("rb") as file:
            content = file.read(MAX_SETTINGS_BYTES + 1)
        if len(content) > MAX_SETTINGS_BYTES:
            raise UserError(f"{path} is too large to be what a pack says of itself.")
        return Settings.model_validate_json(content)
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "strerror", None) or "not what a pack says of itself"
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"
        raise UserError(
            f"{folder} holds no pack: {path.name}: {reason}. Make one with: understudy data pack "
            f"MANIFEST {folder}"
        ) from error


def settings_text(settings: Settings) -> str:
    return json.dumps(settings.model_dump(mode="json"), indent=2) + "\n"
