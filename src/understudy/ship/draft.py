"""All or nothing: a directory that appears when everything in it is done, and not before."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import UserError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_OURS = {
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
LEAST_FREE_BYTES = 1_000_000
"""With less than that, an exporter that fails is taken to have failed for want of room: those
written in C++ don't say why."""


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """A directory beside `target` that takes its place at the end, or vanishes with an error.

    Raises UserError when it cannot be written, for a full disk above all, however deep inside an
    exporter that was noticed.
    """
    draft = target.with_name(target.name + ".partial")
    shutil.rmtree(draft, ignore_errors=True)
    made = [folder for folder in draft.parents if not folder.exists()]
    done = False
    try:
        draft.mkdir(parents=True)
        yield draft
        take_place(draft, target)
        done = True
    except UserError:
        raise
    except Exception as error:
        reason, full = _why_not_written(error, draft)
        if reason is None:
            raise
        advice = "Make room, or choose another place" if full else "Choose another place"
        raise UserError(
            f"{target} cannot be written: {reason}. Nothing of it was kept. {advice} with --out."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        for folder in made if not done else ():  # the nearest first
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def refuse_to_lose(target: Path, overwrite: bool) -> None:
    """Only an artifact may be replaced, and only when asked to. Raises UserError otherwise."""
    if not target.exists():
        return
    if not target.is_dir() or (any(target.iterdir()) and not (target / "contract.json").exists()):
        raise UserError(
            f"{target} is there already, is no artifact and will not be replaced. Choose another "
            "with --out."
        )
    if not overwrite:
        raise UserError(
            f"{target} is there already. Replace it with --overwrite, or choose another with --out."
        )


def take_place(draft: Path, target: Path) -> None:
    """Put the draft in the place of what is there, which is removed only when it is out of use."""
    earlier = target.with_name(target.name + ".earlier")
    shutil.rmtree(earlier, ignore_errors=True)
    if target.exists():
        target.rename(earlier)
    draft.rename(target)
    shutil.rmtree(earlier, ignore_errors=True)


def _why_not_written(error: BaseException | None, draft: Path) -> tuple[str | None, bool]:
    """The refusal of the file system at the bottom of an error, and whether for want of room."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM | _NOT_OURS:
            return error.strerror, error.errno in _NO_ROOM
        error = error.__cause__ or error.__context__
    if draft.exists() and shutil.disk_usage(draft).free < LEAST_FREE_BYTES:
        return "no space left on the disk", True
    return None, False
