"""The cache of a teacher's outputs, per clip and view.

A view is a replayable augmentation draw, so a cached output belongs to exactly the pixels that the
student sees. One output per clip, augmented afterwards, would teach the wrong target.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from understudy.data.loader import draws_pixels
from understudy.recipe import Data
from understudy.run import write_bytes
from understudy.types import Batch, Output, Recognizer

# Settings that change how fast pixels come, not which.
_IRRELEVANT = {"manifest", "workers", "memory_mb", "allow_shared_groups", "max_bad_share"}


class TargetCache:
    """What a teacher said about each (manifest row, view); in memory, and on disk after `flush`.

    `folder` None keeps nothing between processes.
    """

    def __init__(self, teacher: Recognizer, folder: Path | None = None) -> None:
        self.teacher = teacher
        self.folder = folder
        self._views: dict[int | None, dict[int, tuple[Tensor, Tensor]]] = {}
        self._changed: set[int | None] = set()

    @torch.no_grad()
    def teach(self, batch: Batch) -> Output:
        """The teacher's output for a batch, from memory where every clip of it is known."""
        view = self._view(batch.view)
        rows = batch.index.tolist()
        if not all(row in view for row in rows):
            output = self.teacher(batch.frames, batch.lengths)
            logits, embedding = output.logits.float().cpu(), output.embedding.float().cpu()
            for row, *pair in zip(rows, logits, embedding, strict=True):
                view[row] = (pair[0].clone(), pair[1].clone())
            self._changed.add(batch.view)
        device = batch.frames.device
        return Output(
            logits=torch.stack([view[row][0] for row in rows]).to(device),
            embedding=torch.stack([view[row][1] for row in rows]).to(device),
        )

    def flush(self) -> None:
        """Write what is new. Called between epochs, so that a resumed run reads the same values."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in sorted(self._changed, key=str):
            known = self._views[name]
            rows = sorted(known)
            content = {
                "rows": torch.tensor(rows),
                "logits": torch.stack([known[row][0] for row in rows]),
                "embedding": torch.stack([known[row][1] for row in rows]),
            }
            write_bytes(self._file(name), save(content))
        self._changed.clear()

    def _view(self, name: int | None) -> dict[int, tuple[Tensor, Tensor]]:
        if name not in self._views:
            self._views[name] = {}
            if self.folder is not None and self._file(name).is_file():
                stored = load_file(self._file(name))
                for row, *pair in zip(
                    stored["rows"].tolist(), stored["logits"], stored["embedding"], strict=True
                ):
                    self._views[name][row] = (pair[0], pair[1])
        return self._views[name]

    def _file(self, name: int | None) -> Path:
        assert self.folder is not None
        label = "plain" if name is None else f"{name:05d}"
        return self.folder / f"view_{label}.safetensors"


def cache_key(teacher_sha256: str, manifest_fingerprint: str, data: Data) -> str:
    """Names all that a cached output depends on: teacher, clips and the pixels made of them."""
    pixels = data.model_dump(mode="json", exclude=_IRRELEVANT)
    content = json.dumps([teacher_sha256, manifest_fingerprint, pixels], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def worth_caching(data: Data) -> bool:
    """Whether a (clip, view) ever comes back: not when each epoch draws anew."""
    return not draws_pixels(data) or data.augment.views is not None
