"""What is wrong with rows, classes, groups and splits, all of it and not the first fault alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from understudy.data.check.findings import Finding
from understudy.data.check.seen import NO_FILE
from understudy.data.checking import SPLITS
from understudy.data.columns import distinct
from understudy.data.manifest import Manifest, complete_splits
from understudy.errors import UserError

IMBALANCED = 10
"""A class of train with as many times the clips of another, or more."""


def with_splits(manifest: Manifest, seed: int) -> tuple[Manifest, list[Finding]]:
    """The manifest as training would split it, and why it can't be where it can't: then its rows
    stay as they are."""
    try:
        return complete_splits(manifest, allow_shared_groups=True, seed=seed), []
    except UserError as error:
        return manifest, [Finding("table", "", str(error))]


def row_findings(manifest: Manifest, allow_shared_groups: bool) -> list[Finding]:
    """Of a manifest that `with_splits` gave."""
    if not set(manifest.splits) <= set(SPLITS):
        return []
    found = [] if allow_shared_groups else list(_shared_groups(manifest))
    return found + list(_classes(manifest))


def missing(manifest: Manifest) -> list[Finding]:
    """Rows whose file is not there; nothing is opened."""
    return [
        Finding("missing", path, NO_FILE, (row,), (row,))
        for row, path in enumerate(manifest.columns.path.to_pylist())
        if not os.path.exists(manifest.path_of(row))
    ]


def _shared_groups(manifest: Manifest) -> Iterator[Finding]:
    group, split = manifest.columns.group, manifest.columns.split
    cell = group.codes.astype(np.int64) * len(split.names) + split.codes
    pairs = distinct(cell)
    of_group = pairs // len(split.names)
    shared = np.flatnonzero(np.bincount(of_group) > 1)
    order = np.argsort(group.codes, kind="stable")
    edges = np.searchsorted(group.codes[order], [shared, shared + 1])
    names = split.names.to_pylist()
    for code, low, high in zip(shared.tolist(), *edges.tolist(), strict=True):
        rows = np.sort(order[low:high])
        codes, counts = np.unique(split.codes[rows], return_counts=True)
        told = {names[c]: n for c, n in zip(codes.tolist(), counts.tolist(), strict=True)}
        reason = ", ".join(f"{told[one]} in {one}" for one in SPLITS if one in told)
        # Fewest rows are lost where the group stays in the split that has most of it.
        drop = rows[split.codes[rows] != codes[counts.argmax()]]
        yield Finding(
            "shared_group",
            str(group.names[code]),
            f"clips: {reason}",
            tuple(rows.tolist()),
            tuple(drop.tolist()),
        )


def _classes(manifest: Manifest) -> Iterator[Finding]:
    counts = manifest.counts()
    for split, numbers in counts.items():
        kind = "no_train_class" if split == "train" else "no_class"
        for label in (label for label, number in numbers.items() if not number):
            yield Finding(kind, label, f"{split} has no clip of it")
    numbers = {label: number for label, number in counts.get("train", {}).items() if number}
    if numbers:
        few, many = min(numbers, key=numbers.__getitem__), max(numbers, key=numbers.__getitem__)
        if numbers[many] >= IMBALANCED * numbers[few]:
            reason = f"{numbers[few]} clips in train, where {many} has {numbers[many]}"
            yield Finding("imbalance", few, reason)


def without(manifest: Manifest, drop: set[int]) -> Manifest:
    """The manifest without these rows."""
    return manifest.take([row for row in range(len(manifest)) if row not in drop])


def to_drop(findings: list[Finding]) -> set[int]:
    """The rows whose loss mends what must be mended."""
    return {row for finding in findings if finding.level == "mend" for row in finding.drop}


def listed(manifest: Manifest, place: Path) -> set[int]:
    """The rows whose ids are the lines of a text file. Raises UserError for a line that is none."""
    try:
        lines = place.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{place} cannot be read: {error}.") from error
    row_of = {name: row for row, name in enumerate(manifest.ids().to_pylist())}
    wanted = [line.strip() for line in lines if line.strip()]
    unknown = [line for line in wanted if line not in row_of]
    if unknown:
        raise UserError(
            f"{place}: {len(unknown)} lines name no clip of the manifest: {unknown[0]!r}. Give one "
            "path a line, as the manifest has them, with #t=START,END where a row has times."
        )
    return {row_of[line] for line in wanted}
