"""All or nothing: a directory that appears when everything in it is done, and not before.

Beside DIR, while it is written: `.DIR.lock`, held by the one process that may; `.DIR.x.partial`,
the draft; `.DIR.earlier`, what was there before, for the moment between two renames. A process that
was killed leaves them behind, and the next one to come by mends it.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import UserError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
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
def draft_of(target: Path, *, instead: str = "with --out") -> Iterator[Path]:
    """A directory beside `target` that takes its place at the end, or vanishes with an error.

    instead: how another place is chosen. Raises UserError when it cannot be written, for a full
    disk above all, however deep inside an exporter that was noticed, and while another process
    writes it.
    """
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    made = [folder for folder in draft.parents if not folder.exists()]
    done = False
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        with _held(target):
            for left in draft.parent.glob(f".{_plain(target.name)}.{'?' * 8}.partial"):
                shutil.rmtree(left, ignore_errors=True)
            _mend(target)
            draft.mkdir()
            try:
                yield draft
                _take_place(draft, target)
                done = True
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except UserError:
        raise
    except Exception as error:
        reason, full = _why_not_written(error, target.parent)
        if reason is None:
            raise
        advice = "Make room, or choose another place" if full else "Choose another place"
        raise UserError(
            f"{target} cannot be written: {reason}. Nothing of it was kept. {advice} {instead}."
        ) from error
    finally:
        for folder in made if not done else ():  # the nearest first
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def refuse_to_lose(target: Path, overwrite: bool) -> None:
    """Only an artifact may be replaced, and only when asked to. Raises UserError otherwise."""
    mend(target)
    if not target.exists() and not target.is_symlink():
        return
    own = target.is_dir() and not target.is_symlink()
    if not own or (any(target.iterdir()) and not (target / "contract.json").exists()):
        raise UserError(
            f"{target} is there already, is no artifact and will not be replaced. Choose another "
            "with --out."
        )
    if not overwrite:
        raise UserError(
            f"{target} is there already. Replace it with --overwrite, or choose another with --out."
        )


def mend(target: Path) -> None:
    """Put back what a process that was killed had moved away, where nothing took its place."""
    if target.exists() or not any(path.is_dir() for path in _earlier(target)):
        return
    # One that is writing puts something there itself; one that may not write here leaves it so.
    with contextlib.suppress(UserError, OSError), _held(target):
        _mend(target)


def finished(folder: Path) -> list[Path]:
    """The artifacts in a folder of them, in order; what is being written is none."""
    if not folder.is_dir():
        return []
    for path in list(folder.iterdir()):
        if path.name.endswith(".earlier"):
            mend(path.with_name(path.name.removeprefix(".").removesuffix(".earlier")))
    hidden = (".partial", ".earlier")
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and path.suffix not in hidden
    ]


def _earlier(target: Path) -> tuple[Path, Path]:
    """Where what was there before is kept, now and by earlier versions of this package."""
    return (
        target.with_name(f".{target.name}.earlier"),
        target.with_name(f"{target.name}.earlier"),
    )


def _mend(target: Path) -> None:
    now, before = _earlier(target)
    if not target.exists():
        if now.is_dir():
            now.rename(target)
        elif (before / "contract.json").is_file():
            before.rename(target)
    shutil.rmtree(now, ignore_errors=True)


def _take_place(draft: Path, target: Path) -> None:
    """Put the draft in the place of what is there, which is removed only when it is out of use."""
    earlier, _ = _earlier(target)
    if target.exists():
        target.rename(earlier)
    try:
        draft.rename(target)
    except OSError:
        if earlier.exists():
            earlier.rename(target)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


@contextmanager
def _held(target: Path) -> Iterator[None]:
    """Hold a directory for writing. Raises UserError where another process does."""
    from filelock import FileLock, Timeout

    path = target.with_name(f".{target.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{target} is being written by another process. Wait until it has ended, or stop it."
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # while it is still held
            path.unlink(missing_ok=True)
        lock.release()


def _plain(name: str) -> str:
    """A name for `glob`, in which some characters stand for others."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _why_not_written(error: BaseException | None, folder: Path) -> tuple[str | None, bool]:
    """The refusal of the file system at the bottom of an error, and whether for want of room."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM | _NOT_OURS:
            return error.strerror, error.errno in NO_ROOM
        error = error.__cause__ or error.__context__
    if folder.exists() and shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
        return "no space left on the disk", True
    return None, False
