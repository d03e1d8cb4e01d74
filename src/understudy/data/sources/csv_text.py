"""The text in a CSV file, column by column.

Arrow reads a million rows in a second. What it would not read is left to Python's csv module, which
either reads it after all or says which row is wrong; so there is one set of messages.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.csv as arrow_csv

from understudy.data.columns import TEXT, as_text, pc
from understudy.errors import UserError

_ROWS = 16_384
"""Rows that are held as Python values at a time."""

_BLOCK = 2**24
"""Bytes that Arrow reads at a time; no row is longer."""

MOST_COLUMNS = 1000
"""Columns of a table. More of them are no manifest, and take hours to look at one by one."""


def read_csv(path: Path) -> dict[str, pa.Array]:
    """All columns as stripped text (N,). Raises UserError for what is no CSV in UTF-8."""
    try:
        table = _read_fast(path)
    except (pa.ArrowInvalid, csv.Error, UnicodeDecodeError, StopIteration):
        return _read_slowly(path)
    header = _checked_header(path, [column[0].as_py() for column in table.columns])
    table = table.slice(1)
    columns = {}
    for name in header:
        columns[name] = pc.utf8_trim_whitespace(as_text(table.column(0)))
        table = table.remove_column(0)  # its memory is free for the next one
    return columns


def _read_fast(path: Path) -> pa.Table:
    """Every line as a row of text, the header too: Arrow would take its names as they are."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        width = len(next(line for line in csv.reader(_lines(file)) if line))
    check_width(path, width)
    names = [str(number) for number in range(width)]
    return arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(column_names=names, block_size=_BLOCK),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, TEXT), strings_can_be_null=False
        ),
    )


def _read_slowly(path: Path) -> dict[str, pa.Array]:
    parts: list[list[pa.Array]] = []
    wrong = ""
    try:
        # utf-8-sig: spreadsheets put a byte order mark before the first column name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = (line for line in csv.reader(_lines(file)) if line)
            names = next(lines, None)
            check_width(path, len(names or ()))
            for number, block in enumerate(iter(lambda: list(islice(lines, _ROWS)), [])):
                wrong = wrong or _wrong_width(block, 2 + number * _ROWS, len(names or ()))
                if not wrong:
                    columns = zip(*block, strict=True)
                    parts.append([as_text([value.strip() for value in one]) for one in columns])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} is no readable CSV file in UTF-8: {error}. Save it again as CSV in UTF-8; "
            "spreadsheets offer that under Save as."
        ) from error
    if names is None:
        raise UserError(f"{path} is empty; expected a header: path,label,split,group.")
    header = _checked_header(path, names)
    if wrong:
        raise UserError(f"{path}, {wrong}")
    columns = zip(*parts, strict=True) if parts else ([as_text([])] for _ in header)
    return {name: pa.concat_arrays(some) for name, some in zip(header, columns, strict=True)}


def check_width(path: Path, columns: int) -> None:
    """Raises UserError for a table of more columns than a manifest can have."""
    if columns > MOST_COLUMNS:
        raise UserError(
            f"{path} has {columns:,} columns; a manifest has at most {MOST_COLUMNS:,}. Leave out "
            "those that don't describe a clip."
        )


def _lines(file: TextIO) -> Iterator[str]:
    """The lines of a file, none of which may fill the memory."""
    for number, line in enumerate(iter(lambda: file.readline(_BLOCK), ""), start=1):
        if len(line) == _BLOCK:
            raise csv.Error(f"line {number} is longer than {_BLOCK:,} characters")
        yield line


def _wrong_width(lines: list[list[str]], first: int, width: int) -> str:
    """What is wrong with the first line that has more or fewer values than there are columns."""
    for number, line in enumerate(lines, start=first):
        if len(line) != width:
            return (
                f"row {number}: {len(line)} values under {width} columns. A comma "
                'inside a value needs quotes: "a, b".'
            )
    return ""


def _checked_header(path: Path, values: list[str]) -> list[str]:
    header = [name.strip() for name in values]
    if len(header) == 1 and (found := re.search(r"[;\t|]", header[0])):
        raise UserError(
            f"The columns of {path} are separated by {found[0]!r}. Save it with commas, or as "
            "Parquet."
        )
    if len(set(header)) < len(header):
        raise UserError(f"{path} has two columns of the same name: {', '.join(header)}.")
    return header
