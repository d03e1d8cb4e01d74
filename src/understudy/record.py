"""One row of a manifest: a type of its own, so that tables are read without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a manifest.

    `path` names a video file, a picture or a folder of frames. `label` is one class, a tuple of
    them where several hold at once, or None where nobody labelled the clip. `group` is the person
    or the source video: the unit that must never stand in two splits. `start_s` and `end_s` bound
    the action inside a longer video.
    """

    path: str
    label: str | tuple[str, ...] | None
    split: str
    group: str
    start_s: float | None = None
    end_s: float | None = None
