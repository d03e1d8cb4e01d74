"""How the command line speaks: answers to stdout, everything else to stderr.

Names of classes and files come from data and from strangers' artifacts, and a terminal obeys what
is printed to it. So all that is printed passes through here, where characters that steer instead of
show are written as what they are.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterable
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from understudy.errors import UserError

if TYPE_CHECKING:
    from understudy.run import Run
    from understudy.ship.artifact import Artifact

_STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # the escape character, bells, lines that start again
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # text that runs the other way
    "\u2028\u2029\ud800-\udfff]"  # other ends of lines; bytes of a name that are no UTF-8
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(line: str) -> str:
    r"""A line without characters that steer a terminal: these are written as JSON writes them, so
    that a line of JSON stays what it was.

    >>> visible("wave\x1b[31m\n")
    'wave\\u001b[31m\\n'
    """
    return _STEERING.sub(lambda one: _SHORT.get(one[0], f"\\u{ord(one[0]):04x}"), line)


def print_(*lines: str) -> None:
    """Print an answer, line by line. A line break within one is no other line."""
    _write(sys.stdout, map(visible, lines))


def print_or_stop(line: str) -> None:
    """Print one of many answers; where nobody reads any more, the others are not worked out."""
    if not _write(sys.stdout, [visible(line)]):
        raise SystemExit(0)


def print_json(content: Any) -> None:
    import json

    print_(*json.dumps(content, indent=2, ensure_ascii=False).split("\n"))


def say(text: str) -> None:
    _write(sys.stderr, map(visible, text.split("\n")))


class Unbroken:
    """A stream whose reader may go before the end, as `head` does: what is written after that goes
    nowhere, and whoever writes, a library too, goes on with what was asked for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_read = True

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._silence()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _silence(self) -> None:
        self.is_read = False
        with contextlib.suppress(OSError, ValueError):  # a test's stream is no file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def prepare_streams() -> None:
    """What is read by programs is UTF-8 whatever the locale; a terminal gets what it can show. A
    reader that goes is no fault of either stream."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper):  # a test's stream has no encoding
            stream.reconfigure(errors="backslashreplace")
            if not stream.isatty():
                stream.reconfigure(encoding="utf-8")
            setattr(sys, name, Unbroken(stream))


def _write(stream: TextIO, lines: Iterable[str]) -> bool:
    """Whether somebody reads it. What was asked for is done even where nobody does."""
    try:
        for line in lines:
            typer.echo(line, file=stream)
    except OSError as error:
        raise UserError(f"The answer cannot be written: {error.strerror}.") from error
    return getattr(stream, "is_read", True)


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))


def say_unfinished(source: Run | Artifact) -> None:
    """Print a sentence where training of a run, or of an artifact's run, is not finished."""
    from understudy.run import Run
    from understudy.run.unfinished import unfinished_note

    if isinstance(source, Run):
        note = unfinished_note(source)
    else:  # as it was when it was exported
        note = source.contract.get("unfinished")
    if note is not None:
        say(note)
