"""The folder of a stage while it is filmed: one process at a time, and nothing left by a failure.

`.filming.json` says that the folder is ours, and what is filmed into it. A process that was killed
leaves it behind; the same call then goes on with the clips that are missing.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from understudy.data.whole_files import remove_halves, whole_file
from understudy.errors import UserError

MARK, LOCK = ".filming.json", ".filming.lock"
FILMED = ("clips", "pictures", "manifest.csv", "pictures.csv")
"""What is made in the folder; nothing else is ever taken away from it."""


@contextmanager
def studio(out: Path, asked: dict[str, Any]) -> Iterator[None]:
    """Hold the folder `out` while what was asked for is filmed into it.

    Raises UserError where it holds anything but the same stage, unfinished, where another process
    films, and where it cannot be written.
    """
    from filelock import FileLock, Timeout

    was_there = out.exists()
    lock = FileLock(out / LOCK)
    try:
        if was_there:
            _check_ours(out, asked)
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"Another process films into {out}. Wait until it has ended.") from None
    except OSError as error:
        raise UserError(f"The folder {out} cannot be written: {error.strerror}.") from error
    try:
        for folder in (out, *(out / name for name in FILMED if (out / name).is_dir())):
            remove_halves(folder)
        with whole_file(out / MARK) as partial:
            partial.write_text(json.dumps(asked), encoding="utf-8")
        yield
        (out / MARK).unlink()
        (out / LOCK).unlink(missing_ok=True)
    except (OSError, UserError) as error:
        _take_away(out, was_there)
        if isinstance(error, UserError):
            raise
        raise UserError(f"The folder {out} cannot be written: {error.strerror}.") from error
    finally:
        lock.release()


def _check_ours(out: Path, asked: dict[str, Any]) -> None:
    there = {entry.name for entry in out.iterdir()} - {LOCK}
    if not there:
        return
    begun = None
    if MARK in there:
        with contextlib.suppress(ValueError):
            begun = json.loads((out / MARK).read_text(encoding="utf-8"))
    if not isinstance(begun, dict):
        raise UserError(f"The folder {out} is not empty. Name another one, or empty it first.")
    if begun != asked:
        raise UserError(
            f"The folder {out} holds an unfinished stage of {_told(begun)}, and not of "
            f"{_told(asked)}. Give the same, to finish it, or name another folder."
        )


def _told(asked: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in dict(asked).items())


def _take_away(out: Path, was_there: bool) -> None:
    for name in (*FILMED, MARK, LOCK):
        with contextlib.suppress(OSError):
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            else:
                (out / name).unlink(missing_ok=True)
    if not was_there:
        with contextlib.suppress(OSError):
            out.rmdir()
