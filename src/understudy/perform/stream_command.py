"""The verb `stream`: a video file or a camera frame by frame, as lines of text or as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.data.decode import probe, stream_frames
from understudy.data.media import DecodeError, MediaInfo
from understudy.errors import UserError
from understudy.judge.predictions import counted
from understudy.perform.camera import find_camera, list_cameras
from understudy.perform.holding import NO_LABEL, thresholds_for
from understudy.perform.loading import load
from understudy.perform.newest import LostError
from understudy.perform.pace import Slow
from understudy.perform.smoothing import Change
from understudy.perform.sources import CameraSource, FileSource, Source
from understudy.perform.stream import Stream, StreamModel, Summary
from understudy.record import is_reserved
from understudy.run import Run, RunClassifier
from understudy.run.classifier import checked_threshold
from understudy.types import Classifier

if TYPE_CHECKING:
    from understudy.ship.artifact import Artifact

RECONNECT_S = 10.0
"""Default time for which a lost camera is tried again, in seconds."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How a stream is to be read; None: not given.

    camera: as `find_camera` takes it. unknown: probability below which no label is said.
    smoothing_s: time constant of the average over time. reconnect_s: for so long a lost camera is
    tried again.
    """

    camera: str | None = None
    unknown: float | None = None
    smoothing_s: float | None = None
    reconnect_s: float | None = None


def recognise_stream(
    place: str | Path | Run | Artifact,
    file: Path | None,
    options: Options,
    *,
    checkpoint: str = "best",
    device: str = "cpu",
    threads: int | None = None,
    as_json: bool,
    show: Say,
    note: Say,
) -> None:
    """Recognise one video or a camera frame by frame, and show every change of the label.

    place, checkpoint, device, threads: as `load` takes them.
    file: the video; None where `options` names a camera.
    note: takes a sentence that is no result.
    However the stream ends, the summary is shown. Raises UserError for what was typed wrongly, a
    file that breaks off, and a camera that is lost for good; KeyboardInterrupt goes through.
    """
    _check(options, file)
    classifier = load(place, checkpoint=checkpoint, device=device, threads=threads)
    model = StreamModel(classifier)
    camera = find_camera(options.camera) if options.camera is not None else None
    if file is not None:
        for sentence in _probed(file).notes:
            note(f"{file}: {sentence}.")
    for name in filter(is_reserved, classifier.classes):
        note(
            f'The model has a class called "{name}", a word that streams keep for themselves: here '
            f'that class is "class {name}".'
        )
    threshold = 0.0
    if classifier.task.several:
        _refuse_unknown(options)
        thresholds_for(classifier, note)
    else:
        threshold = options.unknown if options.unknown is not None else _threshold(classifier, note)
    source: Source
    if camera is not None:
        patience_s = RECONNECT_S if options.reconnect_s is None else options.reconnect_s
        source = CameraSource(camera, model.step_s, reconnect_s=patience_s, note=note)
    else:
        assert file is not None
        source = FileSource(file, model.step_s)
    stream = Stream(model, source, threshold=threshold, smoothing_s=options.smoothing_s)
    try:
        for event in stream:
            if isinstance(event, Slow):
                note(too_slow(event, source.dropped))
            _show_event(event, stream, as_json, show)
    except DecodeError as error:
        raise UserError(f"{error.path} could not be read to its end: {error.reason}") from error
    except LostError as error:
        raise UserError(f"Camera {options.camera}: {error}.{_which_cameras()}") from error
    finally:
        source.close()
        _show_end(stream, model, as_json, show, note)


def _check(options: Options, file: Path | None) -> None:
    """Raises UserError for options that cannot be, or not together."""
    if options.camera is not None and file is not None:
        raise UserError(f"Give --camera {options.camera} or a file, not both.")
    if options.camera is None and file is None:
        raise UserError("Give a video to read, or --camera 0 for a camera.")
    if options.camera is None and options.reconnect_s is not None:
        raise UserError("--reconnect belongs to --camera; a file needs none.")
    if options.unknown is not None:
        checked_threshold(options.unknown, "--unknown")
    _check_seconds("--smoothing", options.smoothing_s)
    _check_seconds("--reconnect", options.reconnect_s)


def _refuse_unknown(options: Options) -> None:
    if options.unknown is not None:
        raise UserError(
            "--unknown is for models that name one label. This one says every label from a "
            "threshold of its own on, and none where none holds; the thresholds stand in "
            "thresholds.json of its run."
        )


def _threshold(classifier: Classifier, note: Say) -> float:
    """The probability below which the label is unknown: as it was set, or set now for a run."""
    if classifier.unknown_below is not None:
        return classifier.unknown_below
    if isinstance(classifier, RunClassifier):
        # Evaluation takes a while to import, and is needed once for a run.
        from understudy.judge.unknown import unknown_threshold

        return unknown_threshold(classifier, note=note)
    note(
        'This artifact has no threshold for "unknown", so every frame gets a label. Give one: '
        "--unknown 0.5"
    )
    return 0.0


def _show_event(event: Any, stream: Stream, as_json: bool, show: Say) -> None:
    latency_ms = stream.latencies.quantile_ms(0.5)
    if as_json:
        timed = {"latency_median_ms": latency_ms} if isinstance(event, Change) else {}
        show(_json(event, timed))
    elif isinstance(event, Change):
        label = event.label or NO_LABEL
        show(f"{event.time_s:7.1f} s  {label}  {event.probability:.2f}  {latency_ms:.1f} ms")


def too_slow(slow: Slow, dropped: int) -> str:
    """What it means that frames come less often than in training, and what to do."""
    way = (
        f"The model is too slow for it: {dropped} frames were dropped. Use a faster one, an "
        "export, or another --device."
        if dropped
        else "Give a video or a camera with more frames a second."
    )
    return (
        f"WARNING: frames come at {slow.frames_per_second:.2g} a second, and the model was taught "
        f"at {slow.taught_frames_per_second:.2g} a second: it sees actions faster than any that it "
        f"learned from, and its labels are not to be trusted. {way}"
    )


def _show_end(stream: Stream, model: StreamModel, as_json: bool, show: Say, note: Say) -> None:
    last, summary = stream.finish(), stream.summary()
    if not summary.frames:
        return
    if summary.frames <= model.frames_before_labels:
        note(
            f"The stream ended after {counted(summary.frames, 'frame')}, and nothing was named: "
            f"the model says no label before it has seen {model.frames_before_labels + 1}."
        )
    if not as_json:
        show(explain(summary))
        return
    for event in (last, summary):
        if event is not None:
            show(_json(event))


def explain(summary: Summary) -> str:
    """The summary in one line."""
    lost = f", {summary.dropped} dropped" if summary.dropped else ""
    lost += f", {summary.damaged} damaged" if summary.damaged else ""
    pace = summary.real_time_factor
    return (
        f"{counted(summary.frames, 'frame')} of {summary.seconds:.1f} s{lost}; a frame takes "
        f"{summary.latency_median_ms:.1f} ms (median; 95% within {summary.latency_p95_ms:.1f} ms)"
        + (f"; {pace:.1f} times real time" if pace is not None else "")
        + (
            f"; too few frames a second ({summary.frames_per_second:.2g}, taught at "
            f"{summary.taught_frames_per_second:.2g}) for {summary.slow_seconds:.1f} s"
            if summary.slow_seconds
            else ""
        )
    )


def _json(event: Any, more: dict[str, Any] | None = None) -> str:
    content = {"event": type(event).__name__.lower()} | dataclasses.asdict(event) | (more or {})
    return json.dumps(content, ensure_ascii=False)


def _check_seconds(option: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise UserError(f"{option} {value:g}: give seconds, 0 or more.")


def _probed(path: Path) -> MediaInfo:
    """A file that is no video is refused before validation clips are recognised for minutes."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    try:
        next(stream_frames(path, None))
        return probe(path)
    except DecodeError as error:
        raise UserError(f"{path}: {error.reason}. Give one video file.") from error


def _which_cameras() -> str:
    there = list_cameras()
    return f" Cameras here: {', '.join(there)}." if there else ""
