"""A folder of numbered pictures as one clip: which of its files are the frames, in which order.

Folders come as programs and file managers leave them: with `Thumbs.db`, with copies, with gaps,
with the frames of several cameras or of optical flow between those of the video.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from understudy.data.hidden import is_hidden
from understudy.data.media import MEDIA_SUFFIXES, PICTURE_SUFFIXES
from understudy.errors import some_of

_COPY = re.compile(
    r"(?P<base>.+?)( \(\d+\)|( -|_-)? ?(copy|kopie|copie|copia)( \(?\d+\)?)?)|copy of (?P<of>.+)",
    re.IGNORECASE,
)
_SAME_KIND = {".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".tiff": ".tif", ".heif": ".heic"}
_OF_A_TIME = 4
"""So many numbers in a name are a date and a time, of which every part counts on."""


@dataclass(frozen=True, slots=True)
class Frames:
    """What a folder holds, hidden files apart.

    pictures: in the order of their numbers, copies left out. copies: pictures that a file manager
    made of another one. others: what is no picture. sequences: how the names of each numbered
    sequence begin; one for a clip. missing: numbers that lack between the first and the last.
    numbered: how many pictures the longest sequence has. is_clip: whether this is one clip, or
    would be with its sequences apart.
    """

    pictures: tuple[str, ...]
    copies: tuple[str, ...]
    others: tuple[str, ...]
    sequences: tuple[str, ...]
    missing: int
    numbered: int
    is_clip: bool

    @property
    def several(self) -> str:
        """What is wrong with a folder of several sequences; empty where it has one."""
        if len(self.sequences) < 2:
            return ""
        return (
            f"its pictures are numbered in {len(self.sequences)} sequences "
            f"({some_of(self.sequences)}); a clip is one. Give each a folder of its own, or "
            "take out those that are not meant"
        )


def frames_of(folder: Path) -> Frames:
    """Look into a folder; no file is opened. Raises OSError."""
    files, has_folders = [], False
    for entry in os.scandir(folder):
        if is_hidden(entry.name):
            continue
        if os.path.isdir(entry.path):  # False for a link that goes round in circles
            has_folders = True
        else:
            files.append(entry.name)
    pictures = [name for name in files if _suffix(name) in PICTURE_SUFFIXES]
    others = sorted(name for name in files if _suffix(name) not in PICTURE_SUFFIXES)
    copies = _copies(pictures)
    pictures = sorted(set(pictures) - set(copies), key=lambda name: natural_key(Path(name)))
    keys = [_sequence(name) for name in pictures]
    sizes = Counter(key for key in keys if key is not None)
    sequences = [key for key, size in sizes.items() if size > 1]
    is_clip = (
        bool(sequences)
        and None not in keys
        # Names drawn at random end in digits too, and hardly two of them in a sequence.
        and len(pictures) >= 2 * len(sizes)
        and not has_folders
        and not any(_suffix(name) in MEDIA_SUFFIXES for name in others)
    )
    names = tuple(sorted(f"{key[0]}#{key[1]}" for key in sizes)) if is_clip else ()
    missing = _missing(pictures) if len(names) == 1 else 0
    return Frames(
        pictures=tuple(pictures),
        copies=tuple(copies),
        others=tuple(others),
        sequences=names,
        missing=missing,
        numbered=max(sizes.values(), default=0),
        is_clip=is_clip,
    )


def is_frame_folder(folder: Path) -> bool:
    """Whether a folder is one clip: two or more pictures, all numbered. Raises OSError."""
    return frames_of(folder).is_clip


def natural_key(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sorts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts], path.name


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _copies(pictures: list[str]) -> list[str]:
    """Copies of another picture, `frame_01 (1)` beside `frame_01`, and one alone beside many."""
    stems = {os.path.splitext(name)[0].casefold() for name in pictures}
    marked = {}
    for name in pictures:
        if match := _COPY.fullmatch(os.path.splitext(name)[0]):
            marked[name] = match["base"] or match["of"]
    copies = [name for name, base in marked.items() if base.casefold() in stems]
    rest = set(marked) - set(copies)
    if len(rest) == 1 and len(pictures) - len(copies) > 2:
        copies += rest
    return sorted(copies)


def _sequence(name: str) -> tuple[str, str] | None:
    """What stands before and after the number that counts; None for a name without one."""
    stem, suffix = os.path.splitext(name.casefold())
    suffix = _SAME_KIND.get(suffix, suffix)
    if len(re.findall(r"\d+", stem)) >= _OF_A_TIME:
        return re.sub(r"\d+", "#", stem), suffix
    match = re.fullmatch(r"(.*?)\d+(\D*)", stem)
    return (match[1], f"{match[2]}{suffix}") if match else None


def _missing(pictures: Iterable[str]) -> int:
    """How many numbers lack, at the step that most of them have."""
    stems = [os.path.splitext(name)[0] for name in pictures]
    if len(re.findall(r"\d+", stems[0])) >= _OF_A_TIME:
        return 0
    numbers = sorted({int(re.findall(r"\d+", stem)[-1]) for stem in stems})
    steps = [b - a for a, b in pairwise(numbers)]
    if not steps:
        return 0
    usual, count = Counter(steps).most_common(1)[0]
    if 2 * count <= len(steps):
        return 0
    return sum(step // usual - 1 for step in steps if step > usual)
