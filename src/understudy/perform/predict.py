"""What happens when in a file: label, probability and time range, for media of any length.

A long video is read in overlapping windows as long as the clips of training; `windows.py` says how
they become segments. Windows are decoded and recognised a batch at a time, so the memory needed
does not grow with the length of a video.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from understudy.data.decode import natural_key, probe, read_frames
from understudy.data.media import MEDIA_SUFFIXES, DecodeError, MediaInfo
from understudy.data.pseudo import held
from understudy.data.sampling import Timeline, sample_times
from understudy.data.sources.folder import is_frame_folder
from understudy.data.transforms import prepare
from understudy.errors import UserError
from understudy.perform.windows import Segment, merge_windows, segment_of, window_bounds
from understudy.run import Run
from understudy.ship.contract import PICTURE_WINDOW_S, frames_taken
from understudy.types import Output


class Performer(Protocol):
    """What `predict` takes besides a run: an exported model with its contract."""

    classes: tuple[str, ...]
    contract: dict[str, Any]

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Output: ...


@dataclass(frozen=True, slots=True)
class FilePrediction:
    """What was recognised in one file; `dataclasses.asdict` makes it ready for JSON.

    kind: video, picture or frames, or "unreadable": `error` then says why, and there are no
    segments.
    """

    path: str
    kind: str
    segments: tuple[Segment, ...] = ()
    error: str | None = None


def predict(
    source: Run | Performer,
    paths: Iterable[str | Path],
    *,
    batch_size: int = 8,
    checkpoint: str = "best",
    device: str = "cpu",
) -> Iterator[FilePrediction]:
    """Recognise videos, pictures and folders, one result per file, in order.

    source: a run, or an artifact's recogniser. A folder of numbered pictures and nothing else is
    one clip of frames, unless training was on pictures; any other folder stands for all media in
    it, sub-folders included. A file that cannot be read gives a result with `error`, and the others
    are still recognised. checkpoint and device are for runs. Raises UserError if the run cannot be
    loaded or its output is no finite number.
    """
    performer = _perform_run(source, checkpoint, device) if isinstance(source, Run) else source
    return _predict(performer, paths, batch_size)


def lines(prediction: FilePrediction) -> list[str]:
    """A result as plain text, a line for each segment: `0.0-1.4 s  pick_up  0.93`."""
    if prediction.error is not None:
        return [f"not read: {prediction.error}"]
    return [
        f"{segment.label}  {segment.probability:.2f}"
        if segment.start_s is None
        else f"{segment.start_s:.1f}-{segment.end_s:.1f} s  {segment.label}  "
        f"{segment.probability:.2f}"
        for segment in prediction.segments
    ]


@dataclass(slots=True)
class _File:
    """A file on its way; `scores` grows by (K,) per recognised window."""

    path: Path
    kind: str = "unreadable"
    duration_s: float = 0.0
    scores: list[np.ndarray] = field(default_factory=list)
    error: str | None = None


def _predict(
    performer: Performer, paths: Iterable[str | Path], batch_size: int
) -> Iterator[FilePrediction]:
    waiting: list[tuple[_File, Tensor]] = []
    read: list[_File] = []
    takes_clips = performer.contract["sampling"]["clip_seconds"] > 0
    for file in _files(paths, takes_clips):
        try:
            for clip in _clips(file, performer.contract, batch_size):
                waiting.append((file, clip))
                if len(waiting) == batch_size:
                    _recognise(performer, waiting)
                    yield from (_result(done, performer.classes) for done in read)
                    read.clear()
        except DecodeError as error:
            file.error = error.reason
        read.append(file)
    if waiting:
        _recognise(performer, waiting)
    yield from (_result(done, performer.classes) for done in read)


def _files(paths: Iterable[str | Path], takes_clips: bool) -> Iterator[_File]:
    """Every file and frame folder that the paths stand for."""
    for path in map(Path, paths):
        if not path.exists():
            yield _File(path, error="there is no such file")
        elif not path.is_dir() or (takes_clips and is_frame_folder(path)):
            yield _File(path)
        else:
            inner = [
                entry
                for entry in sorted(path.iterdir(), key=natural_key)
                if not entry.name.startswith(".")
                and (entry.is_dir() or entry.suffix.lower() in MEDIA_SUFFIXES)
            ]
            if not inner:
                yield _File(path, error="this folder holds no video and no picture")
            yield from _files(inner, takes_clips)


def _clips(file: _File, contract: dict[str, Any], at_once: int) -> Iterator[Tensor]:
    """The windows of a file, each (t, 3, S, S) uint8, its frames those that evaluation would take.

    Windows that overlap share most of their decoding, so `at_once` of them are read in one pass.
    Fills in the file's kind and duration first. Raises DecodeError.
    """
    if file.error is not None:
        return
    info = probe(file.path)
    file.kind, file.duration_s = info.kind, info.duration_s
    size, sampling = contract["input"]["size"], contract["sampling"]
    times_s = [
        sample_times(
            sampling["method"],
            contract["input"]["frames"],
            timeline,
            stride_s=sampling["stride_s"],
        )
        for timeline in _timelines(info, sampling["clip_seconds"] or PICTURE_WINDOW_S)
    ]
    for start in range(0, len(times_s), at_once):
        windows = times_s[start : start + at_once]
        wanted = sorted({time_s for window in windows for time_s in window})
        frames = prepare(read_frames(file.path, wanted, short_side=size), size)
        if info.kind == "picture" and sampling.get("hold_pictures", False):
            yield held(frames, contract["input"]["frames"])
            return
        place = {time_s: number for number, time_s in enumerate(wanted)}
        yield from (frames[[place[time_s] for time_s in window]] for window in windows)


def _timelines(info: MediaInfo, window_s: float) -> list[Timeline]:
    """The timeline of every window, on the file's clock and widened to whole frames."""
    start_s, end_s = info.start_s, info.start_s + info.duration_s
    windows = [] if info.kind == "picture" else window_bounds(info.duration_s, window_s)
    if len(windows) <= 1:
        return [Timeline(start_s, end_s, info.fps)]
    return [
        Timeline(
            start_s + math.floor(first_s * info.fps + 1e-6) / info.fps,
            min(end_s, start_s + math.ceil(last_s * info.fps - 1e-6) / info.fps),
            info.fps,
        )
        for first_s, last_s in windows
    ]


