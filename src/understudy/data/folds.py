"""Folds: every clip is tested once, by a student that has not met its group.

Few people are too few for one split: a figure from three of them says little, whoever they are.
With K folds each group is tested in one fold and learned from in the others, so that all of the
clips give one figure. A fold holds whole groups, stratified by class; the column `fold` says which
one, 1 to K.

In fold k the clips of fold k are the test split. Validation is a fifth of the others, whole groups
again; the rest is learned from. Clips without a label can only be learned from: they are, in every
fold, unless their group is tested or validated there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from understudy.data.checking import check_rows
from understudy.data.columns import TEXT, Coded, Text, as_text, distinct, pc
from understudy.data.dealing import Cells, deal_groups, even_out
from understudy.data.sources import read_manifest, read_unchecked
from understudy.data.splitting import cells_of, deal_rows
from understudy.errors import UserError
from understudy.recipe import Data

if TYPE_CHECKING:
    from understudy.data.manifest import Manifest

COLUMN = "fold"
"""The further column of a manifest that says in which fold a clip is tested."""
LEAVE_ONE_GROUP_OUT = "leave-one-group-out"
Folds = int | Literal["leave-one-group-out"]
MOST_FOLDS = 1000
"""A student is trained for each."""
_VAL = 0.2
"""Share of validation among the clips that are not tested."""


def read_clips(data: Data, progress: Callable[[str], None] | None = None) -> Manifest:
    """The clips of a recipe in their splits, those of its fold where it names one.

    Raises UserError for whatever is wrong with the table, and for folds that it cannot hold.
    """
    if data.folds is None:
        return read_manifest(
            data.manifest,
            allow_shared_groups=data.allow_shared_groups,
            seed=data.split_seed,
            columns=data.columns,
            progress=progress,
        )
    assert data.fold is not None, "folds are trained one by one"
    return split_by_fold(read_folds(data, progress), data.fold, seed=data.split_seed)


def read_folds(data: Data, progress: Callable[[str], None] | None = None) -> Manifest:
    """The clips of a recipe with folds: those of the table's column `fold`, else dealt here.

    Raises UserError as `deal_folds` does, and for a column that holds other folds.
    """
    assert data.folds is not None
    manifest = read_unchecked(data.manifest, columns=data.columns, progress=progress)
    check_rows(manifest)
    if COLUMN in manifest.extras:
        return _given_folds(manifest, data.folds, data.allow_shared_groups)
    return deal_folds(manifest, data.folds, seed=data.split_seed)


def deal_folds(manifest: Manifest, folds: Folds, *, seed: int = 0) -> Manifest:
    """The same rows with a column `fold`, 1 to K; empty for groups without any label.

    folds: K, dealt by whole groups and stratified by class; or leave-one-group-out, a fold for each
    group. The same rows, in whatever order, and the same seed always give the same folds. Raises
    UserError where a class has too few groups, naming it and the way out.
    """
    cells, group = cells_of(manifest, np.arange(len(manifest)))
    shown = np.zeros(cells.groups, bool)
    shown[cells.group] = True
    _check_enough(cells, int(shown.sum()), folds)
    if folds == LEAVE_ONE_GROUP_OUT:
        _check_left_out(manifest, int(shown.sum()))
        dealt = np.cumsum(shown) - 1
    else:
        dealt = _dealt(cells, int(folds), seed)
    found = _with_folds(manifest, np.where(shown, dealt + 1, 0)[group])
    if cells.groups < len(manifest):
        return found
    note = "Every clip is a group of its own: one person's may be tested and learned from at once."
    return replace(found, notes=(*manifest.notes, note))


def split_by_fold(manifest: Manifest, fold: int, *, seed: int = 0) -> Manifest:
    """The rows of a manifest with folds, in the splits of one of them.

    Clips without a label whose group is tested or validated are left out, and counted in `notes`.
    Raises UserError for a fold that is not there, and where training and validation cannot both
    hold every class.
    """
    numbers = fold_numbers(manifest)
    count = int(numbers.max())
    if not 1 <= fold <= count:
        raise UserError(f"There is no fold {fold}; there are 1 to {count}.")
    labelled, group = manifest.columns.label.numbers > 0, manifest.columns.group.codes
    test = labelled & (numbers == fold)
    rest = np.flatnonzero(labelled & ~test)
    _check_rest(manifest, rest, fold)
    found = manifest.with_splits(np.where(test, "test", "train").tolist())
    try:
        found = deal_rows(found, rest, {"train": 1 - _VAL, "val": _VAL}, seed)
    except UserError as error:
        raise UserError(f"In fold {fold}, of the groups that are not tested: {error}") from error
    judging = np.concatenate([found.rows("val"), found.rows("test")])
    dropped = ~labelled & np.isin(group, group[judging])
    if not dropped.any():
        return found
    note = (
        f"Clips without a label that fold {fold} leaves out, since their group is tested or "
        f"validated there: {int(dropped.sum())}."
    )
    return replace(found.take(np.flatnonzero(~dropped)), notes=(*manifest.notes, note))


def each_fold(manifest: Manifest, *, seed: int = 0) -> Iterator[Manifest]:
    """Every fold in turn, as `split_by_fold` gives it: what is wrong with any of them is known
    before the first one is trained."""
    for fold in range(1, int(fold_numbers(manifest).max()) + 1):
        yield split_by_fold(manifest, fold, seed=seed)


def fold_numbers(manifest: Manifest) -> np.ndarray:
    """(N,) int64: the fold in which each row is tested, 0 for none."""
    found = as_text(manifest.extras[COLUMN])
    return pc.if_else(pc.equal(found, ""), "0", found).cast(pa.int64()).to_numpy()


def _dealt(cells: Cells, folds: int, seed: int) -> np.ndarray:
    """(G,) the fold of each group, from 0."""
    names = [f"fold {number}" for number in range(1, folds + 1)]
    try:
        dealt = deal_groups(cells, dict.fromkeys(names, 1 / folds), seed)
    except UserError as error:
        raise UserError(f"{error} Or take fewer folds, or leave one group out in turn.") from error
    return even_out(cells, dealt, folds)


def _with_folds(manifest: Manifest, numbers: np.ndarray) -> Manifest:
    text = pa.array(numbers).cast(TEXT)
    found = Text(pc.if_else(pa.array(numbers == 0), pa.scalar("", TEXT), text))
    return replace(manifest, extras={**manifest.extras, COLUMN: found})


def _given_folds(manifest: Manifest, folds: Folds, allow_shared_groups: bool) -> Manifest:
    """The folds of a table that names them, numbered from 1 in the order of their names."""
    given = Coded.of(as_text(manifest.extras[COLUMN]))
    names: list[str] = given.names.to_pylist()
    labelled = manifest.columns.label.numbers > 0
    if "" in names and (labelled & (given.codes == names.index(""))).any():
        bare = int((labelled & (given.codes == names.index(""))).sum())
        raise UserError(
            f"{bare} of {int(labelled.sum())} labelled clips name no fold. Give one to every row, "
            "or take the column out and have folds dealt."
        )
    ordered = sorted(filter(None, names), key=_by_number)
    groups = manifest.columns.group
    pairs = distinct(groups.codes[labelled].astype(np.int64) * len(names) + given.codes[labelled])
    held = np.bincount(pairs // len(names), minlength=len(groups.names))
    if (held > 1).any() and not allow_shared_groups:
        first = groups.names[int(np.argmax(held > 1))].as_py()
        raise UserError(
            f"{int((held > 1).sum())} groups stand in more than one fold, the first of them "
            f"{first}: figures would be too good. Correct the column fold, or have folds dealt: "
            "understudy data folds. To accept it: data.allow_shared_groups=true."
        )
    single = bool((np.bincount(pairs % len(names), minlength=len(names)) <= 1).all())
    if (folds == LEAVE_ONE_GROUP_OUT and not single) or (
        folds != LEAVE_ONE_GROUP_OUT and folds != len(ordered)
    ):
        raise UserError(
            f"The table's column fold holds {len(ordered)} folds ({', '.join(ordered[:5])}"
            f"{', ...' if len(ordered) > 5 else ''}), and data.folds is {folds}. Set "
            f"data.folds={len(ordered)}, or deal others: understudy data folds."
        )
    number = {name: place for place, name in enumerate(ordered, start=1)} | {"": 0}
    found = _with_folds(manifest, np.array([number[name] for name in names])[given.codes])
    if ordered == [str(place) for place in range(1, len(ordered) + 1)]:
        return found
    note = f"The folds {ordered[0]} to {ordered[-1]} of the table are called 1 to {len(ordered)}."
    return replace(found, notes=(*found.notes, note))


def _by_number(name: str) -> tuple[float, str]:
    return (float(name) if name.isdecimal() else float("inf"), name)


def _check_left_out(manifest: Manifest, count: int) -> None:
    if count == len(manifest):
        raise UserError(
            f"Each of {count} clips is a group of its own, so leave-one-group-out would train "
            f"{count} students. Say which clips belong together (understudy data csv with "
            "--group-column, --group-level, --group-by or --neighbours), or take a number of folds."
        )
    if count > MOST_FOLDS:
        raise UserError(
            f"leave-one-group-out would train {count:,} students, one for each group; "
            f"{MOST_FOLDS:,} are the most. With so many groups take folds: 5 or 10."
        )


def _check_enough(cells: Cells, groups: int, folds: Folds) -> None:
    """Every class in training, validation and, of a number of folds, in every test."""
    if groups < 3:
        raise UserError(
            f"Folds take 3 groups (people) at least, to test, to validate and to learn from; there "
            f"are {groups}. Say who is who in the column group."
        )
    by_number = folds != LEAVE_ONE_GROUP_OUT
    least = folds if isinstance(folds, int) else 3
    few = _few(cells, cells.classes, least)
    if not few:
        return
    fewest = min(number for _, number in few)
    ways = ["merge such classes", "leave them out", "film more people"]
    if by_number and fewest >= 3:
        ways = [
            f"take {fewest} folds",
            f"leave one group out in turn ({LEAVE_ONE_GROUP_OUT})",
            *ways,
        ]
    named = ", ".join(f"{name} ({number})" for name, number in few[:10])
    raise UserError(
        f"With {f'{folds} folds' if by_number else folds} every class needs clips of {least} "
        f"groups (people) at least, so that it is missing nowhere. Too few: {named}"
        f"{f' and {len(few) - 10} more' if len(few) > 10 else ''}. What helps: "
        f"{', '.join(ways[:-1])} or {ways[-1]}."
    )


def _check_rest(manifest: Manifest, rest: np.ndarray, fold: int) -> None:
    few = _few(cells_of(manifest, rest)[0], manifest.classes, 2)
    if few:
        name, number = few[0]
        raise UserError(
            f"In fold {fold}, {number} of the groups that are not tested show {name!r}: it takes "
            "one to learn from and one to validate. Take more folds, leave one group out in turn, "
            "merge such classes or film more people."
        )


def _few(cells: Cells, classes: tuple[str, ...], least: int) -> list[tuple[str, int]]:
    """The classes that fewer groups show, and how many do."""
    numbers = np.bincount(cells.label, minlength=len(cells.classes)).tolist()
    groups = dict.fromkeys(classes, 0) | dict(zip(cells.classes, numbers, strict=True))
    return [(name, number) for name, number in groups.items() if number < least]
