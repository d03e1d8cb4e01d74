"""What lies in a store of teachers' outputs, for the verb `cache`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from understudy.errors import UserError

FOLDER = "teacher-store"
"""Beside the runs that share it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One folder of a store: the outputs of one teacher for one way of looking at clips.

    what: all that they depend on, as what.json has it; empty where that is missing or damaged.
    """

    folder: Path
    what: dict[str, Any]
    outputs: int
    size_bytes: int
    damaged_shards: int


def list_stores(runs: Path) -> list[Stored]:
    """What lies in the store beside these runs, the largest first. runs: a folder of runs.

    Raises UserError where there is no such folder.
    """
    if not runs.is_dir():
        raise UserError(f"There is no folder {runs}. Name the folder that holds the runs.")
    folders = (folder for folder in (runs / FOLDER).glob("*") if folder.is_dir())
    return sorted(map(_stored, folders), key=lambda one: (-one.size_bytes, one.folder.name))


def store_lines(runs: Path, stores: Sequence[Stored]) -> list[str]:
    """The list as lines of text."""
    if not stores:
        return [
            f"No teacher's outputs are kept in {runs / FOLDER}. They are where clips come back as "
            "they were: without augmentation, or with data.augment.views."
        ]
    lines = []
    for one in stores:
        damaged = f", {one.damaged_shards} shards damaged" if one.damaged_shards else ""
        lines.append(
            f"{one.folder.name}  {one.what.get('teacher', 'of an unknown teacher')}  "
            f"{one.outputs:,} outputs  {one.size_bytes / 1e6:.1f} MB{damaged}  {_look(one.what)}"
        )
    total = sum(one.size_bytes for one in stores)
    return [*lines, f"{len(stores)} in all, {total / 1e6:.1f} MB, in {runs / FOLDER}"]


def _look(what: dict[str, Any]) -> str:
    looks = what.get("looks", {})
    drawn = "augmented views" if "draw" in what else "clips without augmentation"
    if not looks:
        return ""
    return f"{looks.get('frames')} frames of {looks.get('size')} px, {drawn}"


def _stored(folder: Path) -> Stored:
    try:
        what = json.loads((folder / "what.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        what = {}
    outputs = damaged = 0
    for shard in folder.glob("*.safetensors"):
        try:
            with safe_open(shard, "pt") as stored:
                outputs += stored.get_slice("ids").get_shape()[0]
        except (OSError, SafetensorError):
            damaged += 1
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return Stored(folder, what if isinstance(what, dict) else {}, outputs, size, damaged)
