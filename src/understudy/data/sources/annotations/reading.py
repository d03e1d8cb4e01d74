"""The file that an annotation tool exported: found, read whole, and checked by its schema."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from understudy.data.hidden import is_hidden
from understudy.data.media import kind_of
from understudy.data.sources import outside_files
from understudy.errors import UserError

MOST_BYTES = 32_000_000
"""Of one annotation file: a hundred thousand segments, which take thirty times the memory."""
MOST_XML_BYTES = 256_000_000
"""Of one in XML, of which little is kept: CVAT writes every box of every frame."""
_MEND = "Export it in parts."

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
    except UserError:
        raise
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
    return outside_files.blocks(path, most, _MEND)


def read_bytes(path: Path) -> bytes:
    """All bytes but a byte order mark. Raises UserError as `blocks` does."""
    return outside_files.read_bytes(path, MOST_BYTES, _MEND)


def read_text(path: Path) -> str:
    """The text of a file. Raises UserError for what is no text in UTF-8."""
    return outside_files.read_text(path, MOST_BYTES, _MEND)


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
        fault = outside_files.fault_of(error, where)
        raise UserError(f"{path} is no export of {tool}: {fault}.") from None
