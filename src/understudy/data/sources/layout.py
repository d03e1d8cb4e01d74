"""Which folders of a tree are classes, and which are splits of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from understudy.data.hidden import is_hidden
from understudy.data.media import MEDIA_SUFFIXES, is_folder
from understudy.errors import UserError

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


class Part(NamedTuple):
    """A folder of class folders. label: the class, where the folder is one already."""

    split: str
    folder: Path
    label: str | None = None


def parts_of(root: Path, notes: list[str]) -> list[Part]:
    """The parts of a tree: its splits, or the tree as a whole where it has none.

    Splits are train, val and test (or training, valid, validation, dev, testing) at the top, or in
    every class folder. notes: gets a sentence on folders beside them. Raises UserError where they
    can be read in two ways, OSError.
    """
    folders = _folders(root)
    splits = [folder for folder in folders if folder.name.casefold() in SPLIT_FOLDERS]
    beside = [folder for folder in folders if folder not in splits]
    media = {folder: _count_media(folder) for folder in beside} if splits else {}
    filled = [folder for folder in beside if media[folder]] if splits else []
    if splits and not _are_classes(splits, filled, root):
        for folder in filled:
            notes.append(
                f"{folder.name}/ lies beside the splits and is none: its {media[folder]} media "
                "were left out"
            )
        empty = [f"{folder.name}/" for folder in beside if folder not in filled]
        if empty:
            notes.append(f"beside the splits, without media: {', '.join(empty[:10])}")
        return [Part(_split(folder), folder) for folder in splits]
    return _splits_in_classes(root, folders) or [Part("", root)]


def _are_classes(splits: Sequence[Path], filled: Sequence[Path], root: Path) -> bool:
    """Whether folders called like splits are classes: a train is a vehicle too."""
    names = {_split(folder) for folder in splits}
    flat = [folder.name for folder in splits if _holds_media(folder)]
    if not filled:
        return len(splits) == 1 and bool(flat)
    if len(names) > 1 and "train" in names:
        return False
    if flat and len(names) == 1:
        return True
    called, others = (", ".join(f"{one.name}/" for one in some) for some in (splits, filled[:5]))
    raise UserError(
        f"{root} holds {called} and, with media too, {others}: are they splits or classes? For "
        "splits, there are train, val and test, and the others lie elsewhere; for classes, none is "
        "called like a split."
    )


def _splits_in_classes(root: Path, folders: Sequence[Path]) -> list[Part]:
    """The parts of root/<class>/<split>/..., where every class has them; empty where none has."""
    inner = {
        folder: [
            one
            for one in sorted(folder.iterdir())
            if one.name.casefold() in SPLIT_FOLDERS and is_folder(one)
        ]
        for folder in folders
    }
    if not any({"train"} < {*map(_split, found)} for found in inner.values()):
        return []
    split = [folder for folder in folders if inner[folder]]
    whole = [folder for folder in folders if not inner[folder] and _count_media(folder)]
    loose = [
        folder for folder in split if _count_media(folder) > sum(map(_count_media, inner[folder]))
    ]
    if whole or loose:
        raise UserError(
            f"In {root}, {split[0].name}/ is split into train and others, and "
            f"{(whole or loose)[0].name}/ {'is not' if whole else 'holds media beside them'}. "
            "Split every class, or none and they are dealt by group."
        )
    return [Part(_split(one), one, folder.name) for folder in split for one in inner[folder]]


def _split(folder: Path) -> str:
    return SPLIT_FOLDERS[folder.name.casefold()]


def _folders(folder: Path) -> list[Path]:
    return [one for one in sorted(folder.iterdir()) if not is_hidden(one.name) and is_folder(one)]


def _holds_media(folder: Path) -> bool:
    """Whether media lie in it directly."""
    return any(_is_media(name) for name in os.listdir(folder))


def _count_media(folder: Path) -> int:
    """Media anywhere below, links to folders not followed."""
    count = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        count += sum(map(_is_media, files))
    return count


def _is_media(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in MEDIA_SUFFIXES and not is_hidden(name)
