"""A file where the user asked for one: whole or not there, and nothing else in its place."""

from __future__ import annotations

import stat
from pathlib import Path

from understudy.errors import UserError
from understudy.run.files import write_bytes


def write_output(path: Path, content: bytes) -> None:
    """Write a page, a table or a drawing to `path`, and the folders that it goes to.

    Raises UserError where something else than a file is there, since a file would take the place of
    a link or a device, and where it cannot be written; then no folder is left that was made for it.
    """
    refuse_other_than_file(path)
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as error:
        for folder in made:  # the nearest first
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise UserError(
            f"{path} cannot be written: {error.strerror}. Make room, or choose another place."
        ) from error


def refuse_other_than_file(path: Path) -> None:
    """Raises UserError where a link, a device or a folder is at `path`."""
    try:
        kind = path.lstat().st_mode
    except (OSError, ValueError):  # nothing is there, or writing will say why
        return
    if stat.S_ISREG(kind):
        return
    what = "a device, a pipe or a socket"
    if stat.S_ISLNK(kind):
        what = "a link to somewhere else"
    elif stat.S_ISDIR(kind):
        what = "a folder"
    raise UserError(f"{path} is {what}, which a file would replace. Name a file.")
