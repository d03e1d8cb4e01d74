"""Real clips for the parity check, prepared exactly as for evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from understudy.data.loader import ClipDataset
from understudy.data.sources import read_manifest
from understudy.errors import UserError
from understudy.run import Run
from understudy.types import Skipped

MOST_CLIPS = 16


def real_clips(
    run: Run, manifest: str | Path | None, *, frames: int
) -> tuple[list[Tensor], dict[str, Any]]:
    """Up to 16 clips that the run was not trained on, spread over a split.

    Gives the clips, each (t, 3, S, S) uint8 with t <= `frames`, and where they came from, for the
    record. The split is validation, test or, where there is neither, whichever there is. Raises
    UserError if the manifest or every clip is out of reach.
    """
    place = Path(manifest if manifest is not None else run.data["manifest"])
    advice = (
        "An export is checked on real clips. Give some with --data: a manifest, or a folder with "
        "one sub-folder per class."
    )
    try:
        # Shared groups make figures too good; here nothing is scored.
        table = read_manifest(place, allow_shared_groups=True, seed=run.recipe.data.seed)
    except UserError as error:
        raise UserError(f"{error}\n{advice}") from error
    split = next((name for name in ("val", "test") if name in table.splits), table.splits[0])
    rows = table.rows(split)
    config = run.recipe.data.model_copy(update={"frames": frames})
    dataset = ClipDataset(table, config, augmented=False)

    clips: list[Tensor] = []
    skipped: list[Skipped] = []
    for row in _spread(rows):
        sample = dataset[row, None]
        if isinstance(sample, Skipped):
            skipped.append(sample)
        else:
            clips.append(sample.frames)
        if len(clips) == MOST_CLIPS:
            break
    if not clips:
        raise UserError(
            f"None of the {len(rows)} clips in split {split} of {place} could be read "
            f"({skipped[0].path}: {skipped[0].reason}). {advice}"
        )
    return clips, {
        "manifest": str(place),
        "split": split,
        "real_clips": len(clips),
        "skipped": [clip._asdict() for clip in skipped],
    }


def _spread(rows: list[int]) -> list[int]:
    """The same rows, so ordered that any number of first ones is spread over the whole split."""
    stride = max(1, len(rows) // MOST_CLIPS)
    return [row for start in range(stride) for row in rows[start::stride]]
