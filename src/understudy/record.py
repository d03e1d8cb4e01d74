"""One row of a manifest, and what its label must not be: read without PyTorch, as tables are."""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN, WARMING_UP = "unknown", "warming up"
"""What a stream says in the place of a label: that no class is likely enough, and that the model
has not seen enough yet. No class may be called so."""

BACKGROUND = "background"
"""The class of segments in which none of the others happens; a class like any other in training."""


def is_reserved(label: str) -> bool:
    """Whether a class of this name could be taken for what a stream says without one."""
    return label.strip().casefold() in (UNKNOWN, WARMING_UP)


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
