"""Clips of a run's data for what shipping checks and measures, prepared as for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from understudy.data.loader import ClipDataset, Sample
from understudy.data.sources import read_manifest
from understudy.errors import UserError
from understudy.run import Run
from understudy.types import Record, Skipped

MOST_CLIPS = 16


@dataclass(frozen=True, slots=True)
class Split:
    """The clips of one split of a manifest, as a run is evaluated on them."""

    place: Path
    name: str
    rows: list[int]
    dataset: ClipDataset

    def spread(self, most: int) -> Iterator[Sample | Skipped]:
        """All clips, so ordered that the first `most` are spread over the whole split."""
        stride = max(1, len(self.rows) // most)
        for start in range(stride):
            for row in self.rows[start::stride]:
                yield self.dataset[row, None]

    def record(self, row: int) -> Record:
        return self.dataset.manifest.records[row]


def open_split(
    run: Run,
    manifest: str | Path | None,
    *,
    frames: int,
    wanted: tuple[str, ...],
    any_other: bool = False,
) -> Split:
    """The first split of `wanted` that the manifest has; by default the run's own manifest.

    frames: most frames of a clip. any_other: whichever split there is does as well. Raises
    UserError if the manifest cannot be read or has none of them.
    """
    place = Path(manifest if manifest is not None else run.data["manifest"])
    # Shared groups make figures too good; here nothing but differences is told.
    table = read_manifest(place, allow_shared_groups=True, seed=run.recipe.data.seed)
    name = next((name for name in wanted if name in table.splits), None)
    if name is None:
        if not any_other:
            raise UserError(
                f"{place} has no clips in split {wanted[0]}. There: {', '.join(table.splits)}."
            )
        name = table.splits[0]
    config = run.recipe.data.model_copy(update={"frames": frames})
    return Split(place, name, table.rows(name), ClipDataset(table, config, augmented=False))


def real_clips(
    run: Run, manifest: str | Path | None, *, frames: int
) -> tuple[list[Tensor], dict[str, Any]]:
    """Up to 16 clips that the run was not trained on, spread over a split.

    Gives the clips, each (t, 3, S, S) uint8 with t <= `frames`, and where they came from, for the
    record. The split is validation, test or, where there is neither, whichever there is. Raises
    UserError if the manifest or every clip is out of reach.
    """
    advice = (
        "An export is checked on real clips. Give some with --data: a manifest, or a folder with "
        "one sub-folder per class."
    )
    try:
        split = open_split(run, manifest, frames=frames, wanted=("val", "test"), any_other=True)
    except UserError as error:
        raise UserError(f"{error}\n{advice}") from error
    samples, skipped = readable(split, MOST_CLIPS)
    if not samples:
        raise UserError(
            f"None of the {len(split.rows)} clips in split {split.name} of {split.place} could be "
            f"read ({skipped[0].path}: {skipped[0].reason}). {advice}"
        )
    return [sample.frames for sample in samples], {
        "manifest": str(split.place),
        "split": split.name,
        "real_clips": len(samples),
        "skipped": [clip._asdict() for clip in skipped],
    }


def readable(split: Split, most: int) -> tuple[list[Sample], list[Skipped]]:
    """Up to `most` clips spread over a split, and those that could not be read on the way."""
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for sample in split.spread(most):
        if isinstance(sample, Skipped):
            skipped.append(sample)
        else:
            samples.append(sample)
        if len(samples) == most:
            break
    return samples, skipped
