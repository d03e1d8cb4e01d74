"""The clips that could not be read: counted, listed, and too many of them end training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from understudy.data.manifest import Manifest
from understudy.errors import UserError
from understudy.types import Skipped


class SkippedClips:
    """One entry a clip, however often it was met.

    most: the share of the clips of training and validation that may be unreadable.
    """

    def __init__(self, manifest: Manifest, most: float) -> None:
        self._manifest, self._most = manifest, most
        self._total = sum(len(manifest.rows(split)) for split in ("train", "val"))
        self._clips: dict[int, Skipped] = {}

    def add(self, clips: Iterable[Skipped]) -> None:
        """Note clips that could not be read. Raises UserError when they are too many."""
        self._clips |= {clip.row: clip for clip in clips}
        if len(self._clips) > self._most * self._total:
            named = [f"  {clip.path}: {clip.reason}" for clip in self._clips.values()]
            more = f"\n  and {len(named) - 5} more" if len(named) > 5 else ""
            raise UserError(
                f"{len(self._clips)} of {self._total} clips could not be read, more than the share "
                f"of {self._most:.0%} that data.max_bad_share allows:\n"
                + "\n".join(named[:5])
                + more
                + "\nMend them, take them out of the manifest, or raise data.max_bad_share."
            )

    def __iter__(self) -> Iterator[Skipped]:
        return iter(self._clips.values())

    def describe(self) -> list[dict[str, Any]]:
        """The entries of `data.json`, in the order of the manifest."""
        return [
            clip._asdict() | {"split": self._manifest.records[clip.row].split}
            for clip in sorted(self._clips.values())
        ]
