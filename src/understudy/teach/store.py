"""The store of teachers' outputs on disk: by clip and view, in shards that never change.

    teacher-store/KEY/what.json          all that an output depends on, for people
    teacher-store/KEY/HASH.safetensors   a shard: ids (N, 16), logits (N, K), embedding (N, E)

KEY names the teacher's weights, what it does to pixels, how it looks at clips and the augmentation;
an id names the bytes of a clip, its times and the view. So no output can be taken for that of other
media, of other frames or of other draws. The name of a shard is the hash of its bytes: one that was
cut off or changed is not used, and its outputs are computed again. Several processes may fill one
store: each writes shards of its own, under a temporary name until they are whole.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from understudy.errors import UserError
from understudy.run import write_bytes, write_text
from understudy.types import Output

SHARD_CLIPS = 1024
"""Outputs that are written together: 2 MB at 512 dimensions."""
WRITTEN_EVERY_S = 60.0
"""And at least so often, so that a process that dies loses little."""
_OPEN_SHARDS = 64

_NO_IDS = np.empty((0, 2), np.uint64)


class Store:
    """Outputs of one teacher for one way of looking, found by clip and view.

    folder: where its shards lie; made when something is written. what: all that they depend on, for
    people. note: is given a sentence when a shard is damaged. What was written by others since is
    found too.
    """

    def __init__(
        self,
        folder: Path,
        what: dict[str, Any] | None = None,
        note: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.folder, self.what, self._note = folder, what or {}, note
        self._ids = _NO_IDS  # sorted by the first half
        self._shard_of = self._row_of = np.empty(0, np.int64)
        self._shards: list[str] = []
        self._seen: set[str] = set()
        self._opened: OrderedDict[str, dict[str, Tensor]] = OrderedDict()
        self._listed_ns = -1
        self._waiting: list[tuple[list[bytes], Output]] = []
        self._written_s = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """Workers of a loader read for themselves, and write nothing."""
        return self.__dict__ | {"_opened": OrderedDict(), "_waiting": [], "_note": _nothing}

    def find(self, clip: str, view: int | None) -> Output | None:
        """Logits (K,) and embedding (E,) of a clip and view, float32; None where there are none."""
        name = output_id(clip, view)
        place = self._place(name)
        if place is None and self._refresh():
            place = self._place(name)
        if place is None:
            return None
        try:
            tensors = self._open(self._shards[self._shard_of[place]])
        except (OSError, SafetensorError):  # somebody empties the store meanwhile
            return None
        row = int(self._row_of[place])
        return Output(tensors["logits"][row].clone(), tensors["embedding"][row].clone())

    def add(self, clips: Sequence[str], view: int | None, output: Output) -> None:
        """Keep what a teacher said of some clips. They stay where they are, on a GPU too, until
        enough has come together, or a minute has passed, and all of it is written."""
        self._waiting.append(([output_id(clip, view) for clip in clips], output))
        enough = sum(len(ids) for ids, _ in self._waiting) >= SHARD_CLIPS
        if enough or time.monotonic() - self._written_s > WRITTEN_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write all that waits. Raises UserError where the folder cannot be written, and for
        outputs that are no finite numbers: nothing of those that wait is kept then."""
        self._written_s = time.monotonic()
        if not self._waiting:
            return
        ids = np.frombuffer(b"".join(one for some, _ in self._waiting for one in some), np.uint8)
        outputs = [output for _, output in self._waiting]
        tensors = {
            part: torch.cat([getattr(one, part).float() for one in outputs]).cpu()
            for part in ("logits", "embedding")
        }
        refuse_broken(self.what.get("teacher", "the teacher"), *tensors.values())
        content = save({"ids": torch.from_numpy(ids.reshape(-1, 16).copy())} | tensors)
        name = hashlib.blake2b(content, digest_size=16).hexdigest()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "what.json").exists():
                write_text(self.folder / "what.json", json.dumps(self.what, indent=2) + "\n")
            write_bytes(self.folder / f"{name}.safetensors", content)
        except OSError as error:
            raise UserError(
                f"The store of teachers' outputs {self.folder} cannot be written: "
                f"{error.strerror}. Make room, or do without it: teacher.store=false."
            ) from error
        self._waiting.clear()

    def _place(self, name: bytes) -> int | None:
        first, second = np.frombuffer(name, np.uint64)
        place = int(np.searchsorted(self._ids[:, 0], first))
        while place < len(self._ids) and self._ids[place, 0] == first:
            if self._ids[place, 1] == second:
                return place
            place += 1
        return None

    def _refresh(self) -> bool:
        """Take in shards that are new in the folder; whether there were any."""
        try:
            changed_ns = self.folder.stat().st_mtime_ns
        except OSError:
            return False
        if changed_ns == self._listed_ns:
            return False
        self._listed_ns = changed_ns
        names = sorted(file.name for file in self.folder.glob("*.safetensors"))
        new = [name for name in names if name not in self._seen]
        parts = [(self._ids, self._shard_of, self._row_of)]
        for name in new:
            self._seen.add(name)
            ids = self._checked_ids(name)
            if ids is not None:
                shard = np.full(len(ids), len(self._shards))
                parts.append((ids, shard, np.arange(len(ids))))
                self._shards.append(name)
        if len(parts) == 1:
            return False
        ids, shards, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(ids[:, 0], kind="stable")
        self._ids, self._shard_of, self._row_of = ids[order], shards[order], rows[order]
        return True

    def _checked_ids(self, name: str) -> np.ndarray | None:
        """The ids (N, 2) of a shard whose bytes are those that its name says; else None."""
        path = self.folder / name
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
            if digest.hexdigest() != path.stem:
                raise ValueError("its bytes have changed")
            with safe_open(path, "pt") as stored:
                ids = stored.get_tensor("ids").numpy()
        except (OSError, ValueError, SafetensorError) as error:
            self._note(f"{path} is damaged ({error}) and not used; its outputs are computed again.")
            return None
        return np.ascontiguousarray(ids).view(np.uint64)

    def _open(self, name: str) -> dict[str, Tensor]:
        """A shard, mapped into memory; the latest few stay open."""
        if name not in self._opened:
            with safe_open(self.folder / name, "pt") as stored:
                self._opened[name] = {
                    part: stored.get_tensor(part) for part in ("logits", "embedding")
                }
            if len(self._opened) > _OPEN_SHARDS:
                self._opened.popitem(last=False)
        self._opened.move_to_end(name)
        return self._opened[name]


def refuse_broken(teacher: str, *outputs: Tensor) -> None:
    """Raises UserError where a teacher says of a clip what is no finite number; each (N, D)."""
    usable = torch.stack([output.isfinite().all(dim=1) for output in outputs]).all(dim=0)
    if not usable.all():
        raise UserError(
            f"What {teacher} says is not a finite number for {int((~usable).sum())} of "
            f"{len(usable)} clips, and nobody could learn from it. Its weights are damaged, or "
            "train.precision is too small for it."
        )


def output_id(clip: str, view: int | None) -> bytes:
    """16 bytes that name one output of a teacher. clip: its `key` in a run's manifest."""
    return hashlib.blake2b(f"{clip}|{view}".encode(), digest_size=16).digest()


def store_key(what: dict[str, Any]) -> str:
    """The name of a store's folder: a hash of all that its outputs depend on."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _nothing(sentence: str) -> None:
    del sentence
