"""A table of clips: CSV or Parquet with at least the columns path and label."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from understudy.data.columns import TEXT, Columns, Labels, Text, as_text, pc
from understudy.data.manifest import Manifest
from understudy.data.media import kind_of
from understudy.data.sources.cells import group_cells, is_nested, label_cells, split_cells
from understudy.data.sources.csv_text import check_width, read_csv, without_blanks
from understudy.data.sources.dialect import SAVE_AS_CSV
from understudy.data.sources.moments import read_times
from understudy.data.sources.naming import OWN, check_no_time_is_missed, find_columns, notes_of
from understudy.data.sources.places import one_spelling
from understudy.data.whole_files import whole_file
from understudy.errors import UserError

_ROWS = 16_384
"""Rows that are turned into Python values at a time."""


def from_table(path: Path, columns: Mapping[str, str] | None = None) -> Manifest:
    """Read a table. Paths in it are relative to its folder.

    Columns: path and label are needed; split, group, start_s and end_s (seconds) are optional;
    every other column is kept as text. They are found by other names too, times in other units,
    and the notes of the manifest say how. Several labels of one clip are separated by `|`; an empty
    cell is a clip without a label. A missing split stays empty; a missing group becomes the clip's
    own path.

    columns: which column is what, where that cannot be told: `{"start_ms": "begin"}`; "" for none.

    Raises UserError for a missing column, one that could be meant in two ways, and for times that
    are no numbers.
    """
    notes: list[str] = []
    try:
        read = _read_columns(path, notes)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    where, asked = str(path), columns or {}
    found = find_columns(list(read), asked, where)
    check_no_time_is_missed(found, read, asked, where)
    used = {meaning: read[name] for meaning, name in found.column_of.items() if name in read}
    for meaning, values in used.items():
        if meaning != "label" and is_nested(values.type):
            raise UserError(
                f"{path}: the column {found.column_of[meaning]!r} holds lists or structures; a "
                "manifest holds text and numbers. Write it as text."
            )
    root, path_column = path.absolute().parent, found.column_of["path"]
    label = Labels.parsed(label_cells(used["label"], found.column_of["label"], where))
    times = read_times(found, read, where)
    place = one_spelling(used["path"], root, path_column, where, notes)
    split, group = used.get("split"), used.get("group")
    notes += [*notes_of(found), *times.notes]
    bare = int((label.numbers == 0).sum())
    if bare:
        notes.append(f"{bare} of {len(place)} rows have no label: a teacher alone tells of them")
    return Manifest(
        Columns.of(
            path=place,
            label=label,
            split=None if split is None else split_cells(split, notes, where),
            group=None if group is None else group_cells(group, where),
            start_s=times.start_s,
            end_s=times.end_s,
        ),
        root=root,
        extras={
            f"original_{name}" if name in OWN else name: Text(read[name])
            for name in found.unused
            if not is_nested(read[name].type)
        },
        notes=tuple(notes),
    )


def about_rows(path: Path) -> int:
    """About how many rows a table has, told at once; 0 where it cannot be told."""
    try:
        if kind_of(path) != "file":
            return 0
        if path.suffix.lower() == ".parquet":
            return pq.read_metadata(path).num_rows
        with path.open("rb") as file:
            lines = sum(block.count(b"\n") for block in iter(lambda: file.read(2**22), b""))
            return max(0, lines - 1)
    except (pa.ArrowException, OSError):  # told when it is read
        return 0


def write_table(manifest: Manifest, path: Path) -> None:
    """Write a manifest; see `understudy.data.sources.write_manifest`."""
    if path.suffix not in {".csv", ".parquet"}:
        raise UserError(f"{path}: a manifest is written as .csv or .parquet.")
    columns = manifest.columns
    texts = {
        "path": _relative(manifest, path.absolute().parent),
        "label": pc.fill_null(columns.label.text(), ""),
        "split": columns.split.text(),
        "group": columns.group.text(),
        "start_s": pa.array(columns.start_s, from_pandas=True),
        "end_s": pa.array(columns.end_s, from_pandas=True),
        **{name: as_text(values) for name, values in manifest.extras.items()},
    }
    table = pa.table(texts)
    with whole_file(path) as partial:
        if path.suffix == ".csv":
            with partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(table.column_names)
                for part in table.to_batches(_ROWS):
                    writer.writerows(zip(*(c.to_pylist() for c in part.columns), strict=True))
        else:
            # By a handle: Arrow would take a name with a colon for an address.
            with partial.open("wb") as file:
                pq.write_table(table, file)


def _read_columns(path: Path, notes: list[str]) -> dict[str, pa.Array]:
    """All columns as stripped text (N,), empty where there is no value; lists as they are."""
    suffix = path.suffix.lower()
    if suffix in _TEXT_FILES:
        return read_csv(path, notes)
    if suffix == ".parquet":
        with path.open("rb") as file:
            return _read_parquet(path, file, notes)
    if suffix in _BOOKS:
        raise UserError(f"{path} is a workbook. {SAVE_AS_CSV}")
    raise UserError(f"{path}: a manifest is a .csv, .tsv or .parquet file, or a folder of classes.")


_TEXT_FILES = frozenset({".csv", ".tsv", ".tab", ".txt"})
_BOOKS = frozenset({".xlsx", ".xls", ".xlsm", ".ods", ".numbers"})


def _read_parquet(path: Path, file: BinaryIO, notes: list[str]) -> dict[str, pa.Array]:
    try:
        parquet = pq.ParquetFile(file)
        schema = parquet.schema_arrow
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise UserError(f"{path} is no readable Parquet file: {error}") from error
    check_width(path, len(schema.names))
    if len(set(schema.names)) < len(schema.names):
        raise UserError(f"{path} has two columns of the same name.")
    left_out = [field.name for field in schema if is_nested(field.type) and not _is_list(field)]
    columns, name = {}, ""
    try:
        table = parquet.read([name for name in schema.names if name not in left_out])
        for name in schema.names:
            if name in left_out:
                columns[name] = pa.nulls(0).cast(pa.list_(pa.null()))
                continue
            columns[name] = _cells(table[name])
            table = table.drop_columns(name)  # its memory is free for the next one
    except (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is no readable Parquet file: {name} {error}") from error
    return without_blanks(path, list(columns), list(columns.values()), notes)


def _is_list(field: pa.Field) -> bool:
    kind = field.type
    return pa.types.is_list(kind) and any(is_kind(kind.value_type) for is_kind in _TEXT_LIKE)


def _cells(column: pa.ChunkedArray) -> pa.Array:
    """A column as stripped text, a list of texts as it is."""
    if is_nested(column.type):
        lists = column.cast(pa.list_(TEXT)).combine_chunks()
        lists.validate(full=True)
        return lists
    return pc.utf8_trim_whitespace(_written(column))


def _written(column: pa.ChunkedArray) -> pa.Array:
    """Values of any type as Python writes them, "" for null and NaN. Raises ArrowInvalid for no
    UTF-8."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if any(is_kind(kind) for is_kind in _TEXT_LIKE):
        text = as_text(column.cast(kind))
        text.validate(full=True)  # Parquet promises UTF-8, and nobody has looked
        return pc.fill_null(text, "")
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    values = (value for chunk in column.chunks for value in chunk.to_pylist())
    return pa.array(("" if value is None else str(value) for value in values), TEXT)


