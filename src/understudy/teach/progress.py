"""What a person sees while a model learns: a bar in a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from understudy.progress import Heartbeat, Part, duration, one, untold
from understudy.task import task_that_gave


class Reporter(Protocol):
    """Told about every step of training; what it shows is its own affair."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def start(self, epochs_left: int, clips_per_epoch: int) -> None: ...
    def advance(self, clips: int) -> None: ...
    def epoch(self, entry: dict[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...
    def track(
        self, parts: Iterable[Part], title: str, total: int, size: Callable[[Part], int] = one
    ) -> Iterator[Part]: ...


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...
    def start(self, epochs_left: int, clips_per_epoch: int) -> None: ...
    def advance(self, clips: int) -> None: ...
    def epoch(self, entry: dict[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...

    def track(
        self, parts: Iterable[Part], title: str, total: int, size: Callable[[Part], int] = one
    ) -> Iterator[Part]:
        return untold(parts, title, total, size)


class Lines(Quiet):
    """One line per epoch on standard error, and some where that takes long."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._beat = Heartbeat(self._print, "preparing")
        self._epochs_left = 0
        self._total = 0
        self._started = 0.0

    def __enter__(self) -> Self:
        self._beat.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._beat.__exit__(*error)

    def start(self, epochs_left: int, clips_per_epoch: int) -> None:
        self._beat.begin("training", epochs_left * clips_per_epoch)
        self._epochs_left = self._total = epochs_left
        self._started = time.monotonic()

    def advance(self, clips: int) -> None:
        self._beat.advance(clips)

    def epoch(self, entry: dict[str, Any]) -> None:
        self._epochs_left -= 1
        done = self._total - self._epochs_left
        left = (time.monotonic() - self._started) / done * self._epochs_left
        self.note(f"{describe(entry)}  {duration(left)} left")

    def note(self, text: str) -> None:
        self._beat(text)

    def track(
        self, parts: Iterable[Part], title: str, total: int, size: Callable[[Part], int] = one
    ) -> Iterator[Part]:
        return self._beat.track(parts, title, total, size)

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False)


class Bar(Lines):
    """A bar with clips/s and the time left, and the same line per epoch above it."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            console=self.console,
            transient=True,
        )
        self._clips = self._expected = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._bar.stop()

    def start(self, epochs_left: int, clips_per_epoch: int) -> None:
        self._epochs_left = self._total = epochs_left
        self._started = time.monotonic()
        self._beat.begin("", 0)  # the bar is enough
        self._expected = epochs_left * clips_per_epoch
        self._task = self._bar.add_task("training", total=self._expected, speed="")

    def advance(self, clips: int) -> None:
        self._clips += clips
        speed = self._clips / max(time.monotonic() - self._started, 1e-9)
        left = (self._expected - self._clips) / max(speed, 1e-9)
        text = f"{speed:.0f} clips/s, {duration(left)} left"
        self._bar.update(self._task, advance=clips, speed=text)

    def track(
        self, parts: Iterable[Part], title: str, total: int, size: Callable[[Part], int] = one
    ) -> Iterator[Part]:
        task = self._bar.add_task(title, total=total, speed="")
        self._beat.begin("", 0)
        begun, done = time.monotonic(), 0
        try:
            for part in parts:
                yield part
                done += size(part)
                left = (time.monotonic() - begun) / max(done, 1) * max(total - done, 0)
                self._bar.update(task, completed=done, speed=f"{duration(left)} left")
        finally:
            self._bar.remove_task(task)
            self._beat.end()


def default_reporter() -> Reporter:
    """A bar where somebody watches, lines elsewhere."""
    return Bar() if sys.stderr.isatty() else Lines()


def describe(entry: dict[str, Any]) -> str:
    """One epoch of `history.json` in a line."""
    train, val = entry["train"], entry["val"]
    # With several teachers each has parts of its own: feature_NAME, cosine_NAME, response_NAME.
    parts = [
        f"{name.replace('_', ' ')} {value:.3f}"
        for name, value in train.items()
        if name.partition("_")[0] in ("feature", "cosine", "response", "task")
    ]
    best = " *" if entry["best"] else ""
    task = task_that_gave(val)
    # A part that no clip of training has a label for is not there.
    own = f"train {train[task.hit_rate]:.3f}  " if task.hit_rate in train else ""
    if task.several:
        own = own.replace("train", "train all labels right")
    of_val = f"val {f'{task.metric_title} ' if task.several else ''}{val[task.metric]:.3f}"
    return (
        f"epoch {entry['epoch']:>3}  loss {train['loss']:.3f} ({', '.join(parts)})  "
        f"{own}{of_val}{best}  "
        f"{entry['clips_per_second']:.0f} clips/s"
    )
