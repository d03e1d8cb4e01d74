"""The file that an annotation tool exported: found, read whole, and checked by its schema."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from understudy.data.hidden import is_hidden
from understudy.data.media import kind_of
from understudy.errors import UserError

MOST_BYTES = 32_000_000
"""Of one annotation file: a hundred thousand segments, which take thirty times the memory."""
MOST_XML_BYTES = 256_000_000
"""Of one in XML, of which little is kept: CVAT writes every box of every frame."""
_BLOCK = 2**20

Content = TypeVar("Content")
Number = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=4096)]


class Part(BaseModel):
    """What is named must be there and be what it says; tools write much more beside it."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def the_file(place: Path, suffixes: Collection[str], tool: str) -> Path:
    """The annotation file at a place: itself, or the only one of these suffixes in that folder.

    Raises UserError where there is none, or more than one.
    """
    try:
        if (kind := kind_of(place)) != "a folder":
            if kind != "file":
                raise UserError(f"{place} is {kind}, neither a file nor a folder.")
            return place
        found = sorted(
            one
            for one in place.iterdir()
            if one.suffix.lower() in suffixes and not is_hidden(one.name)
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{place} cannot be read: {getattr(error, 'strerror', error)}.") from error
    if len(found) != 1:
        there = ", ".join(one.name for one in found[:5]) or "none"
        raise UserError(
            f"{place} should hold one {' or '.join(sorted(suffixes))} file of {tool}; there: "
            f"{there}. Name the file itself."
        )
    return found[0]


def blocks(path: Path, most: int = MOST_BYTES) -> Iterator[bytes]:
    """The bytes of a file. Raises UserError for what is no file, cannot be read or is too large."""
    size = 0
    try:
        if (kind := kind_of(path)) != "file":
            raise UserError(f"{path} is {kind}, not a file.")
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                size += len(block)
                if size > most:
                    raise UserError(f"{path} has more than {most:,} bytes. Export it in parts.")
                yield block
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def read_bytes(path: Path) -> bytes:
    """All bytes but a byte order mark. Raises UserError as `blocks` does."""
    return b"".join(blocks(path)).removeprefix(b"\xef\xbb\xbf")


def read_text(path: Path) -> str:
    """The text of a file. Raises UserError for what is no text in UTF-8."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: {error}.") from error


def read_json(path: Path, schema: TypeAdapter[Content], tool: str) -> Content:
    """The content of a JSON file. Raises UserError that names the first thing that is wrong."""
    return checked(path, read_bytes(path), schema, tool)


def checked(path: Path, content: bytes, schema: TypeAdapter[Content], tool: str) -> Content:
    """JSON by its schema. Raises UserError that names the first thing that is wrong."""
    with faults_of(path, tool):
        return schema.validate_json(content)


@contextmanager
def faults_of(path: Path, tool: str, where: str = "") -> Iterator[None]:
    """What a schema does not take, in one sentence."""
    try:
        yield
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join([where] * bool(where) + [str(one) for one in problem["loc"]])[:200]
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UserError(
            f"{path} is no export of {tool}: {place + ': ' if place else ''}{problem['msg']}{more}."
        ) from None
