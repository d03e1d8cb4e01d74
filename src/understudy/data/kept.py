"""Decoded frames that are kept in memory, found by all workers of a run's loaders.

Frames lie one after the other in one piece of memory that processes share, each behind a head that
says what it is. Nothing is ever moved or taken out, so that a process which has read the heads up
to some place need only look at what was added since.
"""

from __future__ import annotations

import hashlib
import mmap
import multiprocessing
import os
import struct
import weakref
from collections.abc import Hashable
from multiprocessing.heap import Arena
from typing import NamedTuple

import torch
from torch import Tensor

_USED = struct.Struct("<q")
_HEAD = struct.Struct("<16s3q?7x")
"""Key, then T, H and W, then whether of a picture; a multiple of eight bytes."""


class Kept(NamedTuple):
    """frames: (T, 3, H, W) uint8, not to be written to."""

    frames: Tensor
    is_picture: bool


class KeptFrames:
    """Decoded frames by key, until `most_bytes` are full; what comes later is not kept.

    It is handed on to worker processes, which then share it: the bound is that of all together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._size = _USED.size + most_bytes
        self._memory = _shared_memory(self._size)
        self._lock = multiprocessing.Lock()
        self._places: dict[bytes, tuple[int, tuple[int, int, int], bool]] = {}
        self._seen = _USED.size  # as far as this process has read heads
        _USED.pack_into(self._memory.buffer, 0, self._seen)

    def find(self, *key: Hashable) -> Kept | None:
        """What any process has kept under a key, or None."""
        name = _name_of(key)
        if name not in self._places:
            with self._lock:
                self._look_on()
        place = self._places.get(name)
        if place is None:
            return None
        start, (count, height, width), is_picture = place
        frames = torch.frombuffer(
            self._memory.buffer, dtype=torch.uint8, count=count * 3 * height * width, offset=start
        )
        return Kept(frames.view(count, 3, height, width), is_picture)

    def add(self, kept: Kept, *key: Hashable) -> None:
        """Keep frames where there is room for them, and where nobody has kept them meanwhile."""
        name, frames = _name_of(key), kept.frames
        bytes_ = -(-frames.nbytes // 8) * 8
        with self._lock:
            self._look_on()
            if name in self._places or self._seen + _HEAD.size + bytes_ > self._size:
                return
            count, _, height, width = frames.shape
            head = self._seen
            _HEAD.pack_into(self._memory.buffer, head, name, count, height, width, kept.is_picture)
            start = head + _HEAD.size
            into = torch.frombuffer(
                self._memory.buffer, dtype=torch.uint8, count=frames.numel(), offset=start
            )
            into.copy_(frames.reshape(-1))
            # Last: a process that is killed before has added nothing.
            _USED.pack_into(self._memory.buffer, 0, start + bytes_)
            self._look_on()

    def _look_on(self) -> None:
        """Read the heads of what was added since; the lock is held."""
        buffer = self._memory.buffer
        (used,) = _USED.unpack_from(buffer, 0)
        while self._seen < used:
            name, count, height, width, is_picture = _HEAD.unpack_from(buffer, self._seen)
            start = self._seen + _HEAD.size
            self._places[name] = start, (count, height, width), is_picture
            self._seen = start + -(-count * 3 * height * width // 8) * 8


def _name_of(key: tuple[Hashable, ...]) -> bytes:
    return hashlib.blake2b(repr(key).encode(), digest_size=16).digest()


class _Forked(NamedTuple):
    """Memory that processes forked from this one share; it cannot be handed to others."""

    buffer: mmap.mmap


def _shared_memory(size: int) -> Arena | _Forked:
    """Memory that takes room only where it is written to, and is gone with its last process."""
    if not hasattr(os, "memfd_create"):
        return Arena(size)
    # Containers leave /dev/shm, where it would lie otherwise, at 64 MB, and end who writes more.
    descriptor = os.memfd_create("understudy-frames")
    try:
        os.ftruncate(descriptor, size)
    except OSError:  # a limit on the size of files counts for it too
        os.close(descriptor)
        return _Forked(mmap.mmap(-1, size))
    arena = Arena(size, descriptor)
    weakref.finalize(arena, os.close, descriptor)
    return arena
