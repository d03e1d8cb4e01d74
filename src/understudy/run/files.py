"""Files of a run or an artifact: whole or not there at all, and damage told as damage."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

from understudy.errors import UserError
from understudy.run.schema import MOST_BYTES, parse_json

try:
    import fcntl
except ImportError:  # Windows: halves of files whose writer was killed stay there
    fcntl = None

_PARTIAL = ".understudy-{}.partial"
"""What a file is called until it is whole."""
_MOMENT_S = 0.2
"""Far longer than from making a file to locking it."""
_Made = dict[Path, tuple[int, int]]
_made: ContextVar[_Made | None] = ContextVar("made", default=None)


def read_json(path: Path) -> Any:
    """Read a file of a run or an artifact. Raises UserError if it is missing or damaged."""
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is no file. Copy it again from where it was made.")
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path} is damaged: it is larger than any file of this kind. Copy it "
                            "again from where it was made.")  # fmt: skip
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: the run is not complete.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: {error}.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    return parse_json(text, path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader finds the old file or the new one, never half of one."""
    write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """Content as it is written to a file of a run; every number in it must be finite."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step; see `write_files`."""
    write_files({path: content})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all of them to neighbours first, then each renamed over
    the old one.

    A neighbour's name is its own, so that two processes never write into one file. Those that a
    killed process left in the same folders are removed. Raises OSError that names the file which
    could not be written; no file has changed then.
    """
    for folder in {path.parent for path in contents}:
        _remove_leftovers(folder)
    with ExitStack() as stack:
        partials = [stack.enter_context(_partial(*one)) for one in contents.items()]
        for path, partial in zip(contents, partials, strict=True):
            with _named(path):
                os.replace(partial, path)
            made = _made.get()
            if made is not None:
                made[path] = _identity(path)


@contextmanager
def noting_files() -> Iterator[_Made]:
    """Note every file that is written meanwhile, and which one it is, so that it can be told from
    another of the same name."""
    made: _Made = {}
    token = _made.set(made)
    try:
        yield made
    finally:
        _made.reset(token)


def remove_made(made: _Made, folder: Path) -> None:
    """Delete those files below a folder that were noted and are still the same ones."""
    for path, identity in made.items():
        if folder in path.parents and path.exists() and _identity(path) == identity:
            path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


@contextmanager
def _partial(path: Path, content: bytes) -> Iterator[Path]:
    """The whole content beside `path`, under another name, which is gone at the end."""
    partial = path.with_name(_PARTIAL.format(secrets.token_hex(8)))
    try:
        with _named(path):
            file = partial.open("xb")
        with file:
            with _named(path):
                _hold(file)
                file.write(content)
                file.flush()
            yield partial
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors name the file that was to be written, not its neighbour."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _hold(file: BinaryIO) -> None:
    """Give a sign of life, which the system takes back when this process ends."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)


def is_partial(path: Path) -> bool:
    """Whether a file has the name of one that is being written, or was when somebody was killed."""
    return path.match(_PARTIAL.format("[0-9a-f]" * 16))


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed have left in a folder: halves of files.

    Only those that are older than a moment: a file is not locked yet when it has just been made.
    """
    for partial in filter(is_partial, folder.iterdir()):
        with contextlib.suppress(OSError):
            age_s = time.time() - partial.stat().st_mtime
            if age_s > _MOMENT_S and not is_held(partial):
                partial.unlink()


def is_held(path: Path) -> bool:
    """Whether a living process holds a lock on a file; also where nobody can tell."""
    if fcntl is None:
        return True
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
