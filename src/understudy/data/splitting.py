"""Who is learned from and who is tested on: splits for a manifest, by whole groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from understudy.data.checking import check_rows, check_splits
from understudy.data.columns import TEXT, pc
from understudy.data.dealing import Cells, deal_groups
from understudy.errors import UserError

if TYPE_CHECKING:
    from understudy.data.manifest import Manifest


def complete_splits(
    manifest: Manifest,
    *,
    allow_shared_groups: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """Give every row a split, and check the result.

    Where no row names a split, whole groups are dealt into train, val and test (60, 20 and 20 per
    cent) with `seed`. Where there is a train split but no val split, val is carved from train, a
    fifth of it, again by whole groups; a given test split is kept as it is. A row without a label
    stays in train; where its group was dealt to another split, it is left out, which a note says.
    progress: is told what begins and of how many rows. Raises UserError.
    """
    tell = progress or (lambda line: None)
    split = manifest.columns.split
    without = int((pc.equal(split.names, "").to_numpy(zero_copy_only=False)[split.codes]).sum())
    if without and without < len(manifest):
        raise UserError(
            f"{without} of {len(manifest)} rows name no split. Give one to every row (train, val "
            "or test), or to none, and the clips are split by group."
        )
    tell(f"checking {len(manifest):,} rows")
    check_rows(manifest)
    if without:
        tell(f"splitting {len(manifest):,} rows of {len(manifest.columns.group.names):,} groups")
        return split_by_group(manifest, seed=seed)
    check_splits(manifest, allow_shared_groups)
    if "train" in manifest.splits and "val" not in manifest.splits:
        rows = np.array(manifest.rows("train"))
        tell(f"splitting {len(rows):,} rows of train into train and val")
        return deal_rows(manifest, rows, {"train": 0.8, "val": 0.2}, seed)
    return manifest


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
    return deal_rows(manifest, np.arange(len(manifest)), shares, seed)


def cells_of(manifest: Manifest, rows: np.ndarray) -> tuple[Cells, np.ndarray]:
    """Clips of each group and class among these rows, and the group (len(rows),) of each row.

    Groups are numbered by name, so that the order of the rows decides nothing.
    """
    columns = manifest.columns
    used, group = np.unique(columns.group.codes[rows], return_inverse=True)
    by_name = pc.sort_indices(columns.group.names.take(pa.array(used))).to_numpy()
    rank = np.empty(len(used), np.int64)
    rank[by_name] = np.arange(len(used))
    group = rank[group]
    label = columns.label if len(rows) == len(manifest) else columns.label.take(rows)
    cells = Cells.count(np.repeat(group, label.numbers), label.codes, len(used), label.names)
    return cells, group


def deal_rows(
    manifest: Manifest, rows: np.ndarray, shares: dict[str, float], seed: int
) -> Manifest:
    """The manifest with these rows dealt into the splits of `shares`, by those with a label."""
    columns = manifest.columns
    bare = rows[columns.label.numbers[rows] == 0]
    rows = rows[columns.label.numbers[rows] > 0]
    cells, group = cells_of(manifest, rows)
    dealt = deal_groups(cells, shares, seed)
    split = np.full(len(manifest), -1, np.int64)
    split[rows] = dealt[group]
    split[bare] = 0
    codes = columns.group.codes
    held_out = np.isin(codes[bare], codes[rows][dealt[group] > 0])
    chosen = split >= 0
    names = pa.array(list(shares), TEXT).take(pa.array(split[chosen]))
    text = pc.replace_with_mask(columns.split.text(), pa.array(chosen), names)
    found = manifest.with_splits(text)
    if not held_out.any():
        return found
    note = (
        f"{int(held_out.sum())} rows without a label were left out: their groups were dealt to "
        f"{' or '.join(list(shares)[1:])}, where nothing can be learned from them"
    )
    kept = np.setdiff1d(np.arange(len(manifest)), bare[held_out])
    return replace(found.take(kept), notes=(*manifest.notes, note))
