"""What a person sees while a model learns: a bar in a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn


class Reporter(Protocol):
    """Told about every step of training; what it shows is its own affair."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def start(self, epochs_left: int, clips_per_epoch: int) -> None: ...
    def advance(self, clips: int) -> None: ...
    def epoch(self, entry: dict[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...
    def start(self, epochs_left: int, clips_per_epoch: int) -> None: ...
    def advance(self, clips: int) -> None: ...
    def epoch(self, entry: dict[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...


class Lines(Quiet):
    """One line per epoch on standard error."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._epochs_left = 0
        self._total = 0
        self._started = 0.0

    def start(self, epochs_left: int, clips_per_epoch: int) -> None:
        del clips_per_epoch
        self._epochs_left = self._total = epochs_left
        self._started = time.monotonic()

    def epoch(self, entry: dict[str, Any]) -> None:
        self._epochs_left -= 1
        done = self._total - self._epochs_left
        left = (time.monotonic() - self._started) / done * self._epochs_left
        self.note(f"{describe(entry)}  {duration(left)} left")

    def note(self, text: str) -> None:
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
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def start(self, epochs_left: int, clips_per_epoch: int) -> None:
        super().start(epochs_left, clips_per_epoch)
        self._expected = epochs_left * clips_per_epoch
        self._task = self._bar.add_task("training", total=self._expected, speed="")

    def advance(self, clips: int) -> None:
        self._clips += clips
        speed = self._clips / max(time.monotonic() - self._started, 1e-9)
        left = (self._expected - self._clips) / max(speed, 1e-9)
        text = f"{speed:.0f} clips/s, {duration(left)} left"
        self._bar.update(self._task, advance=clips, speed=text)


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
    return (
        f"epoch {entry['epoch']:>3}  loss {train['loss']:.3f} ({', '.join(parts)})  "
        f"train {train['top1']:.3f}  val {val['top1']:.3f}{best}  "
        f"{entry['clips_per_second']:.0f} clips/s"
    )


def duration(seconds: float) -> str:
    """`85` -> `1 min 25 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
