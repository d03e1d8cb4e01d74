"""A manifest to batches of clips.

An item is addressed by (row, view), and an epoch is a list of such pairs cut into batches. It is
therefore a pure function of its seed and number: workers need not be told which epoch it is, a
resumed run sees the pixels that an uninterrupted one sees, and of several processes each takes its
share of the same batches.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from understudy.data.decode import DecodeError, read_timeline
from understudy.data.manifest import Manifest
from understudy.data.reader import FileReader, Reader, draws_pixels, sampling_of
from understudy.data.sampling import Timeline
from understudy.data.transforms import generator_of
from understudy.recipe import Data
from understudy.types import Batch, Output, Sampling, Skipped, Unanswered

Key = tuple[int, int | None]
"""A manifest row and a view of it; no view means no augmentation and no random sampling."""

MOST_TIMED = 64
"""Clips whose length is looked up to know the length of all."""


class Answers(Protocol):
    """What a teacher has said already, and how it looks at clips."""

    sampling: Sampling

    def find(self, row: int, view: int | None) -> Output | None:
        """Logits (K,) and embedding (E,) of a clip, or None where the teacher must be asked."""
        ...


class Sample(NamedTuple):
    """One clip: `frames` (T, 3, S, S) uint8, or (T, F) features, and `target`, () int64 or (K,)
    float32. teachers: by name, the answer that is known, or the clip as that teacher sees it."""

    frames: Tensor
    target: Tensor
    row: int
    view: int | None
    teachers: dict[str, Output | Tensor]


class ClipDataset(Dataset):
    """Clips of a manifest by (row, view): a `Sample`, or a `Skipped` where one cannot be read."""

    def __init__(
        self,
        manifest: Manifest,
        config: Data,
        *,
        sampling: Sampling | None = None,
        reader: Reader | None = None,
        teachers: Mapping[str, Answers] | None = None,
    ) -> None:
        self.manifest = manifest
        self.sampling = sampling or sampling_of(config)
        self.reader = reader or FileReader(manifest, config)
        self.teachers = dict(teachers or {})

    def __getitem__(self, key: Key) -> Sample | Skipped:
        row, view = key
        answers: dict[str, Output | None] = {
            name: teacher.find(row, view) for name, teacher in self.teachers.items()
        }
        asked = [name for name, answer in answers.items() if answer is None]
        # Who looks as the student does shares its pixels.
        looks = list(
            dict.fromkeys([self.sampling, *(self.teachers[name].sampling for name in asked)])
        )
        try:
            clips = dict(zip(looks, self.reader.read(row, view, looks), strict=True))
        except DecodeError as error:
            return Skipped(row, self.manifest.records[row].path, error.reason)
        teachers = {
            name: clips[self.teachers[name].sampling] if answer is None else answer
            for name, answer in answers.items()
        }
        return Sample(clips[self.sampling], self._target(row), row, view, teachers)

    def _target(self, row: int) -> Tensor:
        target = self.manifest.target_of(row)
        if isinstance(target, int):
            return torch.tensor(target)
        holds = torch.zeros(len(self.manifest.classes))
        holds[target] = 1.0
        return holds if target else holds.fill_(torch.nan)


class EpochBatches(Sampler[list[Key]]):
    """The batches of one epoch, each a list of (row, view) pairs.

    shuffle_seed: None keeps the order of `rows`; else every epoch has an order of its own. weights:
    one per row; rows are then drawn with replacement. views: None for clips without any random
    draw; 0 for a new view in every epoch; else views repeat after so many epochs. share: (rank,
    processes); each process takes every so-manieth clip of every batch, so that together they see
    what one alone would. A process's part of a short last batch may be empty.
    """

    def __init__(
        self,
        rows: Sequence[int],
        batch_size: int,
        *,
        shuffle_seed: int | None = None,
        weights: Tensor | None = None,
        views: int | None = None,
        share: tuple[int, int] = (0, 1),
        keep_last: bool = True,
    ) -> None:
        assert weights is None or shuffle_seed is not None
        self.rows = torch.as_tensor(rows, dtype=torch.int64)
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.weights = weights
        self.views = views
        self.share = share
        self.keep_last = keep_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that the next pass over the loader shows."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole + (rest > 0 and self.keep_last)

    def __iter__(self) -> Iterator[list[Key]]:
        view = None
        if self.views is not None:
            view = self.epoch % self.views if self.views else self.epoch
        rank, processes = self.share
        order = self._order()
        for number in range(len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield [(row, view) for row in batch[rank::processes].tolist()]

    def _order(self) -> Tensor:
        if self.shuffle_seed is None:
            return self.rows
        generator = generator_of("order", self.shuffle_seed, "0", self.epoch)
        if self.weights is None:
            return self.rows[torch.randperm(len(self.rows), generator=generator)]
        drawn = torch.multinomial(self.weights, len(self.rows), True, generator=generator)
        return self.rows[drawn]


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
    share: tuple[int, int] = (0, 1),
    sampling: Sampling | None = None,
    reader: Reader | None = None,
    teachers: Mapping[str, Answers] | None = None,
    pin_memory: bool = False,
) -> DataLoader:
    """A loader of `Batch` over these rows of a manifest; its `.batch_sampler` is `EpochBatches`.

    augment: draw augmentation and random frames, as `config` says; without it every pass gives the
    same pixels. balanced: draw rows with replacement so that classes are equally likely.
    keep_last: keep the last batch although it is smaller. share: (rank, processes), of a batch.
    sampling: how the model looks at clips; by default as `config` says. reader: where clips come
    from; files by default. teachers: whose answers belong to each clip. pin_memory: for a GPU.
    Choose an epoch by `loader.batch_sampler.set_epoch(epoch)`.
    """
    varied = augment and draws_pixels(config)
    batches = EpochBatches(
        rows,
        batch_size,
        shuffle_seed=shuffle_seed,
        weights=_balancing_weights(manifest, rows) if balanced else None,
        views=(config.augment.views or 0) if varied else None,
        share=share,
        keep_last=keep_last,
    )
    return DataLoader(
        ClipDataset(manifest, config, sampling=sampling, reader=reader, teachers=teachers),
        batch_sampler=batches,
        num_workers=config.workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        persistent_workers=config.workers > 0,  # they keep decoded frames between epochs
        # Its own, since a loader draws a seed for its workers, and dropout would depend on that.
        generator=torch.Generator(),
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
    padded, lengths = _padded([clip.frames for clip in clips])
    pixels = padded.dtype == torch.uint8
    taught, unanswered = {}, {}
    for name in clips[0].teachers:
        known, asked = _answers([clip.teachers[name] for clip in clips], [c.row for c in clips])
        if known is not None:
            taught[name] = known
        if asked is not None:
            unanswered[name] = asked
    return Batch(
        frames=padded if pixels else torch.zeros(len(clips), 0, 3, 0, 0, dtype=torch.uint8),
        lengths=lengths,
        target=torch.stack([clip.target for clip in clips]),
        index=torch.tensor([clip.row for clip in clips]),
        view=clips[0].view,
        skipped=skipped,
        taught=taught,
        unanswered=unanswered,
        features=None if pixels else padded,
        full=bool((lengths == padded.shape[1]).all()),
    )


def _padded(clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(clip) for clip in clips])
    return torch.nn.utils.rnn.pad_sequence(list(clips), batch_first=True), lengths


def _answers(
    given: Sequence[Output | Tensor], rows: Sequence[int]
) -> tuple[Output | None, Unanswered | None]:
    """A teacher's answers for a batch, zeros where it must be asked first, and what to ask it."""
    # An Output is a tuple of tensors, and no tensor itself.
    place = [i for i, one in enumerate(given) if isinstance(one, Tensor)]
    known = next((one for one in given if isinstance(one, Output)), None)
    output = None
    if known is not None:
        none = Output(*map(torch.zeros_like, known))
        pairs = [one if isinstance(one, Output) else none for one in given]
        output = Output(*map(torch.stack, zip(*pairs, strict=True)))
    if not place:
        return output, None
    frames, lengths = _padded([one for one in given if isinstance(one, Tensor)])
    full = bool((lengths == frames.shape[1]).all())
    asked = tuple(rows[i] for i in place)
    return output, Unanswered(frames, lengths, torch.tensor(place), asked, full)


