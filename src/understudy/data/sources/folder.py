"""A folder with one sub-folder per class, of videos, pictures or frame folders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from understudy.data.manifest import Manifest
from understudy.data.media import MEDIA_SUFFIXES, PICTURE_SUFFIXES
from understudy.errors import UserError
from understudy.types import Record

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def from_folder(
    root: Path, *, group_by: str | None = None, neighbours: int | None = None
) -> Manifest:
    """The manifest of a tree of media.

    root/<class>/... holds videos or pictures, at any depth; a folder inside a class folder in which
    two or more pictures, and nothing else, are numbered is one clip. A tree that is split already
    has root/train/<class>/..., root/val and root/test; else the split stays empty.

    A clip is a group of its own unless one of these says what belongs together:
    group_by: a regular expression on the path below root; its first bracket is the group.
    neighbours: files numbered one after another show the same person. Over all classes together, a
    group takes this many files at least and ends where a new round of the classes begins.

    Raises UserError for an empty tree, and for a rule that does not fit a file.
    """
    root = Path(root).absolute()
    if group_by is not None and neighbours is not None:
        raise UserError("group_by and neighbours both say what belongs together; give one.")
    if not root.is_dir():
        raise UserError(f"There is no folder {root}.")
    records: list[Record] = []
    ignored: list[str] = []
    for split, folder in _split_folders(root):
        for entry in sorted(folder.iterdir()):
            name = entry.relative_to(root).as_posix()
            found = list(_clips(entry, root, ignored)) if entry.is_dir() else []
            if not found:
                ignored.append(name)
            if found and "|" in entry.name:
                raise UserError(
                    f"The folder {entry} cannot be a class: in tables | stands between several "
                    "labels of one clip. Rename it."
                )
            # Tables are read without blanks around a value, so a class is named without them.
            records += [Record(clip, entry.name.strip(), split, group=clip) for clip in found]
    if not records:
        raise UserError(
            f"{root} holds no sub-folder with media. Expected one for each class, with videos, "
            f"pictures or folders of numbered frames.{_one_level_up(root)}"
        )
    if group_by is not None:
        records = [replace(row, group=_matched(group_by, row.path)) for row in records]
    if neighbours is not None:
        records = _number_blocks(records, neighbours)
    return Manifest.from_records(records, root, ignored=ignored)


def _one_level_up(root: Path) -> str:
    if any(entry.suffix.lower() in MEDIA_SUFFIXES for entry in root.iterdir()):
        return f" Media lie directly in it: is {root.parent} the folder of the classes?"
    return ""


def _split_folders(root: Path) -> list[tuple[str, Path]]:
    folders = [entry for entry in sorted(root.iterdir()) if entry.is_dir()]
    names = [SPLIT_FOLDERS.get(folder.name.lower()) for folder in folders]
    if folders and all(names) and "train" in names:
        return [(name, folder) for name, folder in zip(names, folders, strict=True) if name]
    return [("", root)]


def _clips(folder: Path, root: Path, ignored: list[str]) -> Iterator[str]:
    """Paths of the clips below a class folder; what is no media goes to `ignored`."""
    for entry in sorted(folder.iterdir()):
        name = entry.relative_to(root).as_posix()
        if entry.is_dir():
            if is_frame_folder(entry):
                yield name
            else:
                yield from _clips(entry, root, ignored)
        elif entry.suffix.lower() in MEDIA_SUFFIXES and not entry.name.startswith("."):
            yield name
        else:
            ignored.append(name)


def is_frame_folder(folder: Path) -> bool:
    """Whether a folder is one clip: two or more pictures, and nothing else, all numbered."""
    files = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return len(files) > 1 and all(
        file.suffix.lower() in PICTURE_SUFFIXES and re.search(r"\d$", file.stem) for file in files
    )


def _matched(pattern: str, path: str) -> str:
    try:
        match = re.search(pattern, path)
        group = match[1] if match else None
    except (re.error, IndexError) as error:
        raise UserError(
            f"group_by {pattern!r} is no regular expression with a bracket: {error}"
        ) from error
    if not group:
        raise UserError(f"group_by {pattern!r} finds no group in {path}.")
    return group


def _number_blocks(records: list[Record], size: int) -> list[Record]:
    if size < 1:
        raise UserError(f"neighbours={size}: a group takes one file at least.")
    rows = sorted(range(len(records)), key=lambda row: (_number(records[row].path), row))
    grouped = list(records)
    name, members, last = "", 0, ""
    for row in rows:
        record = records[row]
        # A person shows the classes in turn, so a block that ends in mid-round would put one
        # person into two groups.
        if members == 0 or (members >= size and str(record.label) <= last):
            name, members = f"from-{_number(record.path)}", 0
        members, last = members + 1, str(record.label)
        grouped[row] = replace(record, group=name)
    return grouped


def _number(path: str) -> int:
    numbers = re.findall(r"\d+", Path(path).stem)
    if not numbers:
        raise UserError(f"neighbours needs a number in every file name; {path} has none.")
    return int(numbers[-1])
