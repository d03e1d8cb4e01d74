"""A table of clips: CSV or Parquet with at least the columns path and label."""

from __future__ import annotations

import csv
import difflib
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from understudy.data.columns import TEXT, Columns, Labels, Text, as_text, pc
from understudy.data.manifest import Manifest
from understudy.data.media import kind_of
from understudy.data.sources.csv_text import check_width, read_csv
from understudy.data.whole_files import whole_file
from understudy.errors import UserError, nearest

COLUMNS = ("path", "label", "split", "group", "start_s", "end_s")

_ROWS = 16_384
"""Rows that are turned into Python values at a time."""


def from_table(path: Path) -> Manifest:
    """Read a table. Paths in it are relative to its folder.

    Columns: path and label are needed; split, group, start_s and end_s (seconds) are optional;
    every other column is kept as text. Several labels of one clip are separated by `|`; an empty
    cell is a clip without a label. A missing split stays empty; a missing group becomes the
    clip's own path.

    Raises UserError for a missing column, naming a column that looks like a misspelling of it, and
    for times that are no numbers.
    """
    try:
        columns = _read_columns(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    for name in ("path", "label"):
        if name not in columns:
            raise UserError(
                f"{path} has no column {name}. There: {', '.join(columns)}."
                f"{nearest(name, list(columns))}"
            )
    for name in columns:
        close = difflib.get_close_matches(name.lower(), COLUMNS, n=1, cutoff=0.8)
        if close and name not in COLUMNS and close[0] not in columns:
            raise UserError(f"{path} has a column {name!r}. Did you mean {close[0]}? Rename it.")
    label = Labels.parsed(_or_none(columns["label"]))
    bare = int((label.numbers == 0).sum())
    notes = [f"{bare} of {len(label.numbers)} rows have no label: a teacher alone tells of them"]
    times = {name: columns[name] for name in ("start_s", "end_s") if name in columns}
    return Manifest(
        Columns.of(
            path=columns["path"],
            label=label,
            split=columns.get("split"),
            group=columns.get("group"),
            **dict.fromkeys(("start_s", "end_s")) | _seconds(times, path),
        ),
        root=path.absolute().parent,
        extras={name: Text(values) for name, values in columns.items() if name not in COLUMNS},
        notes=tuple(notes if bare else ()),
    )


def _or_none(text: pa.Array) -> pa.Array:
    """Null where a cell is empty: nobody labelled that clip."""
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, TEXT), text)


def about_rows(path: Path) -> int:
    """About how many rows a table has, told at once; 0 where it cannot be told."""
    try:
        if kind_of(path) != "file":
            return 0
        if path.suffix == ".parquet":
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


def _read_columns(path: Path) -> dict[str, pa.Array]:
    """All columns as stripped text (N,), empty where there is no value."""
    if path.suffix == ".csv":
        return read_csv(path)
    if path.suffix == ".parquet":
        with path.open("rb") as file:
            return _read_parquet(path, file)
    raise UserError(f"{path}: a manifest is a .csv or .parquet file, or a folder of classes.")


def _read_parquet(path: Path, file: BinaryIO) -> dict[str, pa.Array]:
    try:
        parquet = pq.ParquetFile(file)
        schema = parquet.schema_arrow
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise UserError(f"{path} is no readable Parquet file: {error}") from error
    check_width(path, len(schema.names))
    if len(set(schema.names)) < len(schema.names):
        raise UserError(f"{path} has two columns of the same name.")
    for field in schema:
        if pa.types.is_nested(field.type):
            raise UserError(
                f"{path}: the column {field.name!r} holds {str(field.type)[:80]}; a manifest "
                "holds text and numbers. Leave it out, or write it as text."
            )
    columns, name = {}, ""
    try:
        table = parquet.read()
        for name in schema.names:
            columns[name] = pc.utf8_trim_whitespace(_written(table[name]))
            table = table.drop_columns(name)  # its memory is free for the next one
    except (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is no readable Parquet file: {name} {error}") from error
    return columns


def _written(column: pa.ChunkedArray) -> pa.Array:
    """Values of any type as Python writes them, "" for null. Raises ArrowInvalid for no UTF-8."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if any(is_kind(kind) for is_kind in _TEXT_LIKE):
        text = as_text(column.cast(kind))
        text.validate(full=True)  # Parquet promises UTF-8, and nobody has looked
        return pc.fill_null(text, "")
    values = (value for chunk in column.chunks for value in chunk.to_pylist())
    return pa.array(("" if value is None else str(value) for value in values), TEXT)


_TEXT_LIKE = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_integer,
)


def _seconds(times: dict[str, pa.Array], path: Path) -> dict[str, np.ndarray]:
    """Moments (N,) float64, NaN for an empty text."""
    try:
        found = {
            name: pc.if_else(pc.equal(text, ""), None, text).cast(pa.float64()).to_numpy(False)
            for name, text in times.items()
        }
    except pa.ArrowInvalid:
        return _seconds_one_by_one(times, path)
    for name, moments in found.items():
        given = pc.not_equal(times[name], "").to_numpy(False)
        if not ((moments >= 0) & (moments < math.inf))[given].all():
            return _seconds_one_by_one(times, path)
    return found


def _seconds_one_by_one(times: dict[str, pa.Array], path: Path) -> dict[str, np.ndarray]:
    """The same where Python may read more than Arrow, or the first wrong row is to be named."""
    rows = zip(*(Text(text) for text in times.values()), strict=True)
    read = [[_second(text, path, line) for text in row] for line, row in enumerate(rows, start=2)]
    return dict(zip(times, np.array(read, np.float64).T, strict=True))


def _second(text: str, path: Path, line: int) -> float:
    if not text:
        return math.nan
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"{path}, row {line}: {text!r} is no time in seconds.")
    return seconds


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
