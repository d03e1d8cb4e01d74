"""What a file of a graph is fed with, and what it then says of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from understudy.ship.formats import Session


def clip_inputs(entry: dict[str, Any], frames: np.ndarray) -> list[np.ndarray]:
    """Inputs of a clip graph for one clip, (t, 3, S, S) uint8, padded with zeros to its frames."""
    first, *rest = entry["inputs"]
    padded = np.zeros(first["shape"], dtype=first["dtype"])
    padded[: len(frames)] = frames
    return [padded, *(np.array([len(frames)], dtype=lengths["dtype"]) for lengths in rest)]


def begin_inputs(entry: dict[str, Any]) -> list[np.ndarray]:
    """The state before the first frame: what a step graph is given beside that frame."""
    return [np.zeros(spec["shape"], dtype=spec["dtype"]) for spec in entry["inputs"][1:]]


def step_inputs(
    entry: dict[str, Any], frame: np.ndarray, state: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Inputs of a step graph for one frame, (3, S, S) uint8, and the state before it."""
    values = zip((frame[None], *state), entry["inputs"], strict=True)
    return [np.ascontiguousarray(value, dtype=spec["dtype"]) for value, spec in values]


def logits_of(kind: str, session: Session, entry: dict[str, Any], frames: np.ndarray) -> np.ndarray:
    """Logits (K,) of one clip, (t, 3, S, S) uint8; a step graph reads it frame by frame and its
    last output counts. Its state goes through the file itself, with all that rounding adds up to.
    """
    if kind == "clip":
        return np.asarray(session(clip_inputs(entry, frames))[0])[0]
    logits, state = np.empty((1, 0)), begin_inputs(entry)
    for frame in frames:
        logits, _, *state = session(step_inputs(entry, frame, state))
    return np.asarray(logits)[0]
