"""The table of clips: what it holds, how it is checked and split by group.

A manifest holds one row per clip. `group` is the person or the source video; figures are honest
only when no group stands in two splits, so that is checked whenever a manifest is read.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from understudy.errors import UserError, nearest
from understudy.types import Record

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Manifest:
    """Rows of clips and where they lie.

    records: the rows; their number is the `index` of a batch. root: folder that relative paths
    start from. extras: further columns of the table, kept as text. ignored: files that a source
    saw and did not take, since they are no media.
    """

    records: tuple[Record, ...]
    root: Path
    extras: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """All labels, sorted; their order is the order of logits."""
        return tuple(sorted({label for row in self.records for label in labels_of(row)}))

    @cached_property
    def is_multi_label(self) -> bool:
        """Whether several labels may hold at once."""
        return any(isinstance(row.label, tuple) for row in self.records)

    @cached_property
    def _class_index(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.classes)}

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that have rows, in the order train, val, test."""
        present = {row.split for row in self.records}
        return tuple(s for s in SPLITS if s in present) + tuple(sorted(present - set(SPLITS)))

    def rows(self, split: str) -> list[int]:
        """Row numbers of a split. Raises UserError if it has none."""
        found = [number for number, row in enumerate(self.records) if row.split == split]
        if not found:
            raise UserError(
                f"The manifest has no clips in split {split!r}. There: {', '.join(self.splits)}."
                f"{nearest(split, self.splits)}"
            )
        return found

    def path_of(self, row: int) -> Path:
        """Where the media of a row lies; absolute."""
        return (self.root / self.records[row].path).absolute()

    def target_of(self, row: int) -> int | list[int]:
        """Class index of a row, or all of its class indices in a multi-label manifest."""
        indices = [self._class_index[label] for label in labels_of(self.records[row])]
        if self.is_multi_label:
            return indices
        (index,) = indices
        return index

    def counts(self) -> dict[str, dict[str, int]]:
        """Clips per split and class, classes without clips included."""
        found = Counter((row.split, label) for row in self.records for label in labels_of(row))
        return {
            split: {label: found[split, label] for label in self.classes} for split in self.splits
        }

    def fingerprint(self) -> str:
        """SHA-256 over all rows, in order; pixels and extra columns do not enter."""
        digest = hashlib.sha256()
        for row in self.records:
            content = (row.path, labels_of(row), row.split, row.group, row.start_s, row.end_s)
            digest.update(json.dumps(content).encode() + b"\n")
        return digest.hexdigest()


def labels_of(record: Record) -> tuple[str, ...]:
    """The labels of a row, one or several, as a tuple."""
    return record.label if isinstance(record.label, tuple) else (record.label,)


def complete_splits(
    manifest: Manifest, *, allow_shared_groups: bool = False, seed: int = 0
) -> Manifest:
    """Give every row a split, and check the result.

    Where no row names a split, whole groups are dealt into train, val and test (60, 20 and 20 per
    cent) with `seed`. Where there is a train split but no val split, val is carved from train, a
    fifth of it, again by whole groups; a given test split is kept as it is. Raises UserError.
    """
    without = sum(not row.split for row in manifest.records)
    if without and without < len(manifest):
        raise UserError(
            f"{without} of {len(manifest)} rows name no split. Give one to every row (train, val "
            "or test), or to none, and the clips are split by group."
        )
    if without:
        _check_rows(manifest)
        manifest = split_by_group(manifest, seed=seed)
    check_manifest(manifest, allow_shared_groups)
    if "train" in manifest.splits and "val" not in manifest.splits:
        manifest = _deal(manifest, manifest.rows("train"), {"train": 0.8, "val": 0.2}, seed)
        check_manifest(manifest, allow_shared_groups)
    return manifest


