"""Charades: people at home who do several things at once (Sigurdsson et al., ECCV 2016)."""

from __future__ import annotations

import re
from pathlib import Path

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.published.annotation_files import (
    find_file,
    folder_of,
    read_lines,
    read_rows,
    seconds_of,
)
from understudy.data.sources.published.choosing import choose
from understudy.data.sources.published.gathering import Clip, Place, gather
from understudy.data.sources.stretches import stretches
from understudy.errors import UserError

ABOUT = About(
    title="Charades, 157 actions at home, several at once",
    place="prior.allenai.org/projects/charades",
    licence="research use, not commercial",
    layout=(
        "Charades_v1_train.csv, Charades_v1_test.csv and Charades_v1_classes.txt",
        "Charades_v1_480/<id>.mp4, or Charades_v1_rgb/<id>/<id>-000001.jpg",
    ),
)
SHORTEST_S = 0.5
"""A segment in which the same actions go on for less is the seam of two others."""

Action = tuple[str, float, float]
Segment = tuple[float, float, tuple[str, ...]]


def read(
    place: Path,
    *,
    rows: str = "segments",
    fps: float = 24.0,
    limit_classes: int | None = None,
    mapping: Path | None = None,
    media: Path | None = None,
    splits: str = "official",
) -> Manifest:
    """rows: `segments`, the longest stretches in which the same actions go on, each with all of
    them as labels; or `videos`, whole videos with all actions in them, as the official mAP is
    counted. fps: of frame folders. Groups are the people.
    """
    if rows not in ("segments", "videos"):
        raise UserError(f"--rows {rows!r}: it is segments or videos.")
    root = folder_of(place, ABOUT.layout)
    lines = read_lines(find_file(root, "Charades_v1_classes.txt", ABOUT.layout))
    names = {code: name for code, _, name in (line.partition(" ") for line in lines)}
    clips, idle, short = [], 0, 0
    for split in ("train", "test"):
        path = find_file(root, f"Charades_v1_{split}.csv", ABOUT.layout)
        for row in read_rows(path, "id subject actions length"):
            actions = _actions(row, names, path)
            idle += not actions
            if rows == "videos":
                found: list[Segment] = [(0.0, 0.0, tuple(name for name, *_ in actions))]
            else:
                found, seams = segments(actions)
                short += seams
            for start_s, end_s, labels in found:
                part = (None, None) if rows == "videos" else (start_s, end_s)
                if labels:
                    places = (Place(row["id"], *part),)
                    clips.append(Clip(places, labels, split, row["subject"], fps))
    notes = [f"{idle:,} videos show none of the actions and were left out."] * bool(idle)
    if short:
        notes.append(f"{short:,} segments of less than {SHORTEST_S} s were left out.")
    clips, left_out = choose(clips, limit_classes=limit_classes, mapping=mapping, splits=splits)
    return gather(media or root, clips, ABOUT.layout, notes=[*notes, *left_out])


def segments(actions: list[Action]) -> tuple[list[Segment], int]:
    """Start, end and labels of the longest stretches with the same, one or more, actions; and the
    number of those too short to keep."""
    spans = [(start_s, end_s, frozenset([name])) for name, start_s, end_s in actions]
    found = [(start_s, end_s, tuple(sorted(names))) for start_s, end_s, names in stretches(spans)]
    kept = [one for one in found if one[1] - one[0] >= SHORTEST_S]
    return kept, len(found) - len(kept)


def _actions(row: dict[str, str], names: dict[str, str], path: Path) -> list[Action]:
    """From `c092 11.90 21.20;c147 0.00 12.60`. Ends are those of the video at the latest."""
    length_s = seconds_of(row["length"], path)
    found = []
    for action in filter(None, row["actions"].split(";")):
        match = re.fullmatch(r"(c\d+) (\S+) (\S+)", action.strip())
        if match is None or match[1] not in names:
            raise UserError(f"{path}, {row['id'][:40]}: {action[:60]!r} is no action of a class.")
        start_s, end_s = (min(seconds_of(match[n], path), length_s) for n in (2, 3))
        if start_s < end_s:
            found.append((names[match[1]], start_s, end_s))
    return found