def clip_seconds(manifest: Manifest, rows: Sequence[int]) -> float:
    """The median duration of these clips in seconds; 0 for pictures.

    Of more than 64 clips, 64 spread over them are looked at. Clips that cannot be read do not count
    here; the loader lists them.
    """
    seconds = [timeline.end_s - timeline.start_s for timeline in _some_timelines(manifest, rows)]
    return statistics.median(seconds) if seconds else 0.0


def clip_fps(manifest: Manifest, rows: Sequence[int]) -> float:
    """Their median number of frames a second, of as many of them; 0 for pictures."""
    return statistics.median(clip_rates(manifest, rows) or [0.0])


def clip_rates(manifest: Manifest, rows: Sequence[int]) -> list[float]:
    """Frames a second of as many of them; 0 for a picture."""
    return [timeline.fps for timeline in _some_timelines(manifest, rows)]


def _some_timelines(manifest: Manifest, rows: Sequence[int]) -> Iterator[Timeline]:
    spread = np.linspace(0, len(rows) - 1, min(len(rows), MOST_TIMED)).round().astype(int)
    for row in (rows[place] for place in spread.tolist()):
        record = manifest.records[row]
        try:
            yield read_timeline(manifest.path_of(row), record.start_s, record.end_s)
        except DecodeError:
            continue


def _balancing_weights(manifest: Manifest, rows: Sequence[int]) -> Tensor:
    """A weight per row, so that drawing by it makes all classes equally likely; of several labels a
    row has the mean. Rows without a label are drawn as often as without balancing."""
    labels = [manifest.columns.label.of_row(row) for row in rows]
    bare = torch.tensor([not some for some in labels])
    count = np.bincount(np.concatenate(labels).astype(int), minlength=len(manifest.classes))
    weights = torch.tensor([float(np.mean(1 / count[some])) if some else 0.0 for some in labels])
    if not bare.any():
        return weights
    labelled = int((~bare).sum())
    return torch.where(bare, 1.0, weights * labelled / weights.sum().clamp(min=1e-12))