def check_manifest(
    manifest: Manifest, allow_shared_groups: bool = False, *, files: bool = False
) -> None:
    """Refuse a manifest that would give wrong or flattering figures.

    Refused: no rows, one class only, an empty label or path, an unknown split, the same clip twice,
    a group in two splits (unless `allow_shared_groups`); with `files`, media that are missing.
    Raises UserError.
    """
    _check_rows(manifest)
    for row in manifest.records:
        if row.split not in SPLITS:
            raise UserError(
                f"{row.path} is in split {row.split!r}; a split is train, val or test."
                f"{nearest(row.split, SPLITS)}"
            )
    if not allow_shared_groups:
        _check_groups(manifest)
    if files:
        missing = [row.path for n, row in enumerate(manifest.records) if not _there(manifest, n)]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(manifest)} files are missing below {manifest.root}: "
                f"{_some(missing)}"
            )


def split_by_group(
    manifest: Manifest, *, val: float = 0.2, test: float = 0.2, seed: int = 0
) -> Manifest:
    """Deal whole groups into train, val and test, stratified by class, replacing given splits.

    `val` and `test` are shares of the clips; they are met as nearly as whole groups allow. The same
    rows and seed always give the same split. Raises UserError where a class has too few groups to
    stand in every split.
    """
    if not (val > 0 and test >= 0 and val + test < 1):
        raise UserError(f"val={val} and test={test} are no shares that leave clips for training.")
    shares = {"train": 1 - val - test, "val": val, "test": test}
    shares = {split: share for split, share in shares.items() if share > 0}
    return _deal(manifest, list(range(len(manifest))), shares, seed)


def _deal(manifest: Manifest, rows: Sequence[int], shares: dict[str, float], seed: int) -> Manifest:
    from understudy.data.splitting import deal_groups

    dealt = deal_groups(
        [manifest.records[row].group for row in rows],
        [labels_of(manifest.records[row]) for row in rows],
        shares,
        seed,
    )
    records = list(manifest.records)
    for row, split in zip(rows, dealt, strict=True):
        records[row] = replace(records[row], split=split)
    return replace(manifest, records=tuple(records))


def _check_rows(manifest: Manifest) -> None:
    if not manifest.records:
        raise UserError("The manifest has no rows.")
    for number, row in enumerate(manifest.records, start=1):
        if not row.path:
            raise UserError(f"Row {number} has no path.")
        labels = labels_of(row)
        if not labels or not all(labels):
            raise UserError(f"Row {number} ({row.path}) has an empty label.")
        if row.start_s is not None and row.end_s is not None and row.end_s <= row.start_s:
            raise UserError(
                f"Row {number} ({row.path}) ends at {row.end_s} s, before it starts at "
                f"{row.start_s} s."
            )
    clips = Counter((row.path, row.start_s, row.end_s) for row in manifest.records)
    twice = [path for (path, _, _), count in clips.items() if count > 1]
    if twice:
        raise UserError(
            f"{len(twice)} clips stand in the manifest more than once: {_some(twice)} Keep one row "
            "of each; several labels of one clip are written in one row, as first|second."
        )
    if len(manifest.classes) == 1:
        (label,) = manifest.classes
        raise UserError(
            f"All {len(manifest)} clips have the label {label!r}; a recogniser needs "
            "two classes at least. For a folder, give the one whose sub-folders are the classes."
        )


def _check_groups(manifest: Manifest) -> None:
    splits: dict[str, set[str]] = {}
    for row in manifest.records:
        splits.setdefault(row.group, set()).add(row.split)
    shared = sorted(group for group, found in splits.items() if len(found) > 1)
    if shared:
        named = [f"{group} ({', '.join(sorted(splits[group]))})" for group in shared]
        raise UserError(
            f"Groups that stand in more than one split make figures too good; here are "
            f"{len(shared)}: {_some(named)} Correct the table, leave the split column empty to "
            "have whole groups dealt out, or accept it: data.allow_shared_groups=true in a recipe, "
            "--allow-shared-groups for understudy data."
        )


def _there(manifest: Manifest, row: int) -> bool:
    return manifest.path_of(row).exists()


def _some(names: Sequence[str]) -> str:
    """The first five names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}."
