"""A stream recognised frame by frame: what a model says now, of a file or of a camera.

    model = StreamModel(understudy.load("runs/student"))  # or an artifact
    stream = Stream(model, FileSource(path, model.step_s), threshold=0.4)
    for event in stream:
        print(event)  # a Change when the label changes, a Stretch when one has ended
    print(stream.summary())

The model is stepped, so that a frame costs the same however long the stream is, and memory does
not grow. `restarts.py` keeps it within the clips of training, `smoothing.py` makes labels of its
probabilities.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from understudy.data.transforms import prepare
from understudy.errors import UserError
from understudy.perform.holding import thresholds_for
from understudy.perform.pace import Pace, Slow
from understudy.perform.restarts import OverlappingRestarts
from understudy.perform.smoothing import Change, Labels, Latencies, MovingAverage, Stretch
from understudy.perform.sources import Source
from understudy.run import PICTURE_STEP_S
from understudy.types import Classifier


class StreamModel:
    """A run or an artifact, loaded, and stepped within the clips of its training.

    Raises UserError when its model cannot stream.
    """

    def __init__(self, classifier: Classifier) -> None:
        if not classifier.streams:
            raise UserError(
                f"{classifier.model_name}, the model of {classifier.name}, takes whole clips and "
                "cannot be stepped frame by frame. Recognise a video in windows with understudy "
                "predict, or train a model that streams, such as frames-attention."
            )
        self.classifier, self.classes = classifier, classifier.classes
        self.size, self.step_s = classifier.sampling.size, classifier.sampling.step_s
        self.clip_frames = classifier.sampling.frames
        self._memory = OverlappingRestarts(classifier, self.clip_frames)
        self.begin()

    def begin(self) -> None:
        """Forget everything, as before the first frame."""
        self._memory.begin()
        self._seen = 0

    @property
    def has_context(self) -> bool:
        """Whether the last answer was made from as much of a clip as all later ones will be.

        That is more than half of a clip of training, or all that the model ever looks at.
        """
        return self._seen > self.frames_before_labels

    @property
    def frames_before_labels(self) -> int:
        """Frames after which `has_context` is still false."""
        return min(self.clip_frames, self.classifier.stream_frames or self.clip_frames) // 2

    def probabilities(self, pixels: Tensor) -> np.ndarray:
        """Read the next frame, (3, H, W) uint8 of any size: probabilities (K,) float64.

        Raises UserError when the model's output is no finite number.
        """
        frame = prepare(pixels[None], self.size)
        with torch.inference_mode():
            logits = self._memory.step(frame).logits[0].cpu().double()
        self._seen += 1
        if not logits.isfinite().all():
            raise UserError(
                "The model's output is not a finite number: its weights are damaged or its "
                "training diverged. Use another checkpoint, or train again with a lower learning "
                "rate."
            )
        return self.classifier.task.probabilities(logits).numpy()


@dataclass(frozen=True, slots=True)
class Summary:
    """What was read, and how fast. `dataclasses.asdict` makes it ready for JSON.

    seconds: of the stream, from its first to its last frame. frames: that the model saw. dropped:
    frames of a camera that were due while the model was busy. damaged: that a camera sent broken.
    frames_per_second: that the model saw. taught_frames_per_second: of its training, None where it
    was taught no pace. slow_seconds: for so long frames came less often than that.
    latency: of a frame, from its decoded pixels to its label. real_time_factor: seconds of stream
    per second of work; decoding included for a file, waiting excluded for a camera. None where no
    time passed.
    """

    seconds: float
    frames: int
    dropped: int
    damaged: int
    latency_median_ms: float
    latency_p95_ms: float
    real_time_factor: float | None
    frames_per_second: float | None = None
    taught_frames_per_second: float | None = None
    slow_seconds: float = 0.0


class Stream:
    """One stream, recognised while it is iterated over.

    Yields a Change when the label becomes another one and, before it, the Stretch that it ends;
    the last Stretch where the stream ends by itself. `finish` gives it where it does not. Yields a
    Slow, once, when frames come less often than the model was taught at.
    threshold: a lower probability makes the label "unknown"; where several labels may hold, each
    has a threshold of its own instead. Until the model has its context, the
    label is "warming up". smoothing_s: the time constant of the average over time; 0: none; None:
    one step between frames.
    """

    def __init__(
        self,
        model: StreamModel,
        source: Source,
        *,
        threshold: float = 0.0,
        smoothing_s: float | None = None,
    ) -> None:
        self._model, self._source = model, source
        self._labels = Labels(model.classes, threshold, thresholds_for(model.classifier))
        self._average = MovingAverage(
            (model.step_s or PICTURE_STEP_S) if smoothing_s is None else smoothing_s
        )
        # Cameras stumble when they start; the times of a file are what they are.
        self.pace = Pace(
            model.classifier.sampling, max(2, model.clip_frames // 2) if source.live else 2
        )
        self.latencies = Latencies()
        self._last_s = self._spent_s = 0.0

    def __iter__(self) -> Iterator[Change | Stretch | Slow]:
        begun = time.perf_counter()
        for time_s, pixels, fresh in self._source:
            arrived = time.perf_counter()
            if fresh:
                self._model.begin()
                paused = None if self._source.live else self.finish()
                if paused is not None:
                    yield paused
            if not self._model.has_context:
                self._average.begin()
            average = self._average.add(time_s, self._model.probabilities(pixels))
            change, ended = self._labels.add(time_s, average, known=self._model.has_context)
            now = time.perf_counter()
            self.latencies.add(now - arrived)
            self._last_s, self._spent_s = time_s, now - begun
            slow = self.pace.add(time_s, fresh=fresh)
            if slow is not None:
                yield slow
            if ended is not None:
                yield ended
            if change is not None:
                yield change
        last = self.finish()
        if last is not None:
            yield last

    def finish(self) -> Stretch | None:
        """The stretch that lasts, ended at the last frame; None once it was given."""
        return self._labels.end(self._last_s)

    def summary(self) -> Summary:
        """What was read so far."""
        spent_s = self.latencies.total_s if self._source.live else self._spent_s
        intervals = self.latencies.count - 1
        return Summary(
            seconds=self._last_s,
            frames=self.latencies.count,
            dropped=self._source.dropped,
            damaged=self._source.damaged,
            latency_median_ms=self.latencies.quantile_ms(0.5),
            latency_p95_ms=self.latencies.quantile_ms(0.95),
            real_time_factor=self._last_s / spent_s if self._last_s and spent_s else None,
            frames_per_second=intervals / self._last_s if self._last_s else None,
            taught_frames_per_second=self.pace.taught,
            slow_seconds=self.pace.slow_seconds,
        )
