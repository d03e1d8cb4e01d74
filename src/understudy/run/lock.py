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
from understudy.run.files import write_json

LOCK_FILES = (".lock", ".writer.json")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the directory of a run for writing. Raises UserError where another process does."""
    from filelock import FileLock, Timeout

    lock, note = FileLock(path / LOCK_FILES[0]), path / LOCK_FILES[1]
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{path} is being written by {_holder(note)}. Wait until it has ended, or stop it; a "
            "process that is gone holds nothing."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        write_json(
            note,
            {
                "process": os.getpid(),
                "machine": platform.node(),
                "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            },
        )
        yield
    finally:
        # While it is still held: after the release the file may be another process's lock.
        for name in LOCK_FILES:
            with contextlib.suppress(OSError):
                (path / name).unlink(missing_ok=True)
        lock.release()


def _holder(note: Path) -> str:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        return f"process {known['process']} on {known['machine']}, since {known['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
