"""What is being done, said again and again while it takes long, with the time left where known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

FIRST_S, MOST_S = 5.0, 60.0
"""Silence after which something is said; each further silence may last twice as long, up to a
minute, so that a log of hours stays short."""

Part = TypeVar("Part")


class Track(Protocol):
    """Gives `parts` one by one while something tells how far it is. title: what is done with them.
    total: of all clips in them, of which a part holds `size` (by default 1)."""

    def __call__(
        self,
        parts: Iterable[Part],
        title: str,
        total: int,
        size: Callable[[Part], int] = ...,
    ) -> Iterator[Part]: ...


def one(part: object) -> int:
    """The size of a part that is a single clip."""
    del part
    return 1


def untold(
    parts: Iterable[Part], title: str, total: int, size: Callable[[Part], int] = one
) -> Iterator[Part]:
    """A `Track` that says nothing."""
    del title, total, size
    return iter(parts)


@dataclass(slots=True)
class _Stage:
    title: str
    total: int = 0
    done: int = 0
    begun: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        spent = time.monotonic() - self.begun
        if not self.done:
            return f"{self.title}: {duration(spent)} so far"
        left = duration(spent / self.done * max(self.total - self.done, 0))
        return f"{self.title}: {self.done:,} of {self.total:,} clips, {left} left"


class Heartbeat:
    """Breaks the silence of whatever takes long, from a thread of its own: also where the work is a
    single call into a library.

        with Heartbeat(say) as progress:
            progress("quantising")             # said at once, and again while it lasts
            for batch in progress.track(batches, "evaluating", 400, len):
                ...

    say: takes a line, from either thread. title: what is done first.
    """

    def __init__(
        self, say: Callable[[str], None], title: str = "", *, first_s: float = FIRST_S
    ) -> None:
        self._say, self._first_s = say, first_s
        self._stages = [_Stage(title)]
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._listen()

    def __enter__(self) -> Self:
        if self._thread is None:
            self._stop.clear()
            self._stages[0].begun = time.monotonic()
            self._listen()
            self._thread = threading.Thread(target=self._beat, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def __call__(self, line: str) -> None:
        """Say a line; what it names is what is done from now on, unless clips are being counted."""
        with self._lock:
            self._say(line)
            self._told = time.monotonic()
            if not self._stages[-1].total:
                self._stages[-1] = _Stage(line)

    def track(
        self, parts: Iterable[Part], title: str, total: int, size: Callable[[Part], int] = one
    ) -> Iterator[Part]:
        """As `Track` says."""
        self.begin(title, total)
        try:
            for part in parts:
                yield part
                self.advance(size(part))
        finally:
            self.end()

    def begin(self, title: str, total: int) -> None:
        """Count clips from now on, until `end`."""
        with self._lock:
            self._stages.append(_Stage(title, total))
            self._listen()

    def advance(self, clips: int) -> None:
        """So many more are done."""
        self._stages[-1].done += clips

    def end(self) -> None:
        """Go on with what was done before `begin`."""
        with self._lock:
            self._stages.pop()

    def _listen(self) -> None:
        self._told, self._patience_s = time.monotonic(), self._first_s

    def _beat(self) -> None:
        while not self._stop.wait(min(0.5, self._first_s / 2)):
            with self._lock:
                silent_s = time.monotonic() - self._told
                if self._stages[-1].title and silent_s >= self._patience_s:
                    self._say(str(self._stages[-1]))
                    self._told = time.monotonic()
                    self._patience_s = min(2 * self._patience_s, MOST_S)


def duration(seconds: float) -> str:
    """`85` -> `1 min 25 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
