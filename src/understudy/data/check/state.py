"""What was seen so far, on disk: a check that was stopped goes on, and the next one opens only what
has changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from understudy.data.check.seen import Seen
from understudy.errors import UserError

_HEAD = {"understudy": "state of data check", "version": 1}


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: str
    stamp: str
    seen: Seen


class State:
    """A file of JSON lines, one for each file that was seen. path: None keeps nothing.

    Raises UserError where something else lies at the path, or nothing can be written there.
    """

    def __init__(self, path: Path | None) -> None:
        self._known: dict[str, tuple[str, Seen]] = {}
        self._file = None
        if path is None:
            return
        try:
            is_new = not path.exists() or not path.stat().st_size
            if not is_new:
                self._read(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            if is_new:
                self._write(json.dumps(_HEAD))
            else:
                self._file.write(b"\n")  # the last line may be half of one
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def find(self, path: str, stamp: str | None) -> Seen | None:
        """What is known of a file with these bytes."""
        known, seen = self._known.get(path, (None, None))
        return seen if stamp is not None and known == stamp else None

    def keep(self, path: str, stamp: str | None, seen: Seen) -> None:
        """Remember a file; at once, since anything may end this process."""
        if stamp is None:
            return
        self._known[path] = stamp, seen
        self._write(_Line(path=_text(path), stamp=stamp, seen=seen).model_dump_json())

    def _write(self, line: str) -> None:
        if self._file is not None:
            self._file.write(line.encode() + b"\n")

    def _read(self, path: Path) -> None:
        with path.open("rb") as file:
            if file.readline(1000).strip() != json.dumps(_HEAD).encode():
                raise UserError(
                    f"{path} is no state of a check of this version. Give --out another name, or "
                    "move that file away."
                )
            for line in file:
                try:
                    one = _Line.model_validate_json(line)
                except ValidationError:  # what was being written when the process was killed
                    continue
                self._known[_path(one.path)] = one.stamp, one.seen


def _text(path: str) -> str:
    """JSON holds no bytes that are not UTF-8, and names of files may."""
    return os.fsencode(path).decode("latin-1")


def _path(text: str) -> str:
    return os.fsdecode(text.encode("latin-1", errors="replace"))
