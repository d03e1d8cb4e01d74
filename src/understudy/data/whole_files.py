"""Files that are whole or not there at all, whatever stops the writing of them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.data.media import kind_of
from understudy.errors import UserError

_PARTIAL = ".{}.partial"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a neighbour to write to, which takes the name `path` once it is written.

    A link is followed: what it leads to is replaced. Folders on the way are made, and taken away
    again where writing fails. Raises UserError where nothing can be written, or where there is
    something else than a file.
    """
    target = Path(os.path.realpath(path))
    made: list[Path] = []
    partial = target.with_name(_PARTIAL.format(secrets.token_hex(8)))
    try:
        if target.exists() and (kind := kind_of(target)) != "file":
            raise UserError(f"{path} is {kind}; name a file to write.")
        for folder in reversed(target.parents):
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        yield partial
        os.replace(partial, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
            for folder in reversed(made):
                folder.rmdir()  # only where nobody has put anything into it
        if isinstance(error, OSError):
            raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error
        raise


def remove_halves(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder into which nobody writes now."""
    for half in folder.glob(_PARTIAL.format("[0-9a-f]" * 16)):
        half.unlink()
