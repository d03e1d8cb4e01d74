"""Annotation files of published data sets: found by name, read once, checked by a schema.

They come from strangers. What is wrong with one is told with the file, the place in it and what was
expected there; nothing in it is believed to be a path.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from understudy.data.hidden import is_hidden
from understudy.data.media import is_folder
from understudy.data.sources import outside_files
from understudy.errors import UserError

Seconds = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
"""A moment in a video; eleven days at most."""
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^/\\\x00-\x1f]+$")]
"""What a file is called, without a folder."""
Label = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^|\x00-\x1f]+$")]
"""What a class is called. In tables | stands between several of them."""

_MEND = "Fetch it again."
LARGEST = 2**31
"""Bytes of an annotation file. The largest that is published, of Ego4D, has about 1 GB."""
MANY = 1000
"""Folders in a folder that are its clips, so that no lists lie in them."""
DEEPEST = 3
"""Folders below the one that was given in which annotation files are looked for."""


def folder_of(place: Path, layout: tuple[str, ...]) -> Path:
    """The folder of a data set, absolute. Raises UserError where there is none."""
    place = Path(place).absolute()
    if not is_folder(place):
        raise UserError(f"There is no folder {place}. {expected(layout)}")
    return place


def expected(layout: tuple[str, ...]) -> str:
    """What should lie in the folder, as a sentence."""
    return f"Expected a folder with: {'; '.join(layout)}."


def find_file(root: Path, names: str, layout: tuple[str, ...]) -> Path:
    """The annotation file with one of these names, the one least deep. Raises UserError if none.

    names: patterns separated by blanks, the preferred ones first.
    """
    found = files_named(root, names)
    if not found:
        raise UserError(
            f"{root} holds no {' or '.join(names.split())}, {DEEPEST} folders deep. "
            f"{expected(layout)}"
        )
    return found[0]


def files_named(root: Path, names: str) -> list[Path]:
    """The files of the first of these patterns that has any, at the least depth, sorted.

    Folders of a thousand folders are clips, and are not looked into. Raises UserError.
    """
    folders = [root]
    for _ in range(DEEPEST + 1):
        files: list[Path] = []
        below: list[Path] = []
        for folder in folders:
            inside = _entries(folder)
            files += [path for path, is_folder in inside if not is_folder]
            below += [path for path, is_folder in inside if is_folder]
        for name in names.split():
            if found := sorted(path for path in files if fnmatchcase(path.name, name)):
                return found
        folders = below
    return []


def _entries(folder: Path) -> list[tuple[Path, bool]]:
    """Regular files and, unless there are a thousand, folders of a folder, none of them hidden."""
    try:
        with os.scandir(folder) as entries:
            found = [(Path(one.path), is_dir(one)) for one in entries if not is_hidden(one.name)]
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror or error}.") from error
    many = sum(is_folder for _, is_folder in found) >= MANY
    return [(path, is_folder) for path, is_folder in found if not (is_folder and many)]


def is_dir(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, links followed; a link that goes round in circles is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def read_json(path: Path, schema: Any, mend: str = _MEND) -> Any:
    """What a JSON file holds, checked by a type that pydantic knows. mend: what to do where it is
    another. Raises UserError."""
    content = read_content(path)
    try:
        return TypeAdapter(schema).validate_json(content)
    except ValidationError as error:
        fault = outside_files.fault_of(error)
        raise UserError(f"{path} does not hold what was expected: {fault}. {mend}") from error
    except (RecursionError, MemoryError) as error:
        raise UserError(f"{path} is too large or too deep to be read.") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8, stripped, without empty ones. Raises UserError."""
    return [
        line.strip()
        for line in re.split(r"[\r\n]+", outside_files.read_text(path, LARGEST, _MEND))
        if line.strip()
    ]


def read_rows(path: Path, columns: str) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header; columns: those needed, separated by blanks.

    Raises UserError for a missing column or a row of another width.
    """
    rows = csv.reader(
        io.StringIO(outside_files.read_text(path, LARGEST, _MEND), newline=""),
        skipinitialspace=True,
    )
    try:
        header = [name.strip() for name in next(rows, [])]
        missing = [name for name in columns.split() if name not in header]
        if missing:
            raise UserError(
                f"{path} has no column {missing[0]}; there are {', '.join(header)[:200]}. "
                f"Expected at least {', '.join(columns.split())}."
            )
        for number, row in enumerate(filter(None, rows), start=2):
            if len(row) != len(header):
                raise UserError(
                    f"{path}, row {number}: {len(row)} values under {len(header)} columns."
                )
            yield dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise UserError(f"{path} is no readable CSV file: {error}. {_MEND}") from error


def seconds_of(text: str, path: Path) -> float:
    """A moment written as seconds or as hours:minutes:seconds. Raises UserError."""
    if re.fullmatch(r"(\d{1,3}:){0,2}\d{1,6}(\.\d{1,9})?", text.strip()) is None:
        raise UserError(f"{path}: {text[:60]!r} is no time; expected seconds or hh:mm:ss.")
    value = 0.0
    for part in text.strip().split(":"):
        value = value * 60 + float(part)
    return value


def read_content(path: Path) -> bytes:
    """The bytes of a regular file of no absurd size. Raises UserError."""
    return outside_files.read_bytes(path, LARGEST, _MEND)
