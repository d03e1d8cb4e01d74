"""The page of a check: every finding with pictures, and what is to be dropped as a list to copy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from understudy.core_count import cores
from understudy.data.check.findings import KINDS, Finding, by_kind
from understudy.data.check.verdict import Checked
from understudy.data.check.workers import PATIENCE_S, each
from understudy.data.decode import DecodeError, read_frames, read_timeline
from understudy.progress import Track, untold
from understudy.study.gallery import jpeg_address
from understudy.study.report import render, write_page

PICTURES = 40
"""Findings of a kind that are shown with pictures; the others are listed."""
_SIDE = 200


class _Moment(NamedTuple):
    """A frame to show: of a file, so many seconds after its first frame."""

    path: str
    time_s: float


def write_check_page(
    checked: Checked, place: str, out: Path, *, pictures: bool = True, track: Track = untold
) -> Path:
    """Write the page and give its path. place: what was checked, as the user named it. pictures:
    whether frames are part of it. Raises UserError where it cannot be written."""
    shown = {
        kind: [(one, _moments(checked, one)) for one in some[:PICTURES]]
        for kind, some in by_kind(checked.findings).items()
    }
    wanted = {moment for some in shown.values() for _, moments in some for moment in moments}
    images = _images(sorted(wanted), track) if pictures else {}
    manifest = checked.manifest
    return write_page(
        out,
        render(
            "check.html",
            {
                "place": place,
                "manifest": manifest,
                "counts": manifest.counts(),
                "groups": manifest.group_counts(),
                "kinds": KINDS,
                "found": by_kind(checked.findings),
                "shown": {
                    kind: [
                        {
                            "finding": one,
                            "images": [images[m] for m in moments if m in images],
                            "drop": [manifest.id_of(row) for row in one.drop],
                        }
                        for one, moments in some
                    ]
                    for kind, some in shown.items()
                },
                "drops": lambda one: [manifest.id_of(row) for row in one.drop],
                "unchecked": checked.unchecked,
                "seen": checked.seen,
                "mend": sum(one.level == "mend" for one in checked.findings),
                "written": datetime.now().astimezone(),
            },
        ),
    )


def _moments(checked: Checked, finding: Finding) -> list[_Moment]:
    """The frames that show a finding: of a pair both, of a pause its ends, else the middle."""
    found = []
    for number, row in enumerate(finding.rows[:2] if finding.beside else finding.rows[:1]):
        path = str(checked.manifest.path_of(row))
        seen = checked.seen.get(checked.file_of.get(row, ""))
        if seen is None or seen.kind is None:
            continue
        record = checked.manifest.records[row]
        start_s, end_s = record.start_s or 0.0, min(record.end_s or seen.seconds, seen.seconds)
        time_s = max(0.0, (start_s + end_s) / 2)
        if number < len(finding.at_s):
            time_s = finding.at_s[number]
        found.append(_Moment(path, 0.0 if seen.kind == "picture" else round(time_s, 3)))
    if finding.kind == "pause" and found:
        return [_Moment(found[0].path, time_s) for time_s in finding.at_s]
    return found


def _images(wanted: list[_Moment], track: Track) -> dict[_Moment, str]:
    """JPEG addresses, read as files of strangers are: those that fail are not shown."""
    work = each(picture_of, wanted, min(cores(), max(1, len(wanted))), patience_s=PATIENCE_S)
    return {
        moment: image
        for moment, image in track(work, "pictures", len(wanted))
        if isinstance(image, str)
    }


def picture_of(moment: _Moment, alive: Callable[[], None]) -> str | None:
    """A frame as the address of a JPEG; None where it cannot be read."""
    alive()
    try:
        timeline = read_timeline(moment.path)
        half_a_frame = 0.5 / timeline.fps if timeline.fps else 0.0
        time_s = timeline.start_s + moment.time_s + half_a_frame
        [frame] = read_frames(moment.path, [time_s], short_side=_SIDE)
    except DecodeError:
        return None
    return jpeg_address(frame, _SIDE)
