"""What can be wrong with a data set: its kinds, and one thing that was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Level = Literal["mend", "look", "note"]
"""`mend`: figures will be wrong, or clips lost, until it is. `look`: it may be meant; only a person
can tell. `note`: it is read rightly, and is only said."""


class Kind(NamedTuple):
    """title: of a list of such findings. remedy: what to do about them."""

    level: Level
    title: str
    remedy: str


KINDS: dict[str, Kind] = {
    "table": Kind("mend", "The table", "Correct the table; what depends on it was not checked."),
    "missing": Kind("mend", "Files that are not there", "Fetch them again, or drop their rows."),
    "unreadable": Kind("mend", "Unreadable files", "Replace them, or drop their rows."),
    "no_video": Kind("mend", "Files without a picture", "Drop their rows."),
    "truncated": Kind(
        "mend",
        "Files that cannot be read to their end",
        "Copy or download them again; or drop their rows, or give an end_s before the fault.",
    ),
    "outside": Kind("mend", "Parts that lie outside of their files", "Correct start_s and end_s."),
    "shared_group": Kind(
        "mend",
        "Groups that stand in more than one split",
        "Leave the split column empty to have whole groups dealt out, or give every group one "
        "split.",
    ),
    "no_train_class": Kind(
        "mend", "Classes that nothing can be learned of", "Add clips to train, or drop the class."
    ),
    "leak": Kind(
        "mend",
        "The same clip in two splits",
        "Drop one of each pair, or give both one group, so that they stay together.",
    ),
    "two_labels": Kind(
        "mend", "The same clip with different labels", "Keep the row whose label is right."
    ),
    "near_leak": Kind(
        "mend",
        "Almost the same clip in two splits",
        "Look at the pairs: copies and neighbouring frames of one film belong into one group.",
    ),
    "copy": Kind("look", "The same clip more than once in a split", "Keep one row of each."),
    "label": Kind(
        "look", "Labels that may be wrong", "Watch these clips first; correct the label or keep it."
    ),
    "past_end": Kind("look", "Parts that end after their files", "Compare the times of the table."),
    "pause": Kind(
        "look",
        "Videos with a pause",
        "No frame came for a while: cut them there, or give rows times that leave it out.",
    ),
    "one_frame": Kind("look", "Videos of a single frame", "Make sure that they are meant."),
    "imbalance": Kind(
        "look",
        "Classes of very different size",
        "Add clips, or set train.imbalance=class_weights in the recipe.",
    ),
    "no_class": Kind(
        "look",
        "Classes that a split lacks",
        "Figures of that split say nothing of them; move whole groups, or use folds.",
    ),
    "variable_rate": Kind("note", "Videos whose frames come unevenly", "Read by time."),
    "turned": Kind("note", "Videos shown turned or mirrored", "Read as players show them."),
    "odd": Kind("note", "Videos that are odd in another way", "Read as the note says."),
    "pixel_aspect": Kind("note", "Videos whose pixels are no squares", "Read as players do."),
}  # fmt: skip


class Finding(NamedTuple):
    """One thing that was found. path: of the clip as the table has it, or what it is about. reason:
    a sentence. rows: of the manifest that it concerns. drop: those that can go, so that it is
    mended. beside: the other clip of a pair. at_s: the moments of `path` and `beside` that show it.
    """

    kind: str
    path: str
    reason: str
    rows: tuple[int, ...] = ()
    drop: tuple[int, ...] = ()
    beside: str | None = None
    at_s: tuple[float, ...] = ()

    @property
    def level(self) -> Level:
        return KINDS[self.kind].level


def must_mend(findings: Sequence[Finding]) -> bool:
    """Whether one of them spoils figures or loses clips."""
    return any(finding.level == "mend" for finding in findings)


def by_kind(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """In the order of `KINDS`, without those of which there is none."""
    found = {kind: [one for one in findings if one.kind == kind] for kind in KINDS}
    return {kind: some for kind, some in found.items() if some}
