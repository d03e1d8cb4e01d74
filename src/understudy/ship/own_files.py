"""A file of an artifact is a file of its folder: no link to elsewhere, no device, no pipe.

An artifact may come from a stranger. What its contract names is opened, and published when it is
pushed; so what is named, and everything below it, must lie where it seems to lie.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from understudy.errors import UserError


def check_own(path: Path) -> None:
    """Raises UserError where `path`, or anything below it, is neither a file nor a folder of its
    own. What is not there is no fault.

    The client of the Hugging Face hub keeps each file once and puts links to it into its folders:
    such links are as good as the file.
    """
    try:
        kind = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if stat.S_ISLNK(kind):
        if not _is_cached(path):
            raise UserError(
                f"{path} is a link to elsewhere. The files of an artifact lie in its folder: put a "
                "copy in the place of the link, if you trust it."
            )
    elif stat.S_ISDIR(kind):
        for entry in sorted(path.iterdir()):
            check_own(entry)
    elif not stat.S_ISREG(kind):
        raise UserError(
            f"{path} is no regular file but a device, a pipe or a socket. Copy the artifact again, "
            "or export the run again."
        )


def _is_cached(link: Path) -> bool:
    """Whether a link lies in .../snapshots/ and leads to a file of the .../blobs/ beside it."""
    # Unlike Path.resolve, realpath takes a link to itself for a path like any other.
    target, folders = Path(os.path.realpath(link)), link.parent.resolve().parents
    caches = [folder.parent / "blobs" for folder in folders if folder.name == "snapshots"]
    return target.parent in caches and target.is_file()
