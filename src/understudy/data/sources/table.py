"""A table of clips: CSV or Parquet with at least the columns path and label."""

from __future__ import annotations

import csv
import difflib
import math
import re
from pathlib import Path

from understudy.data.manifest import Manifest, labels_of
from understudy.errors import UserError, nearest
from understudy.types import Record

COLUMNS = ("path", "label", "split", "group", "start_s", "end_s")
SEPARATOR = "|"
"""Between several labels of one clip."""


def from_table(path: Path) -> Manifest:
    """Read a table. Paths in it are relative to its folder.

    Columns: path and label are needed; split, group, start_s and end_s (seconds) are optional;
    every other column is kept as text. Several labels of one clip are separated by `|`. A missing
    split stays empty; a missing group becomes the clip's own path.

    Raises UserError for a missing column, naming a column that looks like a misspelling of it, and
    for times that are no numbers.
    """
    columns = _read_columns(path)
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
    count = len(columns["path"])
    empty = [""] * count
    labels = [_labels(text) for text in columns["label"]]
    several = any(len(some) > 1 for some in labels)
    records = [
        Record(
            path=file,
            label=tuple(sorted(set(some))) if several else some[0],
            split=split,
            group=group or file,
            start_s=_seconds(start, path, line),
            end_s=_seconds(end, path, line),
        )
        for line, (file, some, split, group, start, end) in enumerate(
            zip(
                columns["path"],
                labels,
                columns.get("split", empty),
                columns.get("group", empty),
                columns.get("start_s", empty),
                columns.get("end_s", empty),
                strict=True,
            ),
            start=2,
        )
    ]
    extras = {name: tuple(values) for name, values in columns.items() if name not in COLUMNS}
    return Manifest(tuple(records), path.absolute().parent, extras)


def write_table(manifest: Manifest, path: Path) -> None:
    """Write a manifest; see `understudy.data.sources.write_manifest`."""
    rows = [
        {
            "path": _relative(manifest.path_of(number), path.absolute().parent),
            "label": SEPARATOR.join(labels_of(row)),
            "split": row.split,
            "group": row.group,
            "start_s": row.start_s,
            "end_s": row.end_s,
            **{name: values[number] for name, values in manifest.extras.items()},
        }
        for number, row in enumerate(manifest.records)
    ]
    names = [*COLUMNS, *manifest.extras]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, names, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        elif path.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            types = {"start_s": pa.float64(), "end_s": pa.float64()}
            schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
            pq.write_table(pa.Table.from_pylist(rows, schema), path)
        else:
            raise UserError(f"{path}: a manifest is written as .csv or .parquet.")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error


def _read_columns(path: Path) -> dict[str, list[str]]:
    """All columns as stripped text, empty where there is no value."""
    if path.suffix == ".csv":
        return _read_csv(path)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path} is no readable Parquet file: {error}") from error
        return {
            name: ["" if value is None else str(value).strip() for value in column.to_pylist()]
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    raise UserError(f"{path}: a manifest is a .csv or .parquet file, or a folder of classes.")


def _read_csv(path: Path) -> dict[str, list[str]]:
    try:
        # utf-8-sig: spreadsheets put a byte order mark before the first column name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} is no readable CSV file in UTF-8: {error}. Save it again as CSV in UTF-8; "
            "spreadsheets offer that under Save as."
        ) from error
    if not lines:
        raise UserError(f"{path} is empty; expected a header: path,label,split,group.")
    header = [name.strip() for name in lines[0]]
    if len(header) == 1 and (found := re.search(r"[;\t|]", header[0])):
        raise UserError(
            f"The columns of {path} are separated by {found[0]!r}. Save it with commas, or as "
            "Parquet."
        )
    if len(set(header)) < len(header):
        raise UserError(f"{path} has two columns of the same name: {', '.join(header)}.")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise UserError(
                f"{path}, row {number}: {len(line)} values under {len(header)} columns. A comma "
                'inside a value needs quotes: "a, b".'
            )
    return {
        name: [line[column].strip() for line in lines[1:]] for column, name in enumerate(header)
    }


def _labels(text: str) -> list[str]:
    return [part.strip() for part in text.split(SEPARATOR)]


def _seconds(text: str, path: Path, line: int) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"{path}, row {line}: {text!r} is no time in seconds.")
    return seconds


def _relative(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
