"""Damage: bytes flipped, cut and inserted; a field of a tree removed or made absurd; odd files."""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

SCRIPT = "<script>alert(1)</script>"
ABSURD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**30, "", " ", "x" * 5000, "\x1b[2Jred",
    "../../outside", "/dev/zero", [], {}, [[[]]], {"a": {"b": 1}}, "2026-01-01", "nan", SCRIPT,
    "\ud800", "a\0b", -2**63, 1e-320, "=1+1", ["left"] * 2000, "\u202eetsap",
)  # fmt: skip


def damage(content: bytes, rng: Random, within: int | None = None) -> tuple[bytes, str]:
    """Bytes with a few places changed; within: how far from the beginning they lie at most."""
    found = bytearray(content)
    end = min(within or len(found), len(found)) or 1
    kind = rng.choice(("flip", "flip", "cut", "insert", "repeat", "zero", "drop"))
    at = rng.randrange(end)
    if kind == "flip":
        count = rng.choice((1, 1, 2, 8, 32))
        for place in (rng.randrange(end) for _ in range(count if found else 0)):
            found[place] ^= 1 << rng.randrange(8)
        return bytes(found), f"{count} bits flipped"
    size = rng.choice((1, 4, 16, 200))
    if kind == "cut":
        return bytes(found[:at]), f"cut after {at} bytes"
    if kind == "insert":
        found[at:at] = rng.randbytes(size)
    elif kind == "repeat":
        found[at:at] = found[at : at + size]
    elif kind == "zero":
        found[at : at + size] = bytes(len(found[at : at + size]))
    else:
        del found[at : at + size]
    return bytes(found), f"{kind} {size} bytes at {at}"


def damage_tree(tree: Any, rng: Random, absurd: tuple[Any, ...] = ABSURD) -> tuple[Any, str]:
    """A tree of mappings and lists with one place changed, and what was done."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    parent, key, name = rng.choice(places)
    kind = rng.choice(("remove", "absurd", "absurd", "absurd", "nest", "rename", "longer"))
    if kind == "remove":
        del parent[key]
        return tree, f"{name} removed"
    if kind == "nest":
        inner = parent[key]
        for _ in range(rng.choice((1, 1, 3, 200))):
            inner = [inner] if rng.random() < 0.5 else {"a": inner}
        parent[key] = inner
        return tree, f"{name} nested"
    if kind == "rename" and isinstance(parent, dict):
        parent[f"{key}_"] = parent.pop(key)
        return tree, f"{name} renamed"
    if kind == "longer" and isinstance(parent[key], list) and parent[key]:
        parent[key] = parent[key] * rng.choice((2, 1000))
        return tree, f"{name} longer"
    parent[key] = rng.choice(absurd)
    return tree, f"{name} = {str(parent[key])[:40].encode('unicode_escape').decode()}"


def _places(tree: Any, name: str = "") -> Any:
    """Every place in a tree: its parent, key and full name."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key, f"{name}.{key}".lstrip(".")
        if isinstance(value, dict | list):
            yield from _places(value, f"{name}.{key}")


def odd_file(path: Path, rng: Random) -> str:
    """Put something at `path` that is no file to be read, and say what."""
    path.unlink(missing_ok=True)
    kinds: dict[str, Callable[[], object]] = {
        "a FIFO": lambda: os.mkfifo(path),
        "a link to itself": lambda: path.symlink_to(path.name),
        "a link to /dev/zero": lambda: path.symlink_to("/dev/zero"),
        "a link to nothing": lambda: path.symlink_to("gone"),
        "a folder": path.mkdir,
        "a socket": lambda: _bind(path),
        "an empty file": path.touch,
    }
    kind = rng.choice(sorted(kinds))
    kinds[kind]()
    return f"{path.name} is {kind}"


def _bind(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)
