"""INT8 by measurement: every quantisation scheme that suits is tried, and kept only where it pays.

A format offers its schemes in the module of its name in this folder: `SCHEMES`, in the order in
which they are tried. `auto.py` measures them and chooses.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.errors import UserError, nearest
from understudy.ship.formats import FORMATS
from understudy.ship.graphs import Graph


@dataclass(frozen=True, slots=True)
class Job:
    """What a scheme quantises.

    graph: the eager graph.
    float_path: the FP32 file exported from it.
    entry: that file's entry in the contract.
    calibration: inputs of training clips in the contract's order, one clip (or one step with the
        state that it meets) each.
    out_path: the file to write; it takes and gives what the FP32 file does, so that callers never
        quantise.
    """

    graph: Graph
    float_path: Path
    entry: dict[str, Any]
    calibration: Sequence[Sequence[np.ndarray]]
    out_path: Path


Scheme = Callable[[Job], dict[str, Any]]
"""Writes the file of a job. Gives notes for its entry in the contract. Raises Unsuitable."""


class Unsuitable(Exception):
    """A scheme that has nothing to do in a graph, or cannot be converted; says why."""


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says, at most 200 characters."""
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}"[:200]


def schemes_of(format_name: str, ask: str | None = None) -> dict[str, Scheme]:
    """The quantisation schemes of a format, by name, in the order in which they are tried.

    ask: None or "auto" for all of them, or the name of one. Raises UserError for a name that the
    format does not know, and for a format whose files cannot be measured here.
    """
    title = FORMATS[format_name].TITLE
    module = f"{__name__}.{format_name}"
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"There is no INT8 for {title}: it is chosen by measurement, and nothing of {title} "
            "can be measured here, so a run is shipped as converted. Leave --int8 out for it."
        )
    schemes: dict[str, Scheme] = importlib.import_module(module).SCHEMES
    if ask is None or ask == "auto":
        return dict(schemes)
    if ask not in schemes:
        known = ("auto", *schemes)
        raise UserError(
            f"{title} knows no quantisation scheme called {ask!r}.{nearest(ask, known)} "
            f"Known: {'; '.join(known)}."
        )
    return {ask: schemes[ask]}
