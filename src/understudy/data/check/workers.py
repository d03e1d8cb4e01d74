"""Work on files of strangers in processes that may die or hang: the item is lost, the rest goes on.

A decoder in C may end its process, or never come back; no exception tells of either. So each
process has one item at a time, and who gives no sign of life is ended and replaced.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

PATIENCE_S = 60.0
"""Seconds without a sign of life after which a process is ended."""
TRIES = 2
"""Of an item whose process died: it may have been the machine's memory, or another's signal."""
_SIGN_S = 0.5
_START_S = 60.0
"""Allowed to a new process before its first sign, on top: it loads the decoders."""


class Lost(NamedTuple):
    """What came of an item whose process died or hung, in words."""

    reason: str


Alive = Callable[[], None]
"""Called by the work as it gets on."""


@dataclass(slots=True)
class _Worker:
    process: Any
    pipe: Connection
    item: Any = None
    deadline: float = field(default=0.0)


def each(
    work: Callable[[Any, Alive], Any],
    items: Iterable[Any],
    count: int,
    *,
    patience_s: float = PATIENCE_S,
) -> Iterator[tuple[Any, Any]]:
    """(item, result of `work`) of all items as they get done, or `Lost` in place of a result.

    work: a function of a module, so that another process finds it; given the item, and what to call
    as it gets on. count: processes. All of them have ended when the iterator is closed.
    """
    # None of our threads is lost in a fork, and a new process need not load everything again.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([work.__module__, "understudy.data.check.look"])
    waiting, tried = deque(items), dict[Any, int]()
    workers: list[_Worker] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < count:
                workers.append(_started(context, work, waiting.popleft(), patience_s))
            nearest = min(worker.deadline for worker in workers)
            wait(
                [one for worker in workers for one in (worker.pipe, worker.process.sentinel)],
                max(0.0, nearest - time.monotonic()),
            )
            for worker in list(workers):
                found = _heard(worker, patience_s)
                if found is None:
                    continue
                item, result, died = worker.item, *found
                if isinstance(result, Lost):
                    _end(worker)
                    workers.remove(worker)
                    tried[item] = tried.get(item, 0) + 1
                    if died and tried[item] < TRIES:
                        waiting.append(item)
                        continue
                elif waiting:
                    _give(worker, waiting.popleft(), patience_s)
                else:
                    _end(worker)
                    workers.remove(worker)
                yield item, result
    finally:
        for worker in workers:
            _end(worker)


def _started(context: Any, work: Callable[..., Any], item: Any, patience_s: float) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, patience_s), daemon=True)
    process.start()
    theirs.close()  # so that its end is seen here
    worker = _Worker(process, ours)
    _give(worker, item, patience_s + _START_S)
    return worker


def _give(worker: _Worker, item: Any, patience_s: float) -> None:
    worker.item, worker.deadline = item, time.monotonic() + patience_s
    with contextlib.suppress(OSError):  # it has died meanwhile, which its sentinel tells
        worker.pipe.send(item)


def _heard(worker: _Worker, patience_s: float) -> tuple[Any, bool] | None:
    """The result, and whether it is that its process died; None while it works."""
    try:
        while worker.pipe.poll():
            done, result = worker.pipe.recv()
            if done:
                return result, False
            worker.deadline = time.monotonic() + patience_s
    except (EOFError, OSError):
        worker.process.join(1)
        return Lost(f"reading it ended the process: {_ending(worker.process.exitcode)}"), True
    if time.monotonic() >= worker.deadline:
        return Lost(f"nothing came of reading it for {patience_s:g} s"), False
    return None


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.join(0 if worker.item is not None else 1)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.process.close()


def _serve(pipe: Connection, work: Callable[[Any, Alive], Any], patience_s: float) -> None:
    """A process from its start to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked for all of it ends it
    told = 0.0

    def alive() -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _SIGN_S:
            told = now
            pipe.send((False, None))
            _end_if_left_alone(patience_s)

    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            item = pipe.recv()
            told = 0.0
            alive()
            try:
                result = work(item, alive)
            except MemoryError:
                result = Lost("it asks for more memory than there is")
            except BrokenPipeError:
                raise
            except Exception as error:
                result = Lost(f"reading it failed: {type(error).__name__}: {error}")
            pipe.send((True, result))


def _end_if_left_alone(patience_s: float) -> None:
    """Ask the system to end this process should it hang when nobody is left to see that."""
    if hasattr(signal, "alarm"):
        signal.alarm(int(2 * patience_s) + 60)
