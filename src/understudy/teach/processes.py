"""Several processes that train one student: what they share, and how none waits for ever.

Every process takes its part of each batch (`EpochBatches`). Gradients are added up over all clips
of all processes and divided by their number, so that a step is that of one process with the whole
batch; a process whose part is empty, since its clips could not be read or the batch was short, adds
nothing and takes part all the same. Only the first process writes. Where one fails, `torchrun` ends
the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from understudy.errors import UserError

Result = TypeVar("Result")


class Processes:
    """This process among those that train together; one alone is the common case."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        together = dist.is_available() and dist.is_initialized()
        self.count = dist.get_world_size() if together else 1
        self.rank = dist.get_rank() if together else 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """(rank, processes), as `EpochBatches` takes it."""
        return self.rank, self.count

    def first(self, work: Callable[[], Result]) -> Result | None:
        """Do something in the first process only; the others wait for its end, and get None.

        What the user has to mend ends all of them, and only the first one speaks of it.
        """
        if self.count == 1:
            return work()
        result, failure = None, None
        if self.is_first:
            try:
                result = work()
            except UserError as error:
                failure = error
        [message] = self.broadcast([str(failure) if failure is not None else None])
        if failure is not None:
            raise failure
        if message is not None:
            raise SaidElsewhere(message)
        return result

    def broadcast(self, content: list[Any]) -> list[Any]:
        """What the first process has, in all of them."""
        if self.count > 1:
            dist.broadcast_object_list(content, src=0, device=self.device)
        return content

    def gather(self, content: Iterable[Any]) -> list[Any]:
        """The entries of all processes, in all of them."""
        own = list(content)
        if self.count == 1:
            return own
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, own)
        return [entry for part in parts for entry in part]

    def add_up(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def add_gradients(self, parameters: list[nn.Parameter], clips: Tensor) -> Tensor:
        """Add up the gradients of all processes, in place, and give the number of their clips.

        clips: () float, of this process. Everything goes in one message.
        """
        if self.count == 1:
            return clips
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(gradient.reshape(-1).float() for gradient in gradients), clips[None]])
        dist.all_reduce(flat)
        *parts, total = flat.split([*(gradient.numel() for gradient in gradients), 1])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return total[0]

    def share_state(self, module: nn.Module) -> None:
        """Give all processes the parameters and buffers of the first: of batch statistics, each
        has seen its own part alone."""
        if self.count > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)


class SaidElsewhere(UserError):
    """A mistake that another process has told the user of."""

    said_elsewhere = True
