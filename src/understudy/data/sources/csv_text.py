"""The text in a CSV file, column by column.

Arrow reads a million rows in a second. What it would not read is left to Python's csv module, which
either reads it after all or says which row is wrong; so there is one set of messages.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.csv as arrow_csv

from understudy.data.columns import TEXT, as_text, pc
from understudy.data.sources.dialect import Dialect, dialect_of
from understudy.errors import UserError

_ROWS = 16_384
"""Rows that are held as Python values at a time."""

_BLOCK = 2**24
"""Bytes that Arrow reads at a time; no row is longer."""

MOST_COLUMNS = 1000
"""Columns of a table. More of them are no manifest, and take hours to look at one by one."""


def read_csv(path: Path, notes: list[str] | None = None) -> dict[str, pa.Array]:
    """All columns as stripped text (N,), without rows and columns in which nothing stands.

    notes: gets a sentence of whatever is not plain: another separator, blank rows. Raises UserError
    for what is no CSV, or in an encoding that nothing tells.
    """
    notes = [] if notes is None else notes
    dialect = dialect_of(path)
    notes += [dialect.note] if dialect.note else []
    try:
        table = _read_fast(path, dialect)
    except (pa.ArrowInvalid, csv.Error, UnicodeError, StopIteration):
        header, columns = _read_slowly(path, dialect)
    else:
        header = [column[0].as_py().strip() for column in table.columns]
        table, columns = table.slice(1), []
        for _ in header:
            columns.append(pc.utf8_trim_whitespace(as_text(table.column(0))))
            table = table.remove_column(0)  # its memory is free for the next one
    return without_blanks(path, header, columns, notes)


def _read_fast(path: Path, dialect: Dialect) -> pa.Table:
    """Every line as a row of text, the header too: Arrow would take its names as they are."""
    with path.open(newline="", encoding=dialect.encoding) as file:
        lines = islice(_lines(file), dialect.skipped, None)
        width = len(next(line for line in csv.reader(lines, delimiter=dialect.separator) if line))
    check_width(path, width)
    names = [str(number) for number in range(width)]
    is_utf8 = dialect.encoding.startswith("utf-8")
    return arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(
            column_names=names,
            block_size=_BLOCK,
            skip_rows=dialect.skipped,
            encoding="utf8" if is_utf8 else dialect.encoding,
        ),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True, delimiter=dialect.separator),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, TEXT), strings_can_be_null=False
        ),
    )


def _read_slowly(path: Path, dialect: Dialect) -> tuple[list[str], list[pa.Array]]:
    parts: list[list[pa.Array]] = []
    wrong = ""
    try:
        with path.open(newline="", encoding=dialect.encoding) as file:
            text = islice(_lines(file), dialect.skipped, None)
            lines = (line for line in csv.reader(text, delimiter=dialect.separator) if line)
            names = next(lines, None)
            width = len(names or ())
            check_width(path, width)
            for number, block in enumerate(iter(lambda: list(islice(lines, _ROWS)), [])):
                block = [_cut_blank(line, width) for line in block]
                wrong = wrong or _wrong_width(block, 2 + number * _ROWS, width)
                if not wrong:
                    columns = zip(*block, strict=True)
                    parts.append([as_text([value.strip() for value in one]) for one in columns])
    except (UnicodeError, csv.Error) as error:
        raise UserError(
            f"{path} is no readable CSV file in {dialect.encoding.removesuffix('-sig').upper()}: "
            f"{_place(path, error)}{error}. Save it again as CSV in UTF-8; spreadsheets offer that "
            "under Save as."
        ) from error
    if names is None:
        raise UserError(f"{path} is empty; expected a header: path,label,split,group.")
    if wrong:
        raise UserError(f"{path}, {wrong}")
    columns = list(zip(*parts, strict=True)) if parts else [[as_text([])] for _ in names]
    return [name.strip() for name in names], [pa.concat_arrays(some) for some in columns]


def _place(path: Path, error: Exception) -> str:
    """The line of a byte that is none of its encoding."""
    if not isinstance(error, UnicodeDecodeError):
        return ""
    with path.open("rb") as file:
        for number, line in enumerate(islice(file, _ROWS * 64), start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f"line {number}: "
    return ""


def without_blanks(
    path: Path, header: list[str], columns: list[pa.Array], notes: list[str]
) -> dict[str, pa.Array]:
    """The columns that have a name, without rows in which nothing stands, as spreadsheets add both.

    Raises UserError for two columns of one name.
    """
    nameless = [place for place, name in enumerate(header) if not name]
    filled = [place for place in nameless if pc.any(pc.not_equal(columns[place], "")).as_py()]
    if filled:
        notes.append(
            f"without a name and so left out: column {', '.join(str(one + 1) for one in filled)}"
        )
    named = {name: column for name, column in zip(header, columns, strict=True) if name}
    if len(named) < len(header) - len(nameless):
        raise UserError(f"{path} has two columns of the same name: {', '.join(header)}.")
    blank: Any = None
    for column in (one for one in named.values() if not pa.types.is_nested(one.type)):
        empty = pc.equal(column, "")
        blank = empty if blank is None else pc.and_(blank, empty)
        if not pc.any(blank).as_py():
            return named
    if blank is None or not len(blank):
        return named
    notes.append(f"{pc.sum(blank).as_py()} blank rows were left out")
    kept = pc.invert(blank)
    return {name: column.filter(kept) if len(column) else column for name, column in named.items()}


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


def _cut_blank(line: list[str], width: int) -> list[str]:
    """Without separators at the end that nothing stands behind."""
    return line if any(value.strip() for value in line[width:]) else line[:width]


def _wrong_width(lines: list[list[str]], first: int, width: int) -> str:
    """What is wrong with the first line that has more or fewer values than there are columns."""
    for number, line in enumerate(lines, start=first):
        if len(line) != width:
            return (
                f"row {number}: {len(line)} values under {width} columns. A separator "
                'inside a value needs quotes: "a, b".'
            )
    return ""
