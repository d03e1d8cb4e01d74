"""A manifest to batches of clips.

An item is addressed by (row, view), and the sampler yields those pairs. An epoch is therefore a
pure function of its seed and number: workers need not be told which epoch it is, and a resumed run
sees the pixels that an uninterrupted one sees.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from understudy.data.decode import DecodeError, read_frames, read_timeline
from understudy.data.manifest import Manifest
from understudy.data.pseudo import held, picture_side, pseudo_clip
from understudy.data.sampling import sample_times
from understudy.data.transforms import augment, draw_seed, prepare
from understudy.recipe import Data
from understudy.types import Batch, Skipped

Key = tuple[int, int | None]
"""A manifest row and a view of it; no view means no augmentation and no random sampling."""


class Sample(NamedTuple):
    """One clip: `frames` (T, 3, S, S) uint8 and `target`, () int64 or (K,) float32."""

    frames: Tensor
    target: Tensor
    row: int
    view: int | None


class _Decoded(NamedTuple):
    """Decoded frames before augmentation, (T, 3, H, W) uint8, and whether they are one still."""

    frames: Tensor
    is_picture: bool


class ClipDataset(Dataset):
    """Clips of a manifest by (row, view): a `Sample`, or a `Skipped` where one cannot be read."""

    def __init__(self, manifest: Manifest, config: Data, *, augmented: bool) -> None:
        self.manifest = manifest
        self.config = config
        self._short_side = self._picture_side = config.size
        if augmented:
            self._short_side = self._picture_side = _decoded_side(config)
            if config.pseudo is not None:
                self._picture_side = picture_side(self._short_side, config.pseudo)
        self._kept: dict[int, _Decoded] = {}
        self._kept_bytes = 0

    def __getitem__(self, key: Key) -> Sample | Skipped:
        row, view = key
        try:
            frames, is_picture = self._decoded(row, view)
        except DecodeError as error:
            return Skipped(row, self.manifest.records[row].path, error.reason)
        config = self.config
        pseudo = config.pseudo if is_picture else None
        if view is None:
            frames = prepare(frames, config.size)
            if pseudo is not None:
                frames = held(frames, config.frames)
        else:
            draw = {"seed": config.seed, "record": row, "view": view}
            if pseudo is not None:
                frames = pseudo_clip(frames[0], config.frames, self._short_side, pseudo, **draw)
            frames = augment(frames, config.size, config.augment, **draw)
        return Sample(frames, self._target(row), row, view)

    def _decoded(self, row: int, view: int | None) -> _Decoded:
        if row in self._kept:
            return self._kept[row]
        generator = None
        if view is not None and not _is_fixed(self.config.sampling):
            generator = torch.Generator()
            generator.manual_seed(draw_seed("sampling", self.config.seed, row, view))
        path, record = self.manifest.path_of(row), self.manifest.records[row]
        timeline = read_timeline(path, record.start_s, record.end_s)
        times_s = sample_times(
            self.config.sampling,
            self.config.frames,
            timeline,
            stride_s=self.config.stride_s,
            generator=generator,
        )
        short_side = self._picture_side if timeline.is_picture else self._short_side
        frames = read_frames(path, times_s, short_side=short_side)
        decoded = _Decoded(frames, timeline.is_picture)
        if generator is None and self._kept_bytes + frames.nbytes <= self.config.memory_mb * 2**20:
            self._kept[row] = decoded
            self._kept_bytes += frames.nbytes
        return decoded

    def _target(self, row: int) -> Tensor:
        target = self.manifest.target_of(row)
        if isinstance(target, int):
            return torch.tensor(target)
        return torch.zeros(len(self.manifest.classes)).index_fill_(0, torch.tensor(target), 1.0)


class EpochSampler(Sampler[Key]):
    """The (row, view) pairs of one epoch.

    shuffle_seed: None keeps the order of `rows`; else every epoch has an order of its own. weights:
    one per row; rows are then drawn with replacement. views: None for clips without any random
    draw; 0 for a new view in every epoch; else views repeat after so many epochs.
    """

    def __init__(
        self,
        rows: Sequence[int],
        *,
        shuffle_seed: int | None = None,
        weights: Tensor | None = None,
        views: int | None = None,
    ) -> None:
        assert weights is None or shuffle_seed is not None
        self.rows = list(rows)
        self.shuffle_seed = shuffle_seed
        self.weights = weights
        self.views = views
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that the next pass over the loader shows."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Key]:
        view = None
        if self.views is not None:
            view = self.epoch % self.views if self.views else self.epoch
        for number in self._order():
            yield self.rows[number], view

    def _order(self) -> list[int]:
        if self.shuffle_seed is None:
            return list(range(len(self.rows)))
        generator = torch.Generator()
        generator.manual_seed(draw_seed("order", self.shuffle_seed, 0, self.epoch))
        if self.weights is None:
            return torch.randperm(len(self.rows), generator=generator).tolist()
        drawn = torch.multinomial(self.weights, len(self.rows), True, generator=generator)
        return drawn.tolist()


def make_loader(
    manifest: Manifest,
    config: Data,
    rows: Sequence[int],
    *,
    batch_size: int,
    shuffle_seed: int | None = None,
    balanced: bool = False,
    augment: bool = False,
    keep_last: bool = True,
) -> DataLoader:
    """A loader of `Batch` over these rows of a manifest; its `.sampler` is an `EpochSampler`.

    augment: draw augmentation and random frames, as `config` says; without it every pass gives the
    same pixels. balanced: draw rows with replacement so that classes are equally likely.
    keep_last: keep the last batch although it is smaller. Choose an epoch by
    `loader.sampler.set_epoch(epoch)`, or by `loader.set_epoch(epoch)` on a loader that accelerate
    prepared: it hides the sampler, and counts epochs from 0 by itself where it is not told.
    """
    varied = augment and draws_pixels(config)
    sampler = EpochSampler(
        rows,
        shuffle_seed=shuffle_seed,
        weights=_balancing_weights(manifest, rows) if balanced else None,
        views=(config.augment.views or 0) if varied else None,
    )
    return DataLoader(
        ClipDataset(manifest, config, augmented=varied),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=config.workers,
        collate_fn=collate,
        drop_last=not keep_last,
        persistent_workers=config.workers > 0,  # they keep decoded frames between epochs
    )


def collate(samples: Sequence[Sample | Skipped]) -> Batch:
    """Samples of one view to a batch; shorter clips are padded with zeros to the longest.

    Clips that could not be read are listed in `skipped`; a batch of nothing else has B = 0.
    """
    skipped = tuple(sample for sample in samples if isinstance(sample, Skipped))
    clips = [sample for sample in samples if isinstance(sample, Sample)]
    if not clips:
        none = torch.zeros(0, dtype=torch.int64)
        return Batch(torch.zeros(0, 1, 3, 1, 1, dtype=torch.uint8), none, none, none, None, skipped)
    return Batch(
        frames=torch.nn.utils.rnn.pad_sequence([clip.frames for clip in clips], batch_first=True),
        lengths=torch.tensor([len(clip.frames) for clip in clips]),
        target=torch.stack([clip.target for clip in clips]),
        index=torch.tensor([clip.row for clip in clips]),
        view=clips[0].view,
        skipped=skipped,
    )


def clip_seconds(manifest: Manifest, rows: Sequence[int]) -> float:
    """The median duration of these clips in seconds; 0 for pictures.

    Clips that cannot be read do not count here; the loader lists them.
    """
    seconds = []
    for row in rows:
        record = manifest.records[row]
        try:
            timeline = read_timeline(manifest.path_of(row), record.start_s, record.end_s)
        except DecodeError:
            continue
        seconds.append(timeline.end_s - timeline.start_s)
    return statistics.median(seconds) if seconds else 0.0


def draws_pixels(config: Data) -> bool:
    """Whether training shows a clip's frames differently from epoch to epoch."""
    return config.augment.active or config.pseudo is not None or not _is_fixed(config.sampling)


def _is_fixed(sampling: str) -> bool:
    """Whether a sampling method draws nothing at random."""
    return sampling in {"uniform", "centre"}


def _decoded_side(config: Data) -> int:
    """Short side at which frames are kept, so that the smallest crop still has all its pixels."""
    scale = config.augment.crop_scale
    return math.ceil(config.size / math.sqrt(scale)) if scale > 0 else config.size * 4


def _balancing_weights(manifest: Manifest, rows: Sequence[int]) -> Tensor:
    """A weight per row, so that drawing by it makes all classes equally likely."""
    labels = [manifest.columns.label.of_row(row) for row in rows]
    count = Counter(label for some in labels for label in some)
    return torch.tensor([sum(1 / count[label] for label in some) / len(some) for some in labels])
