"""From what a tool labelled to rows: media found, frames and times made seconds, overlaps cut.

A segment is a row with start_s and end_s. Where segments of one file overlap, all of their labels
hold: the file is cut wherever the labels change, and the pieces in which several hold become rows
with several labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.data.manifest import Manifest
from understudy.data.media import DecodeError
from understudy.data.sources.annotations.media_folder import MediaFolder, parts_of
from understudy.data.sources.stretches import Span, cut_overlaps
from understudy.errors import UserError, some_of
from understudy.record import Record

OVER_S = 0.5
"""By how much a segment may end after its video: tools and decoders measure a little differently.
What is over is not there to be read."""
JOINT_S = 0.1
"""A piece between two labels that is shorter is a joint that was not hit exactly, and no clip."""

SECONDS = 1.0
OWN_FRAMES = None


@dataclass(frozen=True, slots=True)
class Segment:
    """What was labelled as one.

    media: as the tool names it. labels: all that hold. start, end: without them from the beginning
    and to the end; a frame is `per_second` long, so 1 where they are seconds, None for the frames
    of the video itself; end is the first frame that no longer belongs. where: names the place in
    the annotation file. group: the video itself, where it is empty.
    """

    media: str
    labels: tuple[str, ...]
    start: float | None = None
    end: float | None = None
    per_second: float | None = SECONDS
    where: str = ""
    split: str = ""
    group: str = ""

    def told(self) -> str:
        """For a message: what and where it is."""
        unit = "s" if self.per_second == SECONDS else "frames"
        times = ["the beginning", "the end"]
        for place, time in enumerate((self.start, self.end)):
            if time is not None:
                times[place] = f"{time:g}"
        label = "|".join(self.labels)
        where = f", {self.where}" if self.where else ""
        return f"{label!r} in {self.media}{where}, from {times[0]} to {times[1]} {unit}"


def to_manifest(
    segments: Sequence[Segment], media: MediaFolder, notes: Iterable[str], source: Path
) -> Manifest:
    """One row for each piece of media with the same labels.

    notes: what the reader of the tool left out. source: the annotation file, for messages.
    Raises UserError for media none of which are found, and for times that cannot be.
    """
    from understudy.data.decode import probe  # what is told of a source needs no PyTorch

    told = list(notes)
    if not segments:
        raise UserError(f"{source} holds no label of any media. {' '.join(told)}".strip())
    _check(segments, source)
    by_path = _found(segments, media, source, told)
    rows: list[Record] = []
    overlaps, joints, over, unreadable = 0, 0, 0, []
    for path, some in _alone(by_path, source):
        first = some[0]
        timed = any(one.start is not None or one.end is not None for one in some)
        pieces: Sequence[tuple[float | None, float | None, frozenset[str]]]
        pieces = [(None, None, frozenset(n for one in some for n in one.labels))]
        if timed:
            try:
                info = probe(media.folder / path)
            except DecodeError as error:
                unreadable.append(f"{path} ({error.reason})")
                continue
            spans = [_seconds(one, info.fps, info.duration_s, source) for one in some]
            over += sum(end > info.duration_s + 1 / max(info.fps, 1) for _, end, _ in spans)
            pieces, cut, dropped = cut_overlaps(spans, JOINT_S)
            overlaps, joints = overlaps + cut, joints + dropped
        group = first.group or path
        for start_s, end_s, labels in pieces:
            rows.append(Record(path, tuple(sorted(labels)), first.split, group, start_s, end_s))
    if unreadable:
        told.append(
            f"{len(unreadable)} videos cannot be read, and were left out: {some_of(unreadable)}."
        )
    if not rows:
        raise UserError(f"{source}: nothing is left to learn from. {' '.join(told)}")
    several = sum(len(row.label or ()) > 1 for row in rows)
    if not several:
        rows = [_single(row) for row in rows]
    else:
        told.append(f"{several} rows hold several labels, so every row has a list of them.")
    if overlaps:
        told.append(
            f"{overlaps} segments overlap others, and were cut where the labels change"
            + f"; {joints} pieces shorter than {JOINT_S} s were left out." * bool(joints)
            + "." * (not joints)
        )
    if over:
        told.append(f"{over} segments end up to {OVER_S} s after their video, and end with it.")
    unused = media.unused(set(by_path))
    if unused:
        told.append(
            f"{len(unused)} media below {media.folder} are not labelled, and were left out: "
            f"{some_of(unused)}."
        )
    return Manifest.from_records(rows, media.folder, notes=told)


def _alone(by_path: dict[str, list[Segment]], source: Path) -> Iterable[tuple[str, list[Segment]]]:
    """The segments of each file, those of each group by themselves."""
    for path, some in by_path.items():
        splits = {one.split for one in some}
        if len(splits) > 1:
            raise UserError(f"{source}: {path} stands in several splits: {', '.join(splits)}.")
        groups: dict[str, list[Segment]] = {}
        for one in some:
            groups.setdefault(one.group, []).append(one)
        yield from ((path, same) for same in groups.values())


def _check(segments: Sequence[Segment], source: Path) -> None:
    """Whether every segment has labels, and times that go forwards from 0."""
    wrong = [
        one
        for one in segments
        if (one.start is not None and one.start < 0)
        or (one.end is not None and one.end <= (one.start or 0))
    ]
    if wrong:
        raise UserError(
            f"{source}: {len(wrong)} of {len(segments)} segments have times that cannot be, first "
            f"{wrong[0].told()}. Mend them in the tool, and export again."
        )
    for one in segments:
        if not one.labels or any(not label.strip() or "|" in label for label in one.labels):
            raise UserError(
                f"{source}: the label of {one.told()} is empty or holds |, which stands between "
                "several labels in tables. Rename it in the tool."
            )


def _found(
    segments: Sequence[Segment], media: MediaFolder, source: Path, told: list[str]
) -> dict[str, list[Segment]]:
    """Segments by the path of their media, those of missing media told."""
    by_reference: dict[str, list[Segment]] = {}
    for one in segments:
        by_reference.setdefault("/".join(parts_of(one.media)), []).append(one)
    by_path: dict[str, list[Segment]] = {}
    named: dict[str, str] = {}
    missing, lost = [], 0
    for reference, some in by_reference.items():
        path = media.find(some[0].media)
        if path is None:
            missing.append(reference)
            lost += len(some)
        elif path in named:
            raise UserError(
                f"{source}: {named[path]} and {reference} would both be {path} below "
                f"{media.folder}. Give a folder that holds both: --media FOLDER."
            )
        else:
            named[path] = reference
            by_path[path] = some
    if not by_path:
        raise UserError(
            f"None of the {len(missing)} media that {source} names lie below {media.folder} "
            f"({len(media)} others do): {some_of(missing)}. Say where they lie: --media FOLDER."
        )
    if missing:
        told.append(
            f"{len(missing)} of {len(by_reference)} media are not below {media.folder}, and were "
            f"left out with {lost} labels: {some_of(missing)}. Where they lie, --media says."
        )
    return by_path


def _seconds(one: Segment, fps: float, duration_s: float, source: Path) -> Span:
    rate = fps if one.per_second is None else one.per_second
    start_s = 0.0 if one.start is None else one.start / rate
    end_s = duration_s if one.end is None else one.end / rate
    if start_s >= duration_s or end_s > duration_s + OVER_S:
        raise UserError(
            f"{source}: {one.told()}, is past the end of the video, which lasts {duration_s:.2f} s "
            f"at {fps:.4g} frames a second. Another or a short file lies there, or the frames "
            "were counted at another rate."
        )
    return start_s, end_s, frozenset(one.labels)


def _single(row: Record) -> Record:
    (label,) = row.label or ("",)
    return Record(row.path, label, row.split, row.group, row.start_s, row.end_s)
