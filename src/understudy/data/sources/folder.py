"""A folder with one sub-folder per class, of videos, pictures or frame folders."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from understudy.data.frame_folder import frames_of
from understudy.data.grouping import Grouping
from understudy.data.hidden import is_hidden
from understudy.data.manifest import Manifest
from understudy.data.media import MEDIA_SUFFIXES, is_folder, kind_of
from understudy.data.sources.layout import parts_of
from understudy.errors import UserError, some_of
from understudy.record import Record

DEEPEST = 100
"""Folders in folders that are walked through."""


def from_folder(
    root: Path, *, group_by: str | None = None, neighbours: int | None = None
) -> Manifest:
    """The manifest of a tree of media.

    root/<class>/... holds videos or pictures, at any depth; a folder inside a class folder in which
    two or more pictures are numbered, and no other pictures lie, is one clip. A tree that is split
    already has root/train/<class>/..., root/val and root/test; else the split stays empty. What is
    hidden is no class and no clip; what else was left out, the manifest notes.

    A clip is a group of its own unless group_by or neighbours says what belongs together: the
    pattern and the neighbours of `Grouping`.

    Raises UserError for an empty tree, for one that can be read in two ways, and for a rule that
    does not fit a file.
    """
    root = Path(root).absolute()
    if not root.is_dir():
        raise UserError(f"There is no folder {root}.")
    walk = _Walk(root)
    try:
        records = _one_of_each(list(_records(walk)), walk)
    except OSError as error:
        raise UserError(f"{error.filename or root} cannot be read: {error.strerror}.") from error
    if not records:
        raise UserError(
            f"{root} holds no sub-folder with media. Expected one for each class, with videos, "
            f"pictures or folders of numbered frames.{_one_level_up(walk)}"
        )
    manifest = Manifest.from_records(records, root, ignored=walk.ignored, notes=walk.sentences())
    return Grouping(pattern=group_by, neighbours=neighbours)(manifest)


@dataclass
class _Walk:
    """What is met on the way. ignored: what is no media. notes: sentences. told: names by what is
    the matter with them."""

    root: Path
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    told: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def name(self, entry: Path) -> str:
        """As a table would write it."""
        return entry.relative_to(self.root).as_posix()

    def sentences(self) -> list[str]:
        return [
            *self.notes,
            *(
                _TOLD[what].format(len(names), some_of(names, 3))
                for what, names in self.told.items()
            ),
        ]


_TOLD = {
    "loose": "{} media lie beside the class folders and were left out: {}",
    "empty": "{} folders hold no media and are no classes: {}",
    "gaps": "{} frame folders lack numbers, and what is left is taken frame by frame: {}",
    "copies": "{} copies of frames were left out: {}",
    "mixed": "{} folders hold numbered pictures beside others; each picture is a clip there: {}",
    "links": "{} links lead to clips that are there already and were left out: {}",
    "alike": "{} folders are one class with another, without blanks around and with accents in "
    "one spelling: {}",
}


class _Clip(NamedTuple):
    """linked: whether a link was passed on the way."""

    path: str
    linked: bool


def _records(walk: _Walk) -> Iterator[tuple[Record, bool]]:
    """A row for each clip, and whether it was found through a link."""
    for split, folder, label in parts_of(walk.root, walk.notes):
        labels: dict[str, str] = {}
        seen = {identity_of(walk.root), identity_of(folder)}
        entries = [folder] if label is not None else sorted(folder.iterdir())
        for entry in entries:
            name = walk.name(entry)
            if is_hidden(entry.name):
                walk.ignored.append(name)
                continue
            if not is_folder(entry):
                (walk.told["loose"] if is_media(entry) else walk.ignored).append(name)
                continue
            known = set(seen) - ({identity_of(folder)} if label is not None else set())
            found = list(_clips(entry, walk, known, entry.is_symlink()))
            if not found:
                walk.told["empty"].append(f"{name}/")
                continue
            if "|" in (label or entry.name):
                raise UserError(
                    f"The folder {entry} cannot be a class: in tables | stands between several "
                    "labels of one clip. Rename it."
                )
            # Tables are read without blanks around a value: a class is named without them.
            plain = unicodedata.normalize("NFC", (label or entry.name).strip())
            if labels.setdefault(plain, name) != name:
                walk.told["alike"].append(f"{name}/")
            for clip in found:
                yield Record(clip.path, plain, split, group=clip.path), clip.linked


def _one_of_each(found: list[tuple[Record, bool]], walk: _Walk) -> list[Record]:
    """Each file once: what a link leads to is left out where it was met without one."""
    if not any(linked for _, linked in found):
        return [record for record, _ in found]
    base = os.path.realpath(walk.root)
    taken = {os.path.join(base, record.path) for record, linked in found if not linked}
    records = []
    for record, linked in found:
        if linked:
            real = os.path.realpath(walk.root / record.path)
            if real in taken:
                walk.told["links"].append(record.path)
                continue
            taken.add(real)
        records.append(record)
    return records


def _one_level_up(walk: _Walk) -> str:
    if not walk.told["loose"]:
        return ""
    first = (walk.root / walk.told["loose"][0]).parent
    if first != walk.root:
        return f" Media lie directly in {first.name}/, without class folders."
    return f" Media lie directly in it: is {walk.root.parent} the folder of the classes?"


def _clips(folder: Path, walk: _Walk, seen: set[tuple[int, int]], linked: bool) -> Iterator[_Clip]:
    """The clips below a class folder; what is no media is noted, and so is a link to a folder that
    was walked through before. seen: what these are known by."""
    if identity_of(folder) in seen:
        walk.ignored.append(walk.name(folder))
        return
    seen.add(identity_of(folder))
    if len(folder.relative_to(walk.root).parts) > DEEPEST:
        raise UserError(f"{folder} lies more than {DEEPEST} folders deep. Move it further up.")
    for entry in sorted(folder.iterdir()):
        name, through = walk.name(entry), linked or entry.is_symlink()
        if is_hidden(entry.name):
            walk.ignored.append(name)
        elif is_folder(entry):
            if _is_clip(entry, walk):
                yield _Clip(name, through)
            else:
                yield from _clips(entry, walk, seen, through)
        elif is_media(entry):
            yield _Clip(name, through)
        else:
            walk.ignored.append(name)


def _is_clip(folder: Path, walk: _Walk) -> bool:
    """Whether a folder is one clip; what is odd about its frames is told. Raises UserError for
    several sequences in one."""
    frames, name = frames_of(folder), walk.name(folder)
    if not frames.is_clip:
        if frames.numbered > 1:
            walk.told["mixed"].append(f"{name}/")
        return False
    if frames.several:
        raise UserError(f"{folder}: {frames.several}.")
    walk.ignored += [f"{name}/{one}" for one in frames.others]
    walk.told["copies"] += [f"{name}/{one}" for one in frames.copies]
    if frames.missing:
        walk.told["gaps"].append(f"{name}/ ({frames.missing} beside {len(frames.pictures)})")
    return True


def is_media(entry: Path) -> bool:
    """Whether a name is one of media, and no FIFO, device or socket bears it. What is missing (a
    link to nothing) counts: it is told when it is read."""
    if entry.suffix.lower() not in MEDIA_SUFFIXES or is_hidden(entry.name):
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
