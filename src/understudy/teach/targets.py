"""What teachers say about a batch: from the store where it is known, else by asking them.

A view is a replayable augmentation draw, so a stored output belongs to exactly the draw that the
student sees. One output per clip, augmented afterwards, would teach the wrong target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from understudy.data.manifest import Manifest
from understudy.data.reader import draws_pixels
from understudy.recipe import Data
from understudy.teach.store import Store, store_key
from understudy.teach.teachers import FrozenTeacher
from understudy.types import Batch, Output, Sampling, Unanswered

RESIZE = "short side bilinear antialiased, then a window or the centre"


@dataclass(slots=True)
class Known:
    """What of a teacher is in the store, for a loader: an `Answers`.

    plain: of clips without augmentation. drawn: of augmented views; None where no view ever comes
    back, so that nothing is worth keeping.
    """

    sampling: Sampling
    manifest: Manifest
    plain: Store | None
    drawn: Store | None

    def store(self, view: int | None) -> Store | None:
        return self.plain if view is None else self.drawn

    def find(self, row: int, view: int | None) -> Output | None:
        """As `Answers.find`."""
        store = self.store(view)
        return None if store is None else store.find(self.manifest.key_of(row), view)


class Targets:
    """One teacher's answers. name: as it is called in a batch. computing: the precision that the
    teacher computes in, as a context."""

    def __init__(
        self,
        name: str,
        teacher: FrozenTeacher,
        known: Known,
        computing: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.name, self.teacher, self.known = name, teacher, known
        self._computing = computing

    def answer(self, batch: Batch) -> Output:
        """Logits (B, K) and embedding (B, E) float32 for a batch of a loader that knows this
        teacher; what it had to be asked is kept."""
        asked = batch.unanswered.get(self.name)
        if asked is None:
            return batch.taught[self.name]
        with torch.inference_mode(), self._computing():
            parts = [self._ask(*part) for part in _parts(asked)]
        # Joined outside of inference mode, for what was made in it cannot take part in learning.
        given = Output(*(torch.cat(tensors).float() for tensors in zip(*parts, strict=True)))
        store = self.known.store(batch.view)
        if store is not None:
            keys = [self.known.manifest.key_of(row) for row in asked.rows]
            store.add(keys, batch.view, given)
        if self.name not in batch.taught:
            return given
        whole = batch.taught[self.name]
        for tensor, part in zip(whole, given, strict=True):
            tensor[asked.place] = part
        return whole

    def _ask(self, frames: Tensor, lengths: Tensor, full: bool) -> Output:
        teacher = self.teacher.recognizer
        # One that needs a number of frames stretches shorter clips by their lengths.
        whole = full and teacher.clip_frames in (None, frames.shape[1])
        return teacher(frames, None if whole else lengths)

    def flush(self) -> None:
        """Write what is new."""
        for store in (self.known.plain, self.known.drawn):
            if store is not None:
                store.flush()


def _parts(asked: Unanswered) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Frames, lengths and whether all are full: of clips one by one on a CPU, else of all at once.

    What a network says of a clip depends in its last bits on what is computed beside it, and
    training amplifies last bits. Clip by clip, a store gives the same weights in whatever order it
    was filled; a CPU loses little by it, unless clips are single pictures.
    """
    if asked.frames.device.type != "cpu" or asked.frames.shape[1] == 1:
        yield asked.frames, asked.lengths, asked.full
        return
    for frames, length in zip(asked.frames, asked.lengths, strict=True):
        yield frames[None, : int(length)], length[None], True


def open_known(
    teacher: FrozenTeacher,
    manifest: Manifest,
    data: Data,
    folder: Path | None,
    precision: str,
    note: Callable[[str], None],
) -> Known:
    """The stores of a teacher below `folder`; None keeps nothing."""
    plain = what_it_depends_on(teacher, precision) | pixels_of(data)
    drawn = plain | {"draw": draw_of(data)}

    def store(what: dict[str, Any]) -> Store | None:
        return None if folder is None else Store(folder / store_key(what), what, note)

    return Known(
        teacher.sampling, manifest, store(plain), store(drawn) if views_return(data) else None
    )


def what_it_depends_on(teacher: FrozenTeacher, precision: str) -> dict[str, Any]:
    """All that a teacher's output for a clip's bytes depends on."""
    looks = asdict(teacher.sampling)
    for name in ("clip_seconds", "step_s"):  # of use to streams alone
        del looks[name]
    return {
        "version": 1,
        "teacher": teacher.facts["name"],
        "weights_sha256": teacher.facts["weights_sha256"],
        "looks": looks,
        "resize": RESIZE,
        "precision": precision,
    }


def pixels_of(data: Data) -> dict[str, Any]:
    """What is done to decoded frames before a teacher's own resize, where anything is. A pack gives
    the pixels that files give, and so it is not named."""
    done = {"short_side": data.short_side, "jpeg_quality": data.jpeg_quality}
    return {"frames": done} if any(done.values()) else {}


def draw_of(data: Data) -> dict[str, Any]:
    """What augmentation draws; how many views there are changes none of them."""
    return {
        "seed": data.seed,
        "augment": data.augment.model_dump(mode="json", exclude={"views"}),
        "pseudo": data.pseudo.model_dump(mode="json") if data.pseudo is not None else None,
    }


def views_return(data: Data) -> bool:
    """Whether a view of a clip ever comes back: not when each epoch draws anew."""
    return draws_pixels(data) and data.augment.views is not None