_TEXT_LIKE = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_integer,
)


def _relative(manifest: Manifest, folder: Path) -> pa.Array:
    """Paths (N,) as they are written in a table in `folder`."""

    def written(row: int) -> str:
        path = manifest.path_of(row)
        return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()

    paths = manifest.columns.path
    if os.sep != "/":
        return as_text([written(row) for row in range(len(manifest))])
    # What pathlib would write as it is can be joined and cut as text, a hundred times faster.
    root, here = (_with_slash(place) for place in (manifest.root.absolute(), folder))
    full = pc.binary_join_element_wise(_text(root), paths, _text(""))
    found = pc.if_else(pc.starts_with(full, here), pc.utf8_slice_codeunits(full, len(here)), full)
    odd = pc.or_(
        pc.match_substring_regex(paths, r"^/|^$|//|/$|(^|/)\.(/|$)"),
        pc.equal(full, _text(here.removesuffix("/"))),  # the folder itself is a clip
    )
    rows = np.flatnonzero(odd.to_numpy(zero_copy_only=False)).tolist()
    return pc.replace_with_mask(found, odd, as_text([written(row) for row in rows]))


def _with_slash(folder: Path) -> str:
    return f"{folder.as_posix().rstrip('/')}/"


def _text(value: str) -> Any:
    return pa.scalar(value, TEXT)
