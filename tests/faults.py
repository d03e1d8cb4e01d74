"""Disks that are full or cannot be written, without needing one."""

import errno
import os
from pathlib import Path

import pytest


def fill_the_disk(
    patch: pytest.MonkeyPatch, *, after: int = 0, error: int = errno.ENOSPC, where: str = ""
) -> list[str]:
    """Let no new file below a path that holds `where` be written, once `after` more have been.

    error: ENOSPC as a full disk says, EROFS as one that is mounted read-only. Gives the names of
    the folders in which it was tried, which grows.
    """
    real, tried = Path.open, []

    def refuse(path: Path, mode: str = "r", *rest, **options):
        if "r" in mode or where not in str(path):
            return real(path, mode, *rest, **options)
        tried.append(path.parent.name)
        if len(tried) <= after:
            return real(path, mode, *rest, **options)
        if error == errno.ENOSPC:  # a name fits where content does not
            real(path, mode, *rest, **options).close()
        raise OSError(error, os.strerror(error), str(path))

    patch.setattr(Path, "open", refuse)
    return tried
