"""Files of strangers that say what is in media: read whole, as far as they are of a sane size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from understudy.data.media import kind_of
from understudy.errors import UserError

_BLOCK = 2**20


def blocks(path: Path, most: int, mend: str, *, whole: bool = False) -> Iterator[bytes]:
    """The bytes of a file, `most` of them. mend: what to do about a larger one. whole: all at once.

    Raises UserError for what is no regular file, cannot be read or is too large.
    """
    size = 0
    try:
        if (kind := kind_of(path)) != "file":
            raise UserError(f"{path} is {kind}, not a file.")
        with path.open("rb") as file:
            at_once = min(most, os.fstat(file.fileno()).st_size) + 1 if whole else _BLOCK
            while part := file.read(at_once):
                size += len(part)
                if size > most:
                    raise UserError(f"{path} has more than {most:,} bytes. {mend}")
                yield part
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_bytes(path: Path, most: int, mend: str) -> bytes:
    """All bytes but a byte order mark. Raises UserError as `blocks` does."""
    content = b"".join(blocks(path, most, mend, whole=True))
    return content.removeprefix(b"\xef\xbb\xbf")


def read_text(path: Path, most: int, mend: str) -> str:
    """The text of a file. Raises UserError for what is no text in UTF-8."""
    try:
        return read_bytes(path, most, mend).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: {error}. {mend}") from error


def fault_of(error: ValidationError, where: str = "") -> str:
    """The first thing that a schema does not take, and its place below `where`."""
    problem = error.errors(include_input=False, include_url=False)[0]
    place = ".".join([where] * bool(where) + [str(one) for one in problem["loc"]])[:200]
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place + ': ' if place else ''}{problem['msg']}{more}"
