"""The verb `predict`: files in windows, or one stream frame by frame, as lines of text or JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from understudy.data.decode import stream_frames
from understudy.data.media import DecodeError
from understudy.errors import UserError
from understudy.perform.camera import find_camera, list_cameras
from understudy.perform.newest import LostError
from understudy.perform.predict import lines, predict
from understudy.perform.smoothing import Change
from understudy.perform.sources import CameraSource, FileSource, Source
from understudy.perform.stream import Stream, StreamModel, Summary
from understudy.run import open_run
from understudy.ship.artifact import load_artifact
from understudy.types import Recognizer

RECONNECT_S = 10.0
"""Default time for which a lost camera is tried again, in seconds."""
_READABLE = "Give videos, pictures or folders of them; what is damaged must be copied or made anew."

Say = Callable[[str], None]


def predict_files(
    place: Path, files: Sequence[Path], *, checkpoint: str, as_json: bool, show: Say
) -> None:
    """Recognise files by a run or an artifact, and show a line a segment, or JSON a file.

    Raises UserError naming all that could not be read, once the others are shown.
    """
    if not files:
        raise UserError("Give files to recognise, or --camera 0 for a camera.")
    source = load_artifact(place) if _is_artifact(place) else open_run(place)
    failed: list[str] = []
    for prediction in predict(source, files, checkpoint=checkpoint):
        if prediction.error is not None:
            failed.append(f"  {prediction.path}: {prediction.error}")
        if as_json:
            show(json.dumps(dataclasses.asdict(prediction)))
        elif prediction.error is None:
            show("\n".join(f"{prediction.path}  {line}" for line in lines(prediction)))
    if failed:
        named = "\n".join(failed)
        raise UserError(f"{len(failed)} could not be read:\n{named}\n{_READABLE}")


def predict_stream(
    place: Path,
    files: Sequence[Path],
    *,
    camera: str | None,
    unknown: float | None,
    smoothing_s: float | None,
    reconnect_s: float | None,
    checkpoint: str,
    as_json: bool,
    show: Say,
    tell: Say,
) -> None:
    """Recognise one video or a camera frame by frame, and show every change of the label.

    The options are None where they were not given. `tell` takes what is no result. However the
    stream ends, the summary is shown. Raises UserError for what was typed wrongly, a file that
    breaks off, and a camera that is lost for good; KeyboardInterrupt goes through.
    """
    # Not above: evaluation takes a while to import, and files are recognised without it.
    from understudy.judge.unknown import checked_threshold, unknown_threshold

    if camera is not None and files:
        raise UserError(f"Give --camera {camera} or a file, not both.")
    if camera is None and len(files) != 1:
        raise UserError(f"--stream takes one video; given: {len(files)}. A camera: --camera 0")
    if camera is None and reconnect_s is not None:
        raise UserError("--reconnect belongs to --camera; a file needs none.")
    _check_seconds("--smoothing", smoothing_s)
    _check_seconds("--reconnect", reconnect_s)
    reconnect_s = RECONNECT_S if reconnect_s is None else reconnect_s
    threshold = None if unknown is None else checked_threshold(unknown, "--unknown")
    run = None if _is_artifact(place) else open_run(place)
    device = find_camera(camera) if camera is not None else None
    if device is None:
        _refuse_unreadable(files[0])
    if run is None:
        exported = load_artifact(place)
        model = StreamModel(exported)
        if threshold is None:
            threshold = exported.contract["unknown_below"]
        if threshold is None:
            tell('This artifact has no threshold for "unknown", so every frame gets a label. Give '
                 "one: --unknown 0.5")  # fmt: skip
            threshold = 0.0
    else:
        model = StreamModel(run, checkpoint=checkpoint)
        if threshold is None:
            recognizer = cast(Recognizer, model.model)
            threshold = unknown_threshold(run, recognizer, checkpoint=checkpoint, tell=tell)
    source: Source
    if device is None:
        source = FileSource(files[0], model.step_s)
    else:
        source = CameraSource(device, model.step_s, reconnect_s=reconnect_s, tell=tell)
    stream = Stream(model, source, threshold=threshold, smoothing_s=smoothing_s)
    try:
        for event in stream:
            _show_event(event, stream, as_json, show)
    except DecodeError as error:
        raise UserError(f"{error.path} could not be read to its end: {error.reason}") from error
    except LostError as error:
        raise UserError(f"Camera {camera}: {error}.{_which_cameras()}") from error
    finally:
        source.close()
        _show_end(stream, as_json, show)


def _show_event(event: Any, stream: Stream, as_json: bool, show: Say) -> None:
    latency_ms = stream.latencies.quantile_ms(0.5)
    if as_json:
        timed = {"latency_median_ms": latency_ms} if isinstance(event, Change) else {}
        show(json.dumps({"event": _name(event)} | dataclasses.asdict(event) | timed))
    elif isinstance(event, Change):
        show(f"{event.time_s:7.1f} s  {event.label}  {event.probability:.2f}  {latency_ms:.1f} ms")


def _show_end(stream: Stream, as_json: bool, show: Say) -> None:
    last, summary = stream.finish(), stream.summary()
    if not summary.frames:
        return
    if not as_json:
        show(explain(summary))
        return
    for event in (last, summary):
        if event is not None:
            show(json.dumps({"event": _name(event)} | dataclasses.asdict(event)))


def explain(summary: Summary) -> str:
    """The summary in one line."""
    lost = f", {summary.dropped} dropped" if summary.dropped else ""
    lost += f", {summary.damaged} damaged" if summary.damaged else ""
    pace = summary.real_time_factor
    return (
        f"{summary.frames} frames of {summary.seconds:.1f} s{lost}; a frame takes "
        f"{summary.latency_median_ms:.1f} ms (median; 95% within {summary.latency_p95_ms:.1f} ms)"
        + (f"; {pace:.1f} times real time" if pace is not None else "")
    )


def _name(event: Any) -> str:
    return type(event).__name__.lower()


def _check_seconds(option: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise UserError(f"{option} {value:g}: give seconds, 0 or more.")


def _is_artifact(place: Path) -> bool:
    return (place / "contract.json").is_file()


def _refuse_unreadable(path: Path) -> None:
    """A file that is no video is refused before validation clips are recognised for minutes."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    try:
        next(stream_frames(path, None))
    except DecodeError as error:
        raise UserError(f"{path}: {error.reason}. --stream takes one video file.") from error


def _which_cameras() -> str:
    there = list_cameras()
    return f" Cameras here: {', '.join(there)}." if there else ""
