"""MMAction2: lists of videos or of frame folders, and the label map that names their classes.

A line is `video.mp4 3`, `folder 250 3` with the number of frames, `folder 12 250 3` with the first
frame before it, or any of the first two with several labels. See the docstrings of its
VideoDataset and RawframeDataset, https://github.com/open-mmlab/mmaction2. Paths are below the
`data_prefix` of its configuration: --media.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.data.frame_folder import frames_of
from understudy.data.manifest import Manifest
from understudy.data.media import MEDIA_SUFFIXES
from understudy.data.sources.about import About
from understudy.data.sources.annotations.media_folder import MediaFolder
from understudy.data.sources.annotations.reading import read_text
from understudy.data.sources.annotations.segments import OWN_FRAMES, Segment, to_manifest
from understudy.data.sources.layout import SPLIT_FOLDERS
from understudy.errors import UserError

ABOUT = About(
    "MMAction2, lists of videos or frame folders",
    "MMAction2: tools/data/build_file_list.py",
    "your own",
    (
        "*_train_list_videos.txt, *_val_list_videos.txt or one such file: path label",
        "label_map*.txt: the name of a class a line",
        "the videos or frame folders, below --media",
    ),
)


@dataclass(frozen=True, slots=True)
class _Line:
    """Of a list: where it stands, the path, the numbers after it, and the split of the list."""

    where: str
    path: str
    numbers: tuple[int, ...]
    split: str

    @property
    def is_video(self) -> bool:
        return Path(self.path).suffix.lower() in MEDIA_SUFFIXES


def read(place: Path, *, media: Path | None = None, label_map: Path | None = None) -> Manifest:
    """place: a list, or a folder with one for each split.

    media: the `data_prefix` of the lists, if it is not their folder.
    label_map: the names of the classes, if it is no label_map*.txt beside the lists.
    """
    lists, maps = _files(Path(place))
    if label_map is None and len(maps) > 1:
        raise UserError(
            f"Several label maps lie at {place}: {', '.join(one.name for one in maps)}. Say which: "
            "--label-map FILE."
        )
    map_file = label_map or next(iter(maps), None)
    names = [] if map_file is None else [one.strip() for one in read_text(map_file).splitlines()]
    lines = [line for file, split in lists for line in _lines(file, split)]
    if not lines:
        raise UserError(f"{place} holds no line with a path and a label.")
    home = lists[0][0].absolute().parent
    folder = MediaFolder(media or home, whole=True, frames=not lines[0].is_video)
    notes = ["There is no label map: classes are called by their numbers."] * (map_file is None)
    segments = [
        Segment(line.path, _names(line, labels, names, map_file), *times, line.where, line.split)
        for line, times, labels in _read(lines, folder)
    ]
    return to_manifest(segments, folder, notes, lists[0][0] if len(lists) == 1 else home)


def _files(place: Path) -> tuple[list[tuple[Path, str]], list[Path]]:
    """The lists with their splits, and the label maps."""
    folder = place if place.is_dir() else place.parent
    if not place.is_dir():
        return [(place, "")], sorted(folder.glob("label_map*.txt"))
    files = sorted(one for one in folder.glob("*.txt") if not one.name.startswith("label_map"))
    by_split: dict[str, list[Path]] = {}
    for file in files:
        words = re.split(r"[^a-z]+", file.stem.lower())
        for split in dict.fromkeys(SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS):
            by_split.setdefault(split, []).append(file)
    several = [some for some in by_split.values() if len(some) > 1]
    if not by_split or several:
        told = ", ".join(one.name for one in (several[0] if several else files)) or "none"
        raise UserError(
            f"{place} should hold one list for each split, with train, val or test in its name; "
            f"there: {told}. Name one list, or put those of one split number into a folder."
        )
    return [(some[0], split) for split, some in by_split.items()], sorted(
        folder.glob("label_map*.txt")
    )


def _lines(file: Path, split: str) -> Iterator[_Line]:
    for number, text in enumerate(read_text(file).splitlines(), start=1):
        words = text.split()
        if not words:
            continue
        where = f"{file.name}, line {number}"
        # A path may hold blanks: what follows it are numbers.
        last = len(words)
        while last > 1 and re.fullmatch(r"\d{1,9}", words[last - 1]):
            last -= 1
        path, numbers = " ".join(words[:last]), tuple(map(int, words[last:]))
        if not numbers or (re.search(r"[,;]\s*\d+$", path) is not None):
            raise UserError(
                f"{where}: {text[:80]!r} is no path with the numbers of its classes after a blank."
            )
        yield _Line(where, path, numbers, split)


_Times = tuple[float | None, float | None, float | None]
_WHOLE: _Times = (None, None, OWN_FRAMES)


def _read(
    lines: Sequence[_Line], folder: MediaFolder
) -> Iterator[tuple[_Line, _Times, tuple[int, ...]]]:
    """Every line with its times and labels."""
    if lines[0].is_video:
        for line in lines:
            if not line.is_video:
                raise UserError(f"{line.where}: {line.path} is no video, as the lines before it.")
            yield line, _WHOLE, line.numbers
        return
    counts = {line.path: _count(line, folder) for line in lines}
    has_offset = _has_offset(lines, counts)
    for line in lines:
        count = counts[line.path]
        first = line.numbers[0] if has_offset else 0
        total, *labels = line.numbers[1:] if has_offset else line.numbers
        if not labels:
            raise UserError(f"{line.where}: {line.path} has a number of frames and no label.")
        is_whole = count is None or (first == 0 and total == count)
        if count is not None and first + total > count:
            raise UserError(
                f"{line.where}: {line.path} should have {first + total} frames, and has {count}. "
                "Extract them again, or correct the line."
            )
        yield line, _WHOLE if is_whole else (first, first + total, OWN_FRAMES), tuple(labels)


def _has_offset(lines: Sequence[_Line], counts: dict[str, int | None]) -> bool:
    """Whether the number of frames comes second, after the first frame. What is on disk tells."""
    if any(len(line.numbers) != 3 for line in lines):
        return False
    known = [(line, counts[line.path]) for line in lines if counts[line.path] is not None]
    if all(line.numbers[0] == count for line, count in known):
        return False
    if all(line.numbers[1] and sum(line.numbers[:2]) <= (count or 0) for line, count in known):
        return True
    raise UserError(
        f"{lines[0].where}: its three numbers may be first frame, frames and label, or frames and "
        "two labels; the frames on disk fit neither. Extract them again, or correct the list."
    )


def _count(line: _Line, folder: MediaFolder) -> int | None:
    """Frames in a folder; None where it is missing."""
    path = folder.find(line.path)
    if path is None:
        return None
    frames = frames_of(folder.folder / path)
    if frames.several:
        raise UserError(f"{folder.folder / path}: {frames.several}.")
    return len(frames.pictures)


def _names(
    line: _Line, labels: Sequence[int], names: Sequence[str], map_file: Path | None
) -> tuple[str, ...]:
    if map_file is None:
        return tuple(map(str, labels))
    for label in labels:
        if label >= len(names):
            raise UserError(
                f"{line.where}: class {label} is not in {map_file}, which names {len(names)}, "
                "from 0 on."
            )
    return tuple(names[label] for label in labels)
