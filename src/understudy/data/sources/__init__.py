"""Data sets on disk -> `Manifest`: one short file per kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from understudy.data.background import with_background
from understudy.data.grouping import Grouping
from understudy.data.manifest import Manifest, complete_splits
from understudy.data.media import kind_of
from understudy.data.sources.folder import from_folder
from understudy.data.sources.table import about_rows, from_table, write_table
from understudy.errors import UserError

__all__ = ["from_folder", "from_table", "read_manifest", "read_unchecked", "write_manifest"]


def read_manifest(
    path: str | Path,
    *,
    allow_shared_groups: bool = False,
    background: bool = False,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    grouping: Grouping | None = None,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """Read a table (CSV or Parquet) or a folder with one sub-folder per class, and check it.

    Splits are completed as `complete_splits` says. A row without a group is a group of its own.
    background: add rows for what lies between the segments of a video, as `with_background` says.
    columns: which column of a table is what, see `from_table`. grouping: another rule for who is
    who than the column group. progress: is told what begins and of how many rows: reading,
    checking, splitting.

    Raises UserError for anything that is wrong with the table.
    """
    if grouping is not None and grouping.column is not None:
        # The table may have taken it for its groups by its name already.
        columns = {**(columns or {}), "group": grouping.column}
        grouping = replace(grouping, column="group")
    manifest = read_unchecked(path, columns=columns, progress=progress)
    try:
        if grouping is not None:
            manifest = grouping(manifest)
        if background:
            manifest = with_background(manifest)
        return complete_splits(
            manifest, allow_shared_groups=allow_shared_groups, seed=seed, progress=progress
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_unchecked(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """The rows of a table or a folder as they are, whatever is wrong with them.

    Raises UserError where they cannot be read.
    """
    path = Path(path)
    if not os.path.exists(path):
        raise UserError(f"There is no manifest {path}: neither a table nor a folder.")
    kind = kind_of(path)
    if kind == "a folder":
        if columns:
            raise UserError(f"{path} is a folder; columns are those of a table.")
        return from_folder(path)
    if kind != "file":
        raise UserError(
            f"{path} is {kind}; a manifest is a .csv, .tsv or .parquet file, or a folder."
        )
    if progress is not None:
        progress(f"reading about {about_rows(path):,} rows of {path}")
    return from_table(path, columns)


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write a table, CSV or Parquet by its suffix, extra columns included.

    Paths are written relative to the table's folder where the media lie below it, else absolute.
    Raises UserError for another suffix.
    """
    write_table(manifest, Path(path))
