"""Which classes of a published set are learned, under which names, and in which splits."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from understudy.data.sources.published.annotation_files import Label, read_json, read_rows
from understudy.data.sources.published.gathering import Clip, labels_of
from understudy.errors import UserError, nearest, some_of

SPLITS = ("official", "groups")
COME_ALONG = ("ego4d-eight",)
"""Mapping files in `mappings/`, by name."""


def choose(
    clips: Sequence[Clip],
    *,
    limit_classes: int | None = None,
    mapping: Path | None = None,
    splits: str = "official",
    order: Sequence[str] | None = None,
) -> tuple[list[Clip], list[str]]:
    """The clips that were asked for, and what was left out, told.

    limit_classes: so many classes of `order`, by default sorted. mapping: see `mapped`. splits: the
    official ones, or none at all, so that whole groups are dealt out. Raises UserError.
    """
    if splits not in SPLITS:
        raise UserError(f"--splits {splits!r}: it is one of {', '.join(SPLITS)}.")
    if splits == "groups":
        clips = [replace(clip, split="") for clip in clips]
    names = sorted({name for clip in clips for name in labels_of(clip)})
    chosen, told = mapped(first_classes(clips, order or names, limit_classes), mapping)
    for name in {name for clip in chosen for name in labels_of(clip)}:
        if "|" in name:
            raise UserError(f"The class {name!r} has a |, which stands between several labels.")
    return chosen, told


def first_classes(clips: Sequence[Clip], order: Sequence[str], limit: int | None) -> list[Clip]:
    """The clips of the first classes, in the order that the data set gives them.

    Raises UserError for a limit below two and one that leaves nothing to limit.
    """
    if limit is None:
        return list(clips)
    if not 2 <= limit <= len(order):
        raise UserError(f"--limit-classes {limit}: there are {len(order):,} classes; 2 at least.")
    kept = set(order[:limit])
    return [clip for clip in clips if kept.issuperset(labels_of(clip))]


def mapped(clips: Sequence[Clip], mapping: Path | None) -> tuple[list[Clip], list[str]]:
    """The clips under the names that a mapping file gives, and what it left out, told.

    mapping: a file, or the name of one that comes along: a CSV with the columns label and class, or
    a JSON object of the same. A label may hold * and ?, so that one line catches many; the first
    line that fits counts, in any case of letters. What no line fits is left out and counted. Raises
    UserError.
    """
    if mapping is None:
        return list(clips), []
    along = Path(__file__).parent / "mappings" / f"{mapping}.csv"
    class_of, patterns = _reader(along if str(mapping) in COME_ALONG else Path(mapping))
    kept: list[Clip] = []
    left_out: Counter[str] = Counter()
    used: set[str] = set()
    for clip in clips:
        labels = labels_of(clip)
        found = [class_of(label) for label in labels]
        names = tuple(sorted({name for name, _ in filter(None, found)}))
        used.update(pattern for _, pattern in filter(None, found))
        left_out.update(label for label, one in zip(labels, found, strict=True) if one is None)
        if names:
            kept.append(replace(clip, label=names if isinstance(clip.label, tuple) else names[0]))
    idle = [pattern for pattern in patterns if pattern not in used]
    if not kept:
        known = [label for label, _ in left_out.most_common()]
        raise UserError(
            f"{mapping} fits no label of this data set, such as {some_of(known)}."
            f"{nearest(patterns[0], known)}"
        )
    told = []
    if left_out:
        most = [f"{label} ({count:,})" for label, count in left_out.most_common()]
        told.append(
            f"{mapping} leaves out {left_out.total():,} annotations of {len(left_out):,} labels: "
            f"{some_of(most)}."
        )
    if idle:
        told.append(f"{mapping}: {len(idle):,} lines fit no label: {some_of(idle)}.")
    return kept, told


def _reader(path: Path) -> tuple[Callable[[str], tuple[str, str] | None], list[str]]:
    """From a label to its class and the line that says so; all lines."""
    if path.suffix.lower() == ".json":
        mend = 'A mapping is a JSON object such as {"walks *": "walking"}, or a CSV.'
        pairs = list(read_json(path, dict[str, Label], mend).items())
    else:
        pairs = [(row["label"], row["class"]) for row in read_rows(path, "label class")]
    pairs = [(label.strip(), name.strip()) for label, name in pairs]
    if not pairs or not all(text for pair in pairs for text in pair):
        raise UserError(f"{path} needs a label and a class in every line, and one line at least.")
    lines = [(re.compile(fnmatch.translate(label.lower())), label, name) for label, name in pairs]

    @functools.cache
    def class_of(label: str) -> tuple[str, str] | None:
        lower = label.lower()
        return next(((name, line) for fits, line, name in lines if fits.match(lower)), None)

    return class_of, [label for label, _ in pairs]
