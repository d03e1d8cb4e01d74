"""How a text file writes a table: its encoding, its separator, and lines before the header."""

from __future__ import annotations

import codecs
import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from understudy.errors import UserError

SEPARATORS = ",\t;|"
_HEAD_BYTES = 2**16

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BOOKS = (
    (b"PK\x03\x04", "a workbook or another ZIP file"),
    (b"\xd0\xcf\x11\xe0", "an old workbook"),
)
SAVE_AS_CSV = "Open it in the spreadsheet and save it as CSV UTF-8 (File, Save as)."


class Dialect(NamedTuple):
    """encoding: as Python calls it. separator: between values. skipped: lines before the header.
    note: what is to be said of it; empty for commas in UTF-8."""

    encoding: str
    separator: str
    skipped: int
    note: str


def dialect_of(path: Path) -> Dialect:
    """Told from the first bytes. Raises UserError for a workbook, OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for mark, what in _BOOKS:
        if head.startswith(mark):
            raise UserError(f"{path} is {what}, whatever it is called. {SAVE_AS_CSV}")
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    encoding = encoding or _without_mark(head)
    text = codecs.getincrementaldecoder(encoding)("ignore").decode(head)
    skipped, separator = 0, ""
    first, _, rest = text.partition("\n")
    if hint := re.fullmatch(r'"?sep=(.?)"?', first.rstrip("\r"), re.IGNORECASE):
        separator, skipped, text = hint[1], 1, rest
    if not separator or separator not in SEPARATORS:
        separator = max(SEPARATORS, key=lambda one: _columns(text, one))  # the first of equals
    said = [] if encoding.startswith("utf-8") else [f"in {encoding.upper()}"]
    if separator != ",":
        said.append(f"with {_NAMES.get(separator, repr(separator))} between values")
    return Dialect(
        encoding, separator, skipped, f"read as a table {' '.join(said)}" if said else ""
    )


_NAMES = {"\t": "tabs", ";": "semicolons", "|": "bars"}


def _without_mark(head: bytes) -> str:
    """UTF-8, or UTF-16 where every other byte of plain letters is 0."""
    pairs = len(head) // 2
    if pairs >= 8 and head[1 : 2 * pairs : 2].count(0) > 0.9 * pairs > head[::2].count(0):
        return "utf-16-le"
    if pairs >= 8 and head[: 2 * pairs : 2].count(0) > 0.9 * pairs > head[1::2].count(0):
        return "utf-16-be"
    return "utf-8-sig"


def _columns(text: str, separator: str) -> int:
    """How many values the first line has that is not blank."""
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        return len(next((line for line in lines if line), []))
    except csv.Error:
        return 0
