"""From a row of a manifest to what a model is fed with: one interface, whatever it is read from.

`FileReader` decodes media files. `FeatureReader` has the features of a frozen backbone instead of
pixels. A clip is asked for by (row, view), and by how the models that want it look at it: student
and teachers share a view's draw, each at its own size, and the file is decoded once for all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from understudy.data.decode import DecodeError, read_timeline, read_views
from understudy.data.fingerprint import fingerprint
from understudy.data.kept import Kept, KeptFrames
from understudy.data.manifest import Manifest
from understudy.data.pseudo import held, picture_side, pseudo_clip
from understudy.data.sampling import sample_times
from understudy.data.transforms import apply, draw, generator_of, prepare
from understudy.recipe import Data
from understudy.types import Sampling


class Reader(Protocol):
    """Gives clips by row and view."""

    def read(self, row: int, view: int | None, looks: Sequence[Sampling]) -> list[Tensor]:
        """The clip of a row, once for each way of looking at it.

        view: which augmentation draw; None: no augmentation and nothing random. Each is (t, 3, S,
        S) uint8 with t <= T, or (t, F) float where features stand in for pixels. Raises DecodeError
        where the clip cannot be read.
        """
        ...


class FileReader:
    """Reads media files, and keeps decoded frames while they fit into `config.memory_mb`.

    What is kept are frames at fixed times only, before any draw; the worker processes of all
    loaders that read through it share them. A file whose bytes are not those
    that the manifest has on record is not read: its teacher's answers would be another clip's.
    """

    def __init__(self, manifest: Manifest, config: Data) -> None:
        self.manifest = manifest
        self.config = config
        self._kept = KeptFrames(config.memory_mb * 2**20)

    def read(self, row: int, view: int | None, looks: Sequence[Sampling]) -> list[Tensor]:
        """As `Reader.read`; pixels, always."""
        decoded = self._decoded(row, view, looks)
        return [
            self._finished(row, view, look, frames, is_picture)
            for look, (frames, is_picture) in zip(looks, decoded, strict=True)
        ]

    def _decoded(self, row: int, view: int | None, looks: Sequence[Sampling]) -> list[Kept]:
        """Frames at their true shape and larger than a model sees them, and whether of a still."""
        found: dict[Sampling, Kept] = {}
        keys = {look: (row, look, None if view is None else self._side(look, True))
                for look in looks if view is None or is_fixed(look.method)}  # fmt: skip
        for look, key in keys.items():
            if (kept := self._kept.find(*key)) is not None:
                found[look] = kept
        missing = [look for look in looks if look not in found]
        for look, decoded in zip(missing, self._decode(row, view, missing), strict=True):
            found[look] = decoded
            if look in keys:
                self._kept.add(decoded, *keys[look])
        return [found[look] for look in looks]

    def _decode(self, row: int, view: int | None, looks: Sequence[Sampling]) -> list[Kept]:
        if not looks:
            return []
        path, record = self.manifest.path_of(row), self.manifest.records[row]
        found = fingerprint(path)
        if not self.manifest.is_unchanged(row, found):
            what = "its bytes have changed" if found else "it is gone"
            raise DecodeError(path, f"{what} since the run began")
        timeline = read_timeline(path, record.start_s, record.end_s)
        wanted = []
        for look in looks:
            generator = None
            if view is not None and not is_fixed(look.method):
                key = self.manifest.key_of(row)
                generator = generator_of("sampling", self.config.seed, key, view)
            times_s = sample_times(
                look.method, look.frames, timeline, stride_s=look.stride_s, generator=generator
            )
            drawn = view is not None
            wanted.append((times_s, self._side(look, drawn, of_picture=timeline.is_picture)))
        return [Kept(frames, timeline.is_picture) for frames in read_views(path, wanted)]

    def _finished(
        self, row: int, view: int | None, look: Sampling, frames: Tensor, is_picture: bool
    ) -> Tensor:
        pseudo = self.config.pseudo if is_picture else None
        if view is None:
            frames = prepare(frames, look.size)
            return held(frames, look.frames) if is_picture and look.hold_pictures else frames
        clip = self.manifest.key_of(row)
        named = {"seed": self.config.seed, "clip": clip, "view": view}
        if pseudo is not None:
            side = self._side(look, True)
            frames = pseudo_clip(frames[0], look.frames, side, pseudo, **named)
        [frames] = apply([frames], [draw(self.config.augment, **named)], look.size)
        if is_picture and pseudo is None and look.hold_pictures:
            return held(frames, look.frames)
        return frames

    def _side(self, look: Sampling, drawn: bool, *, of_picture: bool = False) -> int:
        """Short side at which frames are decoded, so that the smallest window has all its pixels,
        and the closest of a camera over a still."""
        if not drawn:
            return look.size
        scale = self.config.augment.crop_scale
        side = math.ceil(look.size / math.sqrt(scale)) if scale > 0 else look.size * 4
        if of_picture and self.config.pseudo is not None:
            return picture_side(side, self.config.pseudo)
        return side


class FeatureReader:
    """Features of a frozen backbone, computed before: the same in every view, for one model alone.

    features: by row, (t, F) of the clip's real frames.
    """

    def __init__(self, features: Mapping[int, Tensor], manifest: Manifest) -> None:
        self._features, self._manifest = features, manifest

    def read(self, row: int, view: int | None, looks: Sequence[Sampling]) -> list[Tensor]:
        """As `Reader.read`; features, always."""
        del view
        assert len(looks) == 1, "features belong to one model"
        if row not in self._features:
            path = self._manifest.path_of(row)
            raise DecodeError(path, "it could not be read when features were computed")
        return [self._features[row]]


def is_fixed(method: str) -> bool:
    """Whether a sampling method draws nothing at random."""
    return method in {"uniform", "first", "centre"}


def draws_pixels(config: Data) -> bool:
    """Whether training shows a clip's frames differently from epoch to epoch."""
    return config.augment.active or config.pseudo is not None or not is_fixed(config.sampling)


def sampling_of(config: Data) -> Sampling:
    """How the student of a recipe looks at clips."""
    return Sampling(
        size=config.size,
        frames=config.frames,
        method=config.sampling,
        stride_s=config.stride_s,
        hold_pictures=config.pseudo is not None,
    )
