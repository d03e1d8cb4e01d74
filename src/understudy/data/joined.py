"""Whether two files were joined byte by byte: what has a header is then read to its own end only.

Streams without a header (MPEG-TS and MPEG-PS, raw ones) may be joined so, and are read through.
"""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path

from understudy.data.media import open_file

MOST_BOXES = 100_000
_HEADERS = {
    b"\x1a\x45\xdf\xa3": re.compile(rb"\x1a\x45\xdf\xa3(?=.{4,40}(?:matroska|webm))", re.DOTALL),
    b"FLV\x01": re.compile(rb"FLV\x01[\0-\5]\0\0\0\x09\0\0\0\0"),
    b"\x30\x26\xb2\x75": re.compile(
        rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c"
    ),
}
"""How Matroska, FLV and ASF begin; they are read whole anyway."""


def second_file(path: Path) -> int | None:
    """The byte at which a second file begins; None where there is only one, as far as one sees."""
    with open_file(path) as file:
        head = file.read(12)
        if len(head) < 12:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if head[:4] == b"RIFF":
                return _second_riff(content)
            if head[4:8] == b"ftyp":
                return _second_box(content)
            header = _HEADERS.get(head[:4])
            found = header.search(content, 12) if header else None
            return found.start() if found else None


def _second_riff(content: mmap.mmap) -> int | None:
    """Large AVIs have more parts, of the kind AVIX."""
    place = 0
    for _ in range(MOST_BOXES):
        place += 8 + struct.unpack_from("<I", content, place + 4)[0]
        place += place % 2
        head = content[place : place + 12]
        if len(head) < 12 or head[:4] != b"RIFF":
            return None
        if head[8:] == b"AVI ":
            return place
    return None


def _second_box(content: mmap.mmap) -> int | None:
    place = 0
    for _ in range(MOST_BOXES):
        if place + 16 > len(content):
            return None
        size, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"ftyp" and place > 0:
            return place
        if size == 1:
            size = struct.unpack_from(">Q", content, place + 8)[0]
        if size < 8:
            return None
        place += size
    return None
