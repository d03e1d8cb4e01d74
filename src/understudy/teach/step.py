"""One optimiser step: gradients of all its clips, in all processes, then AdamW."""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.recipe import Train
from understudy.teach.device import Device
from understudy.teach.learner import Learner
from understudy.teach.processes import Processes


class Step:
    """Collects gradients batch by batch until `take` uses them up.

    The gradient is the mean over the clips of all batches and processes, however many of them could
    not be read. It is kept as a sum in units of a whole batch, so that it stays in the range of
    fp16, and divided in the end.
    """

    def __init__(
        self,
        learner: Learner,
        optimizer: torch.optim.Optimizer,
        device: Device,
        processes: Processes,
        train: Train,
    ) -> None:
        self._optimizer, self._device, self._processes = optimizer, device, processes
        self._parameters = [p for p in learner.parameters() if p.requires_grad]
        self._whole = train.batch_size * train.accumulate
        self._max_norm = train.max_grad_norm
        self._clips = 0
        optimizer.zero_grad()

    def backward(self, loss: Tensor, clips: int) -> None:
        """Add the gradient of a batch's mean loss over so many clips."""
        share = clips / self._whole
        self._device.scaler.scale(loss * share).backward()
        self._clips += clips

    def take(self) -> int:
        """Step with what was collected; gives the number of steps, 0 where no clip was."""
        own, self._clips = self._clips, 0
        clips = self._processes.add_gradients(
            self._parameters, torch.full((), float(own), device=self._device.torch)
        )
        if not own and not clips:  # asked of the device only where this process had none
            self._optimizer.zero_grad()
            return 0
        self._device.scaler.unscale_(self._optimizer)
        factor = self._whole / clips.clamp(min=1)
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        if self._max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._max_norm)
        self._device.scaler.step(self._optimizer)
        self._device.scaler.update()
        self._optimizer.zero_grad()
        return 1
