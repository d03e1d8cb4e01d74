"""Sums over the clips of an epoch, on the device, so that nothing waits for it at each step."""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.errors import UserError
from understudy.recipe import Train
from understudy.task import Task
from understudy.teach.device import Device
from understudy.teach.losses import Losses
from understudy.teach.processes import Processes
from understudy.types import Batch, Output


class EpochSums:
    """Of every part of the loss, of cosines and of right answers; a short last batch weighs what it
    should, and clips without a label are in no figure that takes labels."""

    def __init__(self, device: Device, task: Task) -> None:
        self._device, self._task = device, task
        self._sums: dict[str, Tensor] = {}
        self._clips = 0
        self._labelled = self._zero

    @property
    def _zero(self) -> Tensor:
        return torch.zeros((), dtype=self._device.sum_type, device=self._device.torch)

    def add(self, output: Output, losses: Losses, batch: Batch) -> None:
        """Add a batch: sums over its clips."""
        self._clips += len(batch)
        self._labelled = self._labelled + losses.labelled
        parts = losses.parts | losses.cosines | {"loss": losses.total}
        for name, part in parts.items():
            self._add(name, part.detach() * (losses.labelled if name == "task" else len(batch)))
        self._add(self._task.hit_rate, self._task.hits(output.logits, batch.target).sum())

    def _add(self, name: str, value: Tensor) -> None:
        value = value.to(self._device.sum_type)
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    def refuse_nan(self, epoch: int, train: Train) -> None:
        """Raises UserError where a part of the loss was no finite number since the epoch began."""
        if not self._sums:
            return
        finite = torch.stack([value.isfinite() for value in self._sums.values()]).tolist()
        wrong = sorted(name for name, ok in zip(self._sums, finite, strict=True) if not ok)
        wrong = [name for name in wrong if name != "loss"] or wrong
        if wrong:
            raise UserError(
                f"The loss is no longer a number in epoch {epoch + 1} ({', '.join(wrong)})."
                f"{' The weights of the last finished epoch are kept.' if epoch else ''} Lower "
                f"train.lr (now {train.lr:g}), lengthen train.warmup_epochs, or use "
                "train.precision=fp32."
            )

    def means(self, processes: Processes) -> tuple[dict[str, float], int]:
        """Means over the clips of all processes, and their number. What takes labels is the mean
        over the clips that have one, and is left out where none has."""
        names = sorted({name for some in processes.gather([list(self._sums)]) for name in some})
        values = [self._sums.get(name, self._zero) for name in names]
        together = torch.stack([*values, self._labelled, self._zero + self._clips])
        *sums, labelled, clips = processes.add_up(together).tolist()
        of = {name: labelled if name in ("task", self._task.hit_rate) else clips for name in names}
        means = {
            name: value / of[name] for name, value in zip(names, sums, strict=True) if of[name]
        }
        return means, int(clips)
