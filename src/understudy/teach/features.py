"""Features of a frozen backbone, computed once.

While a backbone is frozen and no pixel is drawn at random, every epoch would compute the same
features again. Here they are computed in the first pass and read from memory afterwards; the
numbers that reach the head are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from understudy.models.frames import FramesRecognizer
from understudy.types import Batch, Skipped

_Features = tuple[Tensor, int, int, int]
"""features (T, F) of one clip's real frames, its length, target and row."""


@torch.no_grad()
def precompute(
    model: FramesRecognizer, loader: DataLoader, device: torch.device
) -> tuple[dict[int, _Features], list[Skipped]]:
    """Features of every clip that `loader` gives, by manifest row, and the clips it could not."""
    bank: dict[int, _Features] = {}
    skipped: list[Skipped] = []
    model.eval()
    for batch in loader:
        skipped += batch.skipped
        if len(batch) == 0:
            continue
        features = model.forward_features(batch.frames.to(device), batch.lengths.to(device)).cpu()
        columns = zip(
            batch.index.tolist(), features, batch.lengths.tolist(), batch.target, strict=True
        )
        for row, clip, length, target in columns:
            bank[row] = (clip[:length].clone(), length, int(target), row)
    return bank, skipped


class _BankDataset(TorchDataset[_Features | None]):
    def __init__(self, bank: dict[int, _Features]) -> None:
        self.bank = bank

    def __getitem__(self, item: tuple[int, int | None]) -> _Features | None:
        return self.bank.get(item[0])


def feature_loader(
    bank: dict[int, _Features], sampler: Sampler[tuple[int, int | None]], batch_size: int
) -> DataLoader:
    """Batches of features in the order that `sampler` gives; clips not in the bank are left out."""
    return DataLoader(
        _BankDataset(bank), batch_size=batch_size, sampler=sampler, collate_fn=_collate
    )


def _collate(samples: Sequence[_Features | None]) -> Batch:
    there = [sample for sample in samples if sample is not None]
    lengths = torch.tensor([length for _, length, _, _ in there], dtype=torch.int64)
    padded = [clip for clip, _, _, _ in there]
    features = torch.nn.utils.rnn.pad_sequence(padded, batch_first=True) if there else None
    return Batch(
        frames=torch.empty(len(there), 0, 3, 0, 0, dtype=torch.uint8),
        lengths=lengths,
        target=torch.tensor([target for _, _, target, _ in there], dtype=torch.int64),
        index=torch.tensor([row for _, _, _, row in there], dtype=torch.int64),
        features=features,
    )
