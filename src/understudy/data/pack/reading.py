"""Clips from a pack: the pixels that their files give, without decoding them."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from understudy.data.decode import shrink
from understudy.data.fingerprint import fingerprint
from understudy.data.manifest import Manifest
from understudy.data.pack.opened import Pack, read_settings
from understudy.data.reader import FileReader, Views, Wanted
from understudy.data.sampling import Timeline
from understudy.errors import UserError
from understudy.recipe import Data

PIXEL_KEYS = ("short_side", "jpeg_quality")
"""What a recipe and a pack both say of pixels, by the same names."""


class PackReader(FileReader):
    """Reads clips from a pack, and from its file whatever the pack lacks: the same pixels either
    way. A shard that turns out damaged is warned of, and not used from then on."""

    def __init__(self, manifest: Manifest, config: Data, pack: Pack) -> None:
        super().__init__(manifest, config)
        self.pack = pack
        self._fingerprints: dict[int, str] = {}

    def _clip(self, row: int) -> tuple[Timeline, Views]:
        name, record = self._fingerprint(row), self.manifest.records[row]
        timeline = self.pack.timeline(name, (record.start_s, record.end_s))
        if timeline is None:
            return super()._clip(row)
        return timeline, partial(self._views, row, name)

    def _views(self, row: int, name: str, wanted: Wanted) -> list[Tensor]:
        clips = []
        for times_s, side in wanted:
            broken = len(self.pack.broken)
            frames = self.pack.frames_at(name, times_s)
            if frames is None:
                self._warn(broken)
                return super()._clip(row)[1](wanted)
            clips.append(torch.stack([shrink(frame, side) for frame in frames]))
        return clips

    def _warn(self, before: int) -> None:
        for path, reason in list(self.pack.broken.items())[before:]:
            warnings.warn(
                f"{path} is not used any more: {reason}. Its clips are read from their files; run "
                "`understudy data pack` again.",
                stacklevel=2,
            )

    def _fingerprint(self, row: int) -> str:
        known = self.manifest.fingerprints
        if known is not None:
            return known[row]
        if row not in self._fingerprints:
            self._fingerprints[row] = fingerprint(self.manifest.path_of(row)) or ""
        return self._fingerprints[row]


def open_reader(manifest: Manifest, config: Data) -> FileReader:
    """A reader of the pack that a recipe names, while it lies there, or else of files: the pixels
    are the same."""
    if config.pack is None or not Path(config.pack).is_dir():
        return FileReader(manifest, config)
    return PackReader(manifest, config, open_pack(config))


def open_pack(config: Data) -> Pack:
    """The pack that a recipe names. Raises UserError where its pixels are not those that the recipe
    asks for, and where there is none."""
    assert config.pack is not None
    pack = Pack(Path(config.pack))
    for key in PIXEL_KEYS:
        here, there = getattr(config, key), getattr(pack.settings, key)
        if here != there:
            raise UserError(
                f"data.{key} is {_said(here)} and the pack {pack.folder} has {_said(there)}: it "
                f"would give other pixels. Set data.{key}={_said(there)}, or name another pack."
            )
    return pack


def with_pack(config: Data) -> Data:
    """The section with what its pack says of pixels, where the recipe leaves that open; so a run
    without its pack reads files in the same way. Raises UserError where there is no pack."""
    if config.pack is None:
        return config
    settings = read_settings(Path(config.pack))
    changes = {
        key: getattr(settings, key) if getattr(config, key) is None else getattr(config, key)
        for key in PIXEL_KEYS
    }
    if settings.short_side < config.size:
        raise UserError(
            f"The pack {config.pack} has frames of {settings.short_side} px, and data.size is "
            f"{config.size}. Pack again with --size {config.size} or more."
        )
    return config.model_copy(update=changes)


def notes_on(reader: FileReader) -> list[str]:
    """Sentences on what a recipe wants from a pack and is read from files, and why."""
    manifest, folder = reader.manifest, reader.config.pack
    if not isinstance(reader, PackReader):
        gone = f"the pack {folder} is gone; frames are read from files, which give the same"
        return [gone] if folder is not None else []
    pack = reader.pack
    notes = [f"{path} is not used: {reason}" for path, reason in pack.broken.items()]
    known = manifest.fingerprints or [""] * len(manifest)
    reasons = []
    for row, record in enumerate(manifest.records):
        if known[row] and pack.holds(known[row], (record.start_s, record.end_s)):
            continue
        packed = pack.fingerprint_at(record.path)
        changed = packed is not None and known[row] and packed != known[row]
        reasons.append(
            f"{record.path}, " + ("whose bytes have changed" if changed else "which it lacks")
        )
    if reasons:
        notes.append(
            f"{len(reasons)} of {len(manifest)} clips are read from their files, not from the pack "
            f"{pack.folder}: {'; '.join(reasons[:5])}" + ("; ..." if len(reasons) > 5 else "")
            + ". Run `understudy data pack` again to add them."
        )  # fmt: skip
    return notes


def _said(value: int | None) -> str:
    return "null" if value is None else str(value)
