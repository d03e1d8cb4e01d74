"""INT8 by measurement: every way of quantising that suits is tried, and kept only where it pays.

A format offers its ways in the module of its name in this folder: `RECIPES`, in the order in which
they are tried. `auto.py` measures them and chooses.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy.errors import UserError, nearest
from understudy.ship.formats import FORMATS
from understudy.ship.graphs import Graph

Recipe = Callable[
    [Graph, Path, dict[str, Any], Sequence[Sequence[np.ndarray]], Path], dict[str, Any]
]
"""One way of quantising: (graph, float_path, entry, calibration, out_path) -> notes.

graph: the eager graph. float_path: the FP32 file exported from it. entry: that file's entry in the
contract. calibration: inputs of training clips in the contract's order, one clip (or one step with
the state that it meets) each. out_path: the file to write; it takes and gives what the FP32 file
does, so that callers never quantise. notes: merged into the entry. Raises Unsuitable.
"""


class Unsuitable(Exception):
    """A way of quantising that has nothing to do in a graph, or cannot be converted; says why."""


def recipes_of(format_name: str, ask: str | None = None) -> dict[str, Recipe]:
    """The ways of quantising of a format, by name, in the order in which they are tried.

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
    recipes: dict[str, Recipe] = importlib.import_module(module).RECIPES
    if ask is None or ask == "auto":
        return dict(recipes)
    if ask not in recipes:
        known = ("auto", *recipes)
        raise UserError(
            f"{title} knows no way of quantising called {ask!r}.{nearest(ask, known)} "
            f"Known: {'; '.join(known)}."
        )
    return {ask: recipes[ask]}
