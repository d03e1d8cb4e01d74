"""A folder with one sub-folder per class, of videos, pictures or frame folders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from understudy.data.grouping import Grouping
from understudy.data.manifest import Manifest
from understudy.data.media import MEDIA_SUFFIXES, PICTURE_SUFFIXES, is_folder, kind_of
from understudy.errors import UserError
from understudy.record import Record

DEEPEST = 100
"""Folders in folders that are walked through."""

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

    A clip is a group of its own unless group_by or neighbours says what belongs together: the
    pattern and the neighbours of `Grouping`.

    Raises UserError for an empty tree, and for a rule that does not fit a file.
    """
    root = Path(root).absolute()
    if not root.is_dir():
        raise UserError(f"There is no folder {root}.")
    ignored: list[str] = []
    try:
        records = list(_records(root, ignored))
    except OSError as error:
        raise UserError(f"{error.filename or root} cannot be read: {error.strerror}.") from error
    if not records:
        raise UserError(
            f"{root} holds no sub-folder with media. Expected one for each class, with videos, "
            f"pictures or folders of numbered frames.{_one_level_up(root)}"
        )
    manifest = Manifest.from_records(records, root, ignored=ignored)
    return Grouping(pattern=group_by, neighbours=neighbours)(manifest)


def _records(root: Path, ignored: list[str]) -> Iterator[Record]:
    """A row for each clip; what is none goes to `ignored`."""
    for split, folder in _split_folders(root):
        for entry in sorted(folder.iterdir()):
            name = entry.relative_to(root).as_posix()
            seen = {identity_of(root), identity_of(folder)}
            found = list(_clips(entry, root, ignored, seen)) if is_folder(entry) else []
            if not found:
                ignored.append(name)
            if found and "|" in entry.name:
                raise UserError(
                    f"The folder {entry} cannot be a class: in tables | stands between several "
                    "labels of one clip. Rename it."
                )
            for clip in found:
                # Tables are read without blanks around a value: a class is named without them.
                yield Record(clip, entry.name.strip(), split, group=clip)


def _one_level_up(root: Path) -> str:
    if any(entry.suffix.lower() in MEDIA_SUFFIXES for entry in root.iterdir()):
        return f" Media lie directly in it: is {root.parent} the folder of the classes?"
    return ""


def _split_folders(root: Path) -> list[tuple[str, Path]]:
    folders = [entry for entry in sorted(root.iterdir()) if is_folder(entry)]
    names = [SPLIT_FOLDERS.get(folder.name.lower()) for folder in folders]
    if folders and all(names) and "train" in names:
        return [(name, folder) for name, folder in zip(names, folders, strict=True) if name]
    return [("", root)]


def _clips(
    folder: Path, root: Path, ignored: list[str], seen: set[tuple[int, int]]
) -> Iterator[str]:
    """Paths of the clips below a class folder; what is no media goes to `ignored`, and so does a
    link to a folder that was walked through before. seen: what these are known by."""
    if identity_of(folder) in seen:
        ignored.append(folder.relative_to(root).as_posix())
        return
    seen.add(identity_of(folder))
    if len(folder.relative_to(root).parts) > DEEPEST:
        raise UserError(f"{folder} lies more than {DEEPEST} folders deep. Move it further up.")
    for entry in sorted(folder.iterdir()):
        name = entry.relative_to(root).as_posix()
        if is_folder(entry):
            if is_frame_folder(entry):
                yield name
            else:
                yield from _clips(entry, root, ignored, seen)
        elif is_media(entry):
            yield name
        else:
            ignored.append(name)


def is_media(entry: Path) -> bool:
    """Whether a name is one of media, and no FIFO, device or socket bears it. What is missing (a
    link to nothing) counts: it is told when it is read."""
    if entry.suffix.lower() not in MEDIA_SUFFIXES or entry.name.startswith("."):
        return False
    try:
        return kind_of(entry) == "file"
    except OSError:
        return True


def identity_of(folder: Path) -> tuple[int, int]:
    """What a folder is known by whatever links lead to it: loops of links are walked through once.
    Raises OSError."""
    found = folder.stat()
    return found.st_dev, found.st_ino


def is_frame_folder(folder: Path) -> bool:
    """Whether a folder is one clip: two or more pictures, and nothing else, all numbered."""
    files = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return len(files) > 1 and all(
        file.suffix.lower() in PICTURE_SUFFIXES and re.search(r"\d$", file.stem) for file in files
    )
