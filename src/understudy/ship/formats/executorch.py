"""ExecuTorch: being written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy.ship.graphs import Graph

TITLE = "ExecuTorch"
SUFFIX = ".pte"
EXTRA: str | None = "executorch"
MODULES: tuple[str, ...] = ("executorch",)
LIBRARIES: tuple[str, ...] = ("executorch",)
PLATFORMS = "Linux x86-64 and macOS"
ANY_BATCH = False
PRECISION = "fp32"
RUNS_HERE = True


def export(graph: Graph, path: Path) -> dict[str, Any]:
    raise NotImplementedError


def open_session(
    path: Path, entry: dict[str, Any], threads: int | None
) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    raise NotImplementedError
