"""Data sets on disk -> `Manifest`: one short file per kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from understudy.data.grouping import Grouping
from understudy.data.manifest import Manifest, complete_splits
from understudy.data.media import kind_of
from understudy.data.sources.folder import from_folder
from understudy.data.sources.table import about_rows, from_table, write_table
from understudy.errors import UserError

__all__ = ["from_folder", "from_table", "read_manifest", "read_rows", "write_manifest"]


def read_manifest(
    path: str | Path,
    *,
    allow_shared_groups: bool = False,
    seed: int = 0,
    grouping: Grouping | None = None,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """Read a table (CSV or Parquet) or a folder with one sub-folder per class, and check it.

    Splits are completed as `complete_splits` says. A row without a group is a group of its own.
    grouping: the rule by which rows belong together, where the table is not to say so.
    progress: is told what begins and of how many rows: reading, checking, splitting.

    Raises UserError for anything that is wrong with the table.
    """
    manifest = read_rows(path, grouping=grouping, progress=progress)
    try:
        return complete_splits(
            manifest, allow_shared_groups=allow_shared_groups, seed=seed, progress=progress
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_rows(
    path: str | Path,
    *,
    grouping: Grouping | None = None,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """As `read_manifest`, with the splits that the table names or none, and unchecked."""
    path = Path(path)
    if not os.path.exists(path):
        raise UserError(f"There is no manifest {path}: neither a table nor a folder.")
    kind = kind_of(path)
    if kind == "a folder":
        manifest = from_folder(path)
    elif kind != "file":
        raise UserError(f"{path} is {kind}; a manifest is a .csv or .parquet file, or a folder.")
    else:
        if progress is not None:
            progress(f"reading about {about_rows(path):,} rows of {path}")
        manifest = from_table(path)
    return manifest if grouping is None else grouping(manifest)


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write a table, CSV or Parquet by its suffix, extra columns included.

    Paths are written relative to the table's folder where the media lie below it, else absolute.
    Raises UserError for another suffix.
    """
    write_table(manifest, Path(path))
