"""Clips of a run for what shipping checks and measures, looked at as in evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from understudy.data.fingerprint import fingerprints
from understudy.data.loader import ClipDataset, Sample
from understudy.data.manifest import Manifest
from understudy.data.sources import read_manifest
from understudy.errors import UserError
from understudy.judge.subject import read_other
from understudy.run import Run
from understudy.types import Sampling, Skipped

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


def open_split(
    run: Run,
    manifest: str | Path | None,
    *,
    sampling: Sampling,
    wanted: tuple[str, ...],
    any_other: bool = False,
) -> Split:
    """The first split of `wanted` that there is: of the clips that the run keeps, or of a manifest.

    sampling: how they are looked at. any_other: whichever split there is does as well. Raises
    UserError if the manifest cannot be read or has none of them.
    """
    config = run.recipe.data
    if manifest is None:
        place, table = Path(run.data["manifest"]), run.manifest
    else:
        # Shared groups make figures too good; here nothing but differences is told.
        place = Path(manifest)
        table = read_manifest(place, allow_shared_groups=True, seed=config.split_seed)
    name = next((name for name in wanted if name in table.splits), None)
    if name is None:
        if not any_other:
            raise UserError(
                f"{place} has no clips in split {wanted[0]}. There: {', '.join(table.splits)}."
            )
        name = table.splits[0]
    return Split(place, name, table.rows(name), ClipDataset(table, config, sampling=sampling))


def own_split(run: Run, manifest: str | Path | None, name: str, *, sampling: Sampling) -> Split:
    """Clips of one split of the run, and no others.

    manifest: where they lie now; a clip of it belongs here if the run keeps one of the same bytes
    and times in this split. By default they lie where they did. Raises UserError when there are
    none.
    """
    own = open_split(run, None, sampling=sampling, wanted=(name,))
    if manifest is None:
        return own
    kept = {key for row in own.rows if (key := _known_by(own.dataset.manifest, row))}
    table = read_other(Path(manifest))
    known = fingerprints([table.path_of(row) for row in range(len(table))])
    table = table.with_fingerprints(list(known))
    rows = [row for row in range(len(table)) if _known_by(table, row) in kept]
    if not rows:
        raise UserError(
            f"None of the {len(table)} clips of {manifest} is one of the {len(kept)} in split "
            f"{name} of {run.name}, by their bytes. What is learned from training clips and chosen "
            "by validation clips takes those of the run, and no others: leave --data out, or name "
            "where they lie now."
        )
    dataset = ClipDataset(table, run.recipe.data, sampling=sampling)
    return Split(Path(manifest), name, rows, dataset)


def _known_by(manifest: Manifest, row: int) -> str | None:
    """The bytes and times of a clip; None where nobody could read it."""
    known = manifest.fingerprints
    return manifest.key_of(row) if known is not None and known[row] else None


def real_clips(
    run: Run, manifest: str | Path | None, *, sampling: Sampling
) -> tuple[list[Tensor], dict[str, Any]]:
    """Up to 16 clips that the run was not trained on, spread over a split.

    Gives the clips, each (t, 3, S, S) uint8 with t <= T, and where they came from, for the record.
    The split is validation, test or, where there is neither, whichever there is. Raises UserError
    if the manifest or every clip is out of reach.
    """
    advice = (
        "An export is checked on real clips. Give some with --data: a manifest, or a folder with "
        "one sub-folder per class."
    )
    try:
        split = open_split(run, manifest, sampling=sampling, wanted=("val", "test"), any_other=True)
    except UserError as error:
        raise UserError(f"{error}\n{advice}") from error
    samples, skipped = readable(split, MOST_CLIPS, why=advice)
    return [sample.frames for sample in samples], {
        "manifest": str(split.place),
        "split": split.name,
        "real_clips": len(samples),
        "skipped": [clip._asdict() for clip in skipped],
    }


def readable(split: Split, most: int, *, why: str) -> tuple[list[Sample], list[Skipped]]:
    """Up to `most` clips spread over a split, and those that could not be read on the way.

    Raises UserError when none can be read; why: a sentence that says what they are needed for.
    """
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for sample in split.spread(most):
        if isinstance(sample, Skipped):
            skipped.append(sample)
        else:
            samples.append(sample)
        if len(samples) == most:
            break
    if not samples:
        raise unreadable(split, skipped, why)
    return samples, skipped


def unreadable(split: Split, skipped: Sequence[Skipped], why: str) -> UserError:
    """What is said where no clip of a split can be read."""
    return UserError(
        f"None of the {len(skipped)} clips in split {split.name} of {split.place} could be read "
        f"({skipped[0].path}: {skipped[0].reason}). {why}"
    )
