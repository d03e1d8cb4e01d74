"""The formats a run can be exported to: one module each, its libraries imported when it is used."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Protocol

from understudy.errors import UserError, nearest
from understudy.ship.formats import coreml, executorch, litert, onnx
from understudy.ship.graphs import Graph, Session


class Format(Protocol):
    """What a module of this folder offers so that runs can be exported to one more format."""

    TITLE: str
    """Its name as its makers write it."""
    SUFFIX: str
    """Of a model file: `.onnx`; a graph's file is clip or step and this."""
    EXTRA: str | None
    """The optional extra of this package that brings its libraries; None: always there."""
    MODULES: tuple[str, ...]
    """What must be importable to export and to run."""
    LIBRARIES: tuple[str, ...]
    """Packages whose versions are written into the contract."""
    PLATFORMS: str
    """Where its libraries can be installed, in words."""
    ANY_BATCH: bool
    """Whether one file takes any number of clips; otherwise it takes one."""
    PRECISION: str
    """What an export computes in: fp32, or fp16."""
    RUNS_HERE: bool
    """Whether this package can execute its files. What cannot be executed is only converted."""
    THREADS: str
    """Whether several threads may call one loaded file, for the README."""

    def export(self, graph: Graph, path: Path) -> dict[str, Any]:
        """Write one file. Gives what is to be said of it in the contract beside its tensors."""
        ...

    def oldest_runtime(self, path: Path) -> str:
        """The oldest release that can execute a file that was written here, by its name."""
        ...

    def open_session(self, path: Path, entry: dict[str, Any], threads: int | None) -> Session:
        """Load a file. entry: its part of the contract. threads: None: every core.

        Raises UserError where this machine cannot execute it.
        """
        ...


FORMATS: dict[str, Format] = {
    "onnx": onnx,
    "litert": litert,
    "coreml": coreml,
    "executorch": executorch,
}


def find_format(name: str) -> Format:
    """The module of a format. Raises UserError for one that is unknown or not installed."""
    if name not in FORMATS:
        raise UserError(
            f"There is no export format {name}.{nearest(name, tuple(FORMATS))} "
            f"Known: {', '.join(FORMATS)}."
        )
    format_ = FORMATS[name]
    missing = [module for module in format_.MODULES if not _is_there(module)]
    if missing:
        raise UserError(
            f"{format_.TITLE} needs {', '.join(missing)}, which is not installed. Install it with: "
            f"pip install 'understudy[{format_.EXTRA}]'  ({format_.PLATFORMS})"
        )
    return format_


def is_installed(format_: Format) -> bool:
    """Whether everything that a format needs can be imported."""
    return all(map(_is_there, format_.MODULES))


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in is missing
        return False
