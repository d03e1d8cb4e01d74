"""What using a model takes from nothing: a fresh process loads it, calls it and says what it took.

The first call is the one that a user waits for: it allocates, plans and touches weights for the
first time. Importing libraries is not counted, so that a runtime isn't charged for PyTorch, with
which this package feeds it.

python -m understudy.ship.bench.first_use JSON     what `first_use` passes
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

CALLS = 3

_RUNTIMES = {
    "onnx": "onnxruntime",
    "litert": "ai_edge_litert.interpreter",
    "executorch": "executorch.runtime",
}
"""What is imported before the clock runs, by the runtime of an artifact."""


class FirstUse(NamedTuple):
    """load_ms: from files to a model that can be called; None where there are no files.
    first_call_ms: its first call. peak_rss_mb: peak resident memory of the process in MB (10^6
    bytes), interpreter and libraries included; None where the system does not report it."""

    load_ms: float | None
    first_call_ms: float | None
    peak_rss_mb: float | None


def first_use(
    source: tuple[str, ...],
    *,
    what: str = "clip",
    frames: int,
    size: int,
    batch: int = 1,
    threads: int = 1,
) -> FirstUse:
    """Use a model in a process of its own.

    source: ("run", path, checkpoint), ("artifact", path) or ("peer", name). what: clip, to read
    whole clips (batch, frames, 3, size, size), or frame, to step through a stream.
    """
    asked = [source, what, frames, size, batch, threads]
    done = subprocess.run(
        [sys.executable, "-m", "understudy.ship.bench.first_use", json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"A fresh process could not use {source[1]}:\n{done.stderr}")
    return FirstUse(*json.loads(done.stdout.splitlines()[-1]))


def _use(
    source: list[str], what: str, frames: int, size: int, batch: int, threads: int
) -> FirstUse:
    import torch

    from understudy.ship.bench.subjects import natural_clips, reading

    torch.set_num_threads(threads)
    load = _loader(source, what, frames, size, threads)
    pixels = natural_clips(batch, frames, size)
    begun = time.perf_counter()
    model = load()
    load_ms = (time.perf_counter() - begun) * 1e3
    with torch.inference_mode():
        call = reading(model, pixels, what)
        begun = time.perf_counter()
        call()
        first_call_ms = (time.perf_counter() - begun) * 1e3
        for _ in range(CALLS - 1):
            call()
    peak = own_peak_bytes()
    return FirstUse(
        None if source[0] == "peer" else load_ms,
        first_call_ms,
        None if peak is None else peak / 1e6,
    )


def _loader(
    source: list[str], what: str, frames: int, size: int, threads: int
) -> Callable[[], Any]:
    """Imports what loading needs and gives the loading itself."""
    kind, place, *more = source
    if kind == "run":
        from understudy.run import open_run

        importlib.import_module("understudy.models")
        return lambda: open_run(place).load_model(*more)
    if kind == "peer":
        from understudy.ship.bench.peers import create_peer

        return lambda: create_peer(place, frames=frames, size=size)
    from understudy.ship.artifact import load_artifact, open_artifact

    importlib.import_module(_RUNTIMES[open_artifact(place).contract["runtime"]])

    def load() -> Any:
        recognizer = load_artifact(place, threads=threads)
        recognizer.open_graph("step" if what == "frame" else "clip")
        return recognizer

    return load


def own_peak_bytes() -> int | None:
    """Peak resident memory of this process; None where the operating system does not report it."""
    # Not getrusage on Linux: there a new process inherits the peak of the one that started it.
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        return int(found[1]) * 1024 if found else None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def main() -> None:
    answer = _use(*json.loads(sys.argv[1]))
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


if __name__ == "__main__":
    main()
