"""What a frozen backbone makes of clips: a vector each, by which they can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.data.loader import make_loader
from understudy.data.manifest import Manifest
from understudy.errors import UserError
from understudy.models.backbones import HUB, create_backbone, freeze, statistics_of
from understudy.models.layers import Normalize
from understudy.models.pixel_statistics import Statistics
from understudy.progress import Track, untold
from understudy.recipe import Data
from understudy.types import Skipped

SIZE, FRAMES, _BATCH = 224, 4, 16


class Embeddings(NamedTuple):
    """rows: of the manifest that could be read, (n,). vectors: of each, (n, F) of length 1."""

    rows: np.ndarray
    vectors: np.ndarray
    skipped: list[Skipped]


class Frozen(nn.Module):
    """A backbone of timm: (B, T, 3, H, W) uint8 -> (B, F), the mean over the frames."""

    def __init__(self, backbone: nn.Module, statistics: Statistics) -> None:
        super().__init__()
        self.normalize, self.backbone = Normalize(*statistics), backbone
        freeze(self)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        features = self.backbone(self.normalize(frames.flatten(0, 1)))
        return torch.stack(
            [
                clip[:length].mean(0)
                for clip, length in zip(
                    features.unflatten(0, frames.shape[:2]), lengths.tolist(), strict=True
                )
            ]
        )


def frozen_backbone(named: str, statistics: Statistics | None = None) -> Frozen:
    """A backbone by its name in timm, with the weights of the hub, or by a file of weights whose
    name begins with that of its architecture, or as NAME=FILE.

    statistics: mean and std of the pixels that its weights were trained on, where nothing lies in
    the file or beside it that tells them. Raises UserError.
    """
    name, equals, file = named.partition("=")
    weights = file if equals else HUB
    if not equals and Path(named).suffix == ".safetensors":
        name, weights = _architecture_of(Path(named)), named
    backbone, _ = create_backbone(name, weights)
    return Frozen(backbone, statistics or statistics_of(backbone, name, weights))


def _architecture_of(file: Path) -> str:
    import timm

    fitting = [name for name in timm.list_models() if file.stem.startswith(name)]
    if not fitting:
        raise UserError(
            f"{file} does not begin with the name of an architecture of timm. Give it as "
            f"NAME={file}."
        )
    return max(fitting, key=len)


@torch.inference_mode()
def embed(
    frozen: Frozen, manifest: Manifest, rows: Sequence[int], track: Track = untold
) -> Embeddings:
    """Vectors of these clips, from four frames each; those that cannot be read are `skipped`."""
    data = Data(manifest="-", size=SIZE, frames=FRAMES, memory_mb=0)
    loader = make_loader(manifest, data, rows, batch_size=_BATCH)
    read: list[int] = []
    vectors, skipped = [torch.zeros(0)], []
    for batch in track(loader, "embedding", len(rows), lambda one: len(one) + len(one.skipped)):
        skipped += batch.skipped
        if len(batch):
            vectors.append(F.normalize(frozen(batch.frames, batch.lengths).float()))
            read += batch.index.tolist()
    found = torch.cat(vectors[1:]) if read else torch.zeros(0, 1)
    return Embeddings(np.array(read, np.int64), found.numpy(), skipped)


def neighbours(embedded: Embeddings, split: np.ndarray, count: int = 5) -> np.ndarray:
    """(M, 2) rows of different splits that are nearest to each other. split: (N,) of all rows."""
    own = split[embedded.rows]
    found = []
    for place, row in enumerate(embedded.rows.tolist()):
        alike = embedded.vectors @ embedded.vectors[place]
        alike[own == own[place]] = -2.0
        best = np.argsort(-alike)[:count]
        found += [(row, int(embedded.rows[one])) for one in best if alike[one] > -2.0]
    return np.array(found, np.int64).reshape(-1, 2)