def _recognise(performer: Performer, waiting: list[tuple[_File, Tensor]]) -> None:
    """Recognise the waiting clips in one batch and hand the scores to their files."""
    count = performer.contract["input"]["frames"]
    clips = [clip for _, clip in waiting]
    frames = clips[0].new_zeros(len(clips), count, *clips[0].shape[1:])
    for padded, clip in zip(frames, clips, strict=True):
        padded[: len(clip)] = clip
    lengths = torch.tensor([len(clip) for clip in clips])
    with torch.inference_mode():
        logits = performer(frames, lengths).logits.double().cpu()
    if not logits.isfinite().all():
        raise UserError(
            f"The model's output for {waiting[0][0].path} or a file after it is not a finite "
            "number: its weights are damaged or its training diverged. Use another checkpoint, or "
            "train again with a lower learning rate."
        )
    for (file, _), scores in zip(waiting, logits.softmax(dim=1).numpy(), strict=True):
        file.scores.append(scores)
    waiting.clear()


def _result(file: _File, classes: tuple[str, ...]) -> FilePrediction:
    if file.error is not None:
        return FilePrediction(str(file.path), "unreadable", error=file.error)
    if file.kind == "picture":
        segments: tuple[Segment, ...] = (segment_of(file.scores[0], classes, None, None),)
    else:
        segments = merge_windows(np.stack(file.scores), file.duration_s, classes)
    return FilePrediction(str(file.path), file.kind, segments)


@dataclass(slots=True)
class _RunPerformer:
    """A run's model, called like an exported one."""

    classes: tuple[str, ...]
    contract: dict[str, Any]
    model: torch.nn.Module
    device: str

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        on_device = None if lengths is None else lengths.to(self.device)
        return self.model(frames.to(self.device), on_device)


def _perform_run(run: Run, checkpoint: str, device: str) -> _RunPerformer:
    model = run.load_model(checkpoint)
    config, data = run.recipe.data, run.data
    contract = {
        "input": {"frames": frames_taken(run, model), "size": config.size},
        "sampling": {
            "method": config.sampling,
            "stride_s": config.stride_s,
            "clip_seconds": data["clip_seconds"],
            "hold_pictures": config.pseudo is not None,
        },
    }
    return _RunPerformer(tuple(data["classes"]), contract, model.to(device).eval(), device)
