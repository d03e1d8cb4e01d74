"""Features of a frozen backbone, computed once.

While a backbone is frozen and no pixel is drawn at random, every epoch would compute the same
features again. Here they are computed in one pass and read from memory afterwards; the numbers that
reach the head are the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from understudy.models.frames import FramesRecognizer
from understudy.teach.processes import Processes
from understudy.teach.skipped import SkippedClips
from understudy.types import Batch


@torch.no_grad()
def precompute(
    model: FramesRecognizer, loader: Iterable[Batch], processes: Processes, skipped: SkippedClips
) -> dict[int, Tensor]:
    """Features (t, F) of the real frames of every clip, by manifest row, on the CPU.

    loader: this process's part of the clips; what the others computed is there afterwards too.
    """
    found: list[tuple[int, Tensor]] = []
    unread = []
    model.eval()
    for batch in loader:
        unread += batch.skipped
        if len(batch) == 0:
            continue
        moved = batch.to(processes.device)
        features = model.forward_features(moved.frames, moved.lengths).cpu()
        columns = zip(batch.index.tolist(), features, batch.lengths.tolist(), strict=True)
        found += [(row, clip[:length].clone()) for row, clip, length in columns]
    skipped.add(processes.gather(unread))
    return dict(processes.gather(found))
