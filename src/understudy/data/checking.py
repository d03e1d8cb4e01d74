"""What is refused of a manifest, since it would give wrong or flattering figures.

Every check is a question to whole columns; names are read only of the rows that an error tells.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from understudy.data.columns import distinct, pc
from understudy.errors import UserError, nearest, short, some_of
from understudy.record import UNKNOWN, WARMING_UP, is_reserved

if TYPE_CHECKING:
    from understudy.data.manifest import Manifest

SPLITS = ("train", "val", "test")


def check_manifest(manifest: Manifest, allow_shared_groups: bool = False) -> None:
    """Refuse a manifest that would give wrong or flattering figures.

    Refused: no rows, one class only, an empty path, no label at all or none of a row of val or
    test, a reserved label, an unknown split, the same clip twice, a group in two splits (unless
    `allow_shared_groups`). Raises UserError.
    """
    check_rows(manifest)
    check_splits(manifest, allow_shared_groups)


LONGEST_PATH = 4096
"""Bytes of a path or a group: what operating systems take. A group may be a path."""
LONGEST_LABEL = 255
"""Characters of a label, as of the name of a folder."""


def check_rows(manifest: Manifest) -> None:
    """What is wrong with rows whatever their split. Raises UserError."""
    if not len(manifest):
        raise UserError("The manifest has no rows.")
    _check_each(manifest)
    _check_reserved(manifest)
    _check_alike(manifest.classes)
    _check_twice(manifest)
    if not manifest.classes:
        raise UserError(
            f"None of {len(manifest)} rows has a label; a recogniser needs two classes at least."
        )
    if len(manifest.classes) == 1:
        (label,) = manifest.classes
        count = int((manifest.columns.label.numbers > 0).sum())
        raise UserError(
            f"All {count} clips have the label {label!r}; a recogniser needs "
            "two classes at least. For a folder, give the one whose sub-folders are the classes."
        )


def check_splits(manifest: Manifest, allow_shared_groups: bool) -> None:
    """What is wrong with the splits of rows that are right in themselves. Raises UserError."""
    split = manifest.columns.split
    unknown = [n for n, name in enumerate(split.names.to_pylist()) if name not in SPLITS]
    if unknown:
        row = manifest.records[int(np.isin(split.codes, unknown).argmax())]
        raise UserError(
            f"{row.path} is in split {short(row.split)!r}; a split is train, val or test."
            f"{nearest(row.split, SPLITS)}"
        )
    if not allow_shared_groups:
        _check_groups(manifest)


def _check_each(manifest: Manifest) -> None:
    """The first row with something wrong in it; in one row, its path first, then label, times."""
    columns, label = manifest.columns, manifest.columns.label
    empty = np.zeros(len(manifest), bool)
    if label.names and label.names[0] == "":  # names are sorted
        empty[np.searchsorted(label.offsets, np.flatnonzero(label.codes == 0), "right") - 1] = True
    held_out = np.isin(columns.split.codes, _codes(columns.split.names, ("val", "test")))
    unlabelled = (label.numbers == 0) & held_out  # in train a teacher answers for it
    no_path = pc.equal(columns.path, "").to_numpy(zero_copy_only=False)
    backwards = columns.end_s <= columns.start_s  # never true without both times: NaN
    odd_path = _is_odd(columns.path)
    odd_group = _is_odd(columns.group.names)[columns.group.codes]
    odd_label = np.zeros(len(manifest), bool)
    odd = [code for code, name in enumerate(label.names) if _is_odd_label(name)]
    if odd:
        places = np.flatnonzero(np.isin(label.codes, odd))
        odd_label[np.searchsorted(label.offsets, places, "right") - 1] = True
    wrong = no_path | empty | unlabelled | backwards | odd_path | odd_group | odd_label
    if not wrong.any():
        return
    place = int(wrong.argmax())
    number, row = place + 1, manifest.records[place]
    if no_path[place]:
        raise UserError(f"Row {number} has no path.")
    if odd_path[place] or odd_group[place]:
        what, text = ("path", row.path) if odd_path[place] else ("group", row.group)
        raise UserError(
            f"Row {number}: the {what} {short(text)!r} is longer than {LONGEST_PATH} bytes or "
            "holds a NUL. No file has such a name."
        )
    if empty[place]:
        raise UserError(f"Row {number} ({row.path}) has an empty label.")
    if unlabelled[place]:
        raise UserError(
            f"Row {number} ({row.path}) has no label and is in split {row.split}. A clip without "
            f"one can be learned from, for a teacher alone, and tells nothing in {row.split}: give "
            "it a label, move it to train, or take it out."
        )
    if odd_label[place]:
        name = next(label.names[c] for c in label.of_row(place) if _is_odd_label(label.names[c]))
        raise UserError(
            f"Row {number} ({row.path}): the label {short(name)!r} is longer than {LONGEST_LABEL} "
            "characters or holds control characters. Rename the class."
        )
    raise UserError(
        f"Row {number} ({row.path}) ends at {row.end_s} s, before it starts at {row.start_s} s."
    )


def _check_reserved(manifest: Manifest) -> None:
    for label in filter(is_reserved, manifest.classes):
        raise UserError(
            f"A class is called {label!r}, which is reserved: streams say {UNKNOWN!r} where no "
            f"class is likely enough, and {WARMING_UP!r} before they have seen enough. Rename the "
            "label, for a folder of classes its sub-folder: to none_of_these, for example."
        )


def _check_alike(classes: Sequence[str]) -> None:
    """Refuse two spellings of one class. Single letters, which may be meant, are let be."""
    known: dict[str, str] = {}
    for name in classes:
        plain = re.sub(r"[\s_-]+", " ", name.casefold()).strip()
        other = known.setdefault(plain, name)
        if other != name and len(plain) > 1:
            raise UserError(
                f"The classes {short(other)!r} and {short(name)!r} differ in nothing but case, "
                "blanks or hyphens, and would be learned as two. Give them one spelling, or tell "
                "them apart."
            )


def _codes(names: pa.Array, wanted: Sequence[str]) -> list[int]:
    return [code for code, name in enumerate(names.to_pylist()) if name in wanted]


def _is_odd(text: pa.Array) -> np.ndarray:
    """(N,) bool: what no path can be."""
    long = pc.greater(pc.binary_length(text), LONGEST_PATH)
    return pc.or_(long, pc.match_substring(text, "\0")).to_numpy(zero_copy_only=False)


def _is_odd_label(name: str) -> bool:
    """Whether a label is none: a terminal or a file would take it for something else."""
    return len(name) > LONGEST_LABEL or any(unicodedata.category(one) == "Cc" for one in name)


def _check_twice(manifest: Manifest) -> None:
    ids = manifest.ids().dictionary_encode()
    if len(ids.dictionary) == len(manifest):
        return
    found, first, counts = np.unique(ids.indices.to_numpy(), return_index=True, return_counts=True)
    assert len(found) == len(ids.dictionary)
    twice = manifest.columns.path.take(pa.array(first[counts > 1])).to_pylist()
    raise UserError(
        f"{len(twice)} clips stand in the manifest more than once: {some_of(twice)}. Keep one row "
        "of each; several labels of one clip are written in one row, as first|second."
    )


def _check_groups(manifest: Manifest) -> None:
    group, split = manifest.columns.group, manifest.columns.split
    pairs = distinct(group.codes.astype(np.int64) * len(split.names) + split.codes)
    of_group, of_split = np.divmod(pairs, len(split.names))
    shared = np.flatnonzero(np.bincount(of_group) > 1)
    if not len(shared):
        return
    names = split.names.to_pylist()
    ordered = shared[pc.sort_indices(group.names.take(pa.array(shared))).to_numpy()]
    named = []
    for one in ordered[:_TOLD]:
        stands_in = sorted(names[place] for place in of_split[of_group == one])
        named.append(f"{group.names[int(one)]} ({', '.join(stands_in)})")
    raise UserError(
        f"Groups that stand in more than one split make figures too good; here are "
        f"{len(shared)}: {some_of(named, _TOLD, len(shared))}. Correct the table, leave the split "
        "column empty to have whole groups dealt out, or accept it: data.allow_shared_groups=true "
        "in a recipe, --allow-shared-groups for understudy data."
    )


_TOLD = 5
