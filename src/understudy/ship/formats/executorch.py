"""ExecuTorch: PyTorch's own runtime for phones, here with XNNPACK, the delegate for their CPUs."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from understudy.core_count import cores
from understudy.ship.formats.flat_c3d import flatten_c3d
from understudy.ship.formats.prepare import fresh, prepared, trace
from understudy.ship.formats.quiet import quiet, quiet_native
from understudy.ship.graphs import Graph, Session

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TITLE: str = "ExecuTorch"
SUFFIX: str = ".pte"
EXTRA: str | None = "executorch"
MODULES: tuple[str, ...] = ("executorch",)
LIBRARIES: tuple[str, ...] = ("executorch",)
PLATFORMS: str = "Linux x86-64 and macOS"
ANY_BATCH: bool = False
PRECISION: str = "fp32"
RUNS_HERE: bool = True
THREADS: str = "one at a time may call a module; give each thread its own, or lock it"

METHOD = "forward"


def export(graph: Graph, path: Path) -> dict[str, Any]:
    """Write a graph to one ExecuTorch file at `path`, for one clip or one frame of a stream."""
    with quietly_lowering():
        return lower(program_of(graph), path)


def program_of(graph: Graph) -> ExportedProgram:
    """A graph for one clip or one frame, in operators that the delegate takes.

    What depends on weights alone is computed now: ranges of attention, time positions.
    """
    from executorch.exir.passes.constant_prop_pass import constant_prop_pass

    from understudy.ship.formats.executorch_rewrites import REWRITES

    program = trace(flatten_c3d(prepared(graph)), graph.example(1))
    with torch.no_grad():
        folded = constant_prop_pass(program.run_decompositions(REWRITES))
    # A part of a larger tensor would be written from where the larger one begins.
    for name, tensor in folded.constants.items():
        if isinstance(tensor, torch.Tensor):
            folded.constants[name] = fresh(tensor)
    return folded


def lower(program: ExportedProgram, path: Path) -> dict[str, Any]:
    """Delegate what XNNPACK takes and write the file. Gives the delegates and what is outside."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    called = Counter(
        node.target.__name__
        for node in edge.exported_program().graph.nodes
        if node.op == "call_function"
    )
    for name in ("getitem", "alloc"):
        called.pop(name, None)
    delegates = called.pop("executorch_call_delegate", 0)
    with path.open("wb") as file:
        edge.to_executorch().write_to_file(file)
    return {"method": METHOD, "delegates": delegates, "not_delegated": dict(sorted(called.items()))}


def oldest_runtime(path: Path) -> str:
    """The release that wrote the file, which does not say what it needs: newer ones read it, older
    ones promise nothing."""
    return f"{TITLE} {metadata.version('executorch')}"


def open_session(path: Path, entry: dict[str, Any], threads: int | None) -> Session:
    """Load an exported file on the CPU. `threads`: None: every core. Calls from several threads,
    of one file or of several, are computed one after the other.

    The runtime has one pool of threads for the whole process, and a loaded file keeps to the pool
    it was loaded with. So a file whose pool was replaced, by one that was opened with another
    number of threads, is loaded again at its next call: correct, but slow if two take turns.
    """
    wanted = threads or cores()
    method = generation = None

    def compute(values: Sequence[np.ndarray]) -> list[np.ndarray]:
        nonlocal method, generation
        given = [torch.from_numpy(np.ascontiguousarray(value)) for value in values]
        with _POOL.lock:
            if method is None or generation != _POOL.ask(wanted):
                generation, method = _POOL.ask(wanted), _load(path, entry.get("method", METHOD))
            return [tensor.numpy() for tensor in method.execute(given)]

    with _POOL.lock, quiet_native():
        generation, method = _POOL.ask(wanted), _load(path, entry.get("method", METHOD))
    return compute


class _Pool:
    """The process's pool of threads, as far as this package has set it."""

    def __init__(self) -> None:
        self.generation = 0
        self.lock = threading.RLock()  # a pool that is replaced while it computes ends the process

    def ask(self, threads: int) -> int:
        """Have so many threads. Gives a number that changes whenever the pool is replaced."""
        from executorch.extension.pybindings import portable_lib

        if portable_lib._threadpool_get_thread_count() != threads:
            with quiet_native():  # it logs
                portable_lib._unsafe_reset_threadpool(threads)
            self.generation += 1
        return self.generation


_POOL = _Pool()


def _load(path: Path, method: str) -> Any:
    from executorch.runtime import Runtime

    with quiet_native():
        return Runtime.get().load_program(path).load_method(method)


@contextmanager
def quietly_lowering() -> Iterator[None]:
    """Within it the exporter says nothing, and the handlers that it gives the root logger go."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    try:
        with quiet("torch.export", "root"), quiet_native():
            yield
    finally:
        root.handlers[:] = handlers
