"""One writer for a run: a second one is told who holds it.

The lock is the operating system's, on RUN/.lock, and goes with the process that took it, however
that ended; RUN/.writer.json says who it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import UserError
from understudy.run.files import is_held, write_json

LOCK_FILES = (".lock", ".writer.json")
_PATIENCE_S = 0.5
"""So long a writer waits: somebody who only asks whether a run is being written holds its lock for
a moment."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the directory of a run for writing. Raises UserError where another process does."""
    from filelock import FileLock, Timeout

    lock, note = FileLock(path / LOCK_FILES[0]), path / LOCK_FILES[1]
    try:
        lock.acquire(timeout=_PATIENCE_S, poll_interval=_PATIENCE_S / 10)
    except Timeout:
        raise UserError(
            f"{path} is being written by {_holder(note)}. Wait until it has ended, or stop it; a "
            "process that is gone holds nothing."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        _write_note(note)
        yield
    finally:
        # While it is still held: after the release the file may be another process's lock.
        for name in LOCK_FILES:
            with contextlib.suppress(OSError):
                (path / name).unlink(missing_ok=True)
        lock.release()


def is_being_written(path: Path) -> bool:
    """Whether a process holds the directory of a run for writing at this moment."""
    return is_held(path / LOCK_FILES[0])


def _write_note(note: Path) -> None:
    try:
        write_json(
            note,
            {
                "process": os.getpid(),
                "machine": platform.node(),
                "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            },
        )
    except OSError as error:
        raise UserError(f"{note.parent} cannot be written: {error.strerror}.") from error


def _holder(note: Path) -> str:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        return f"process {known['process']} on {known['machine']}, since {known['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
