"""The newest frame of a live source: a thread reads, one frame waits, and every wait has an end.

A source that delivers faster than the model recognises would otherwise pile up frames, and answers
would come later and later. Here the thread keeps one frame; a newer one replaces it, and the one
that nobody took is counted as dropped.

A source that fails or falls silent is opened again, for a stated time. A thread that hangs
inside a driver cannot be stopped from outside: it is left alone, and dies with the program.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Content = TypeVar("Content")
Opener = Callable[[], Iterator[Content | None]]
"""Connects when first asked for a frame, then gives frames as they come; None for a damaged one.
Returns where the source has its end, which is no loss. Raises LostError or OSError when it cannot
connect or go on; anything else is a defect."""

RETRY_S = 0.5
"""Pause between two attempts to connect."""


class LostError(Exception):
    """A live source cannot be opened, or went away and did not come back."""


class Newest(Generic[Content]):
    """Iterate over (time_s, content, fresh): the newest frame, as soon as it is due.

    open_: makes a connection, also a second one later. step_s: seconds from one frame to the next;
    None: every frame. open_s: how long its first frame may take. stall_s: a source silent for so
    long is lost. reconnect_s: for so long a lost source is tried again; 0: not at all. note: takes
    a sentence when a source is lost or back.

    time_s counts from the first frame, by the clock of arrival. fresh: the first frame of a
    connection; what came before it is not what happened just before it. Iterating ends where the
    source has its end. It raises LostError when the source cannot be opened at first, has not a
    single frame, or is lost for good. `close` ends the thread.
    """

    def __init__(
        self,
        open_: Opener[Content],
        step_s: float | None,
        *,
        open_s: float = 10.0,
        stall_s: float = 5.0,
        reconnect_s: float = 10.0,
        note: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._open, self._step_s = open_, step_s or 0.0
        self._open_s, self._stall_s = open_s, stall_s
        self._reconnect_s, self._tell = reconnect_s, note
        self._connections: list[_Connection[Content]] = []
        self._counts = [0, 0]

    @property
    def dropped(self) -> int:
        """Frames that were due and gave way to a newer one, untaken."""
        return self._counts[0] + sum(link.dropped for link in self._connections)

    @property
    def damaged(self) -> int:
        """Frames that could not be decoded."""
        return self._counts[1] + sum(link.damaged for link in self._connections)

    def __iter__(self) -> Iterator[tuple[float, Content, bool]]:
        link = self._connect()
        frame = link.take(self._open_s)
        if frame is None:
            raise LostError("it gives no frame")
        start, fresh = frame[0], True
        while frame is not None:
            arrival, content = frame
            yield arrival - start, content, fresh
            fresh = False
            try:
                frame = link.take(self._stall_s)
            except LostError as lost:
                fresh = True
                link, frame = self._reconnect(lost, arrival - start)

    def close(self) -> None:
        """Let go of the source. Returns within a second, even if its driver hangs."""
        for link in self._connections:
            link.stop()
            link.thread.join(timeout=1)

    def _connect(self) -> _Connection[Content]:
        for old in self._connections:
            old.stop()
            self._counts[0] += old.dropped
            self._counts[1] += old.damaged
        link = _Connection(self._open, self._step_s)
        self._connections = [link]
        return link

    def _reconnect(
        self, lost: LostError, at_s: float
    ) -> tuple[_Connection[Content], tuple[float, Content] | None]:
        if self._reconnect_s == 0:
            raise LostError(f"lost at {at_s:.1f} s: {lost}")
        self._tell(
            f"Lost at {at_s:.1f} s: {lost}. Trying to reconnect for {self._reconnect_s:g} s."
        )
        begun = time.monotonic()
        while (left := begun + self._reconnect_s - time.monotonic()) > 0:
            link = self._connect()
            try:
                frame = link.take(min(self._open_s, left))
            except LostError:
                time.sleep(max(0.0, min(RETRY_S, begun + self._reconnect_s - time.monotonic())))
                continue
            self._tell(f"Back after {time.monotonic() - begun:.1f} s; the stream begins anew.")
            return link, frame
        raise LostError(
            f"lost at {at_s:.1f} s: {lost}; it did not come back within {self._reconnect_s:g} s"
        )


class _Connection(Generic[Content]):
    """One connection and the thread that reads it."""

    def __init__(self, open_: Opener[Content], step_s: float) -> None:
        self.dropped = self.damaged = 0
        self._waiting: tuple[float, Content] | None = None
        self._ended: BaseException | None = None
        self._stopped = self._at_end = False
        self._changed = threading.Condition()
        self.thread = threading.Thread(target=self._read, args=(open_, step_s), daemon=True)
        self.thread.start()

    def take(self, patience_s: float) -> tuple[float, Content] | None:
        """When the waiting frame arrived, and it, or the next one; None at the end of the source.

        Raises LostError.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._ended or self._at_end, timeout=patience_s
            )
            if self._waiting is not None:
                frame, self._waiting = self._waiting, None
                return frame
            if self._at_end:
                return None
            if self._ended is None:
                raise LostError(f"no frame came for {patience_s:.3g} s")
            if isinstance(self._ended, (LostError, OSError)):
                raise LostError(_reason(self._ended)) from self._ended
            raise self._ended

    def stop(self) -> None:
        with self._changed:
            self._stopped = True

    def _read(self, open_: Opener[Content], step_s: float) -> None:
        due = -math.inf
        frames = open_()
        try:
            for content in frames:
                now = time.monotonic()
                with self._changed:
                    if self._stopped:
                        return
                    if content is None:
                        self.damaged += 1
                    elif now >= due:
                        # Due times keep their pace, unless the source fell behind by a step.
                        due = due + step_s if now < due + step_s else now + step_s
                        self.dropped += self._waiting is not None
                        self._waiting = now, content
                        self._changed.notify()
            with self._changed:
                self._at_end = True
                self._changed.notify()
        except BaseException as error:  # handed to whoever waits
            with self._changed:
                self._ended = error
                self._changed.notify()
        finally:
            close = getattr(frames, "close", None)
            if close is not None:
                close()


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
