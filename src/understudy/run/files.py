"""Files of a run or an artifact: whole or not there at all, and damage told as damage."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from understudy.errors import UserError

_LISTS = frozenset({"history.json", "bench.json"})
"""Files that hold a list; the others hold an object."""


def read_json(path: Path) -> Any:
    """Read a file of a run or an artifact. Raises UserError if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: the run is not complete.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {error}.") from error
    expected = list if path.name in _LISTS else dict
    if not isinstance(content, expected):
        raise UserError(f"{path} is damaged: it holds no {expected.__name__}.")
    return content


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader finds the old file or the new one, never half of one."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: to a neighbour first, then renamed over the old one.

    The neighbour's name is its own, so that two processes never write into one file.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
