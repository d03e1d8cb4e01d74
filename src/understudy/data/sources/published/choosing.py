"""Which classes of a published set are learned, and under which names."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from understudy.data.sources.published.annotation_files import Label, read_json, read_rows
from understudy.data.sources.published.gathering import Clip, some
from understudy.errors import UserError, nearest


def first_classes(clips: Sequence[Clip], order: Sequence[str], limit: int | None) -> list[Clip]:
    """The clips of the first classes, in the order that the data set gives them.

    Raises UserError for a limit below two and one that leaves nothing to limit.
    """
    if limit is None:
        return list(clips)
    if not 2 <= limit <= len(order):
        raise UserError(f"--limit-classes {limit}: there are {len(order):,} classes; 2 at least.")
    kept = set(order[:limit])
    return [clip for clip in clips if clip.label in kept]


def mapped(clips: Sequence[Clip], mapping: Path | None) -> tuple[list[Clip], list[str]]:
    """The clips under the names that a mapping file gives, and what it left out, told.

    The file is a CSV with the columns label and class, or a JSON object of the same. A label may
    hold * and ?, so that one line catches many; the first line that fits counts, in any case of
    letters. What no line fits is left out and counted. Raises UserError.
    """
    if mapping is None:
        return list(clips), []
    class_of, patterns = _reader(Path(mapping))
    kept: list[Clip] = []
    left_out: Counter[str] = Counter()
    used: set[str] = set()
    for clip in clips:
        labels = clip.label if isinstance(clip.label, tuple) else (clip.label or "",)
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
            f"{mapping} fits no label of this data set, such as {some(known)}"
            f"{nearest(patterns[0], known)}"
        )
    told = []
    if left_out:
        most = [f"{label} ({count:,})" for label, count in left_out.most_common(6)]
        told.append(
            f"{mapping} leaves out {left_out.total():,} annotations of {len(left_out):,} labels: "
            f"{some(most)}"
        )
    if idle:
        told.append(f"{mapping}: {len(idle):,} lines fit no label: {some(idle)}")
    return kept, told


def _reader(path: Path) -> tuple[Callable[[str], tuple[str, str] | None], list[str]]:
    """From a label to its class and the line that says so; all lines."""
    if path.suffix.lower() == ".json":
        pairs = list(read_json(path, dict[str, Label]).items())
    else:
        pairs = [(row["label"], row["class"]) for row in read_rows(path, "label class")]
    pairs = [(label.strip(), name.strip()) for label, name in pairs]
    if not pairs or not all(chain_of for pair in pairs for chain_of in pair):
        raise UserError(f"{path} needs a label and a class in every line, and one line at least.")
    lines = [(re.compile(fnmatch.translate(label.lower())), label, name) for label, name in pairs]

    @functools.cache
    def class_of(label: str) -> tuple[str, str] | None:
        lower = label.lower()
        return next(((name, line) for fits, line, name in lines if fits.match(lower)), None)

    return class_of, [label for label, _ in pairs]
