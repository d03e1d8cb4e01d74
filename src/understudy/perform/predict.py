"""What happens when in a file: label, probability and time range, for media of any length.

A long video is read in overlapping windows as long as the clips of training; `windows.py` says how
they become segments. Windows are decoded and recognised a batch at a time, so the memory needed
does not grow with the length of a video.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from understudy.data.decode import natural_key, probe, read_frames
from understudy.data.frame_folder import is_frame_folder
from understudy.data.hidden import is_hidden
from understudy.data.media import MEDIA_SUFFIXES, DecodeError, MediaInfo, is_folder
from understudy.data.pseudo import held
from understudy.data.sampling import Timeline, sample_times
from understudy.data.sources.folder import DEEPEST, identity_of
from understudy.data.transforms import prepare
from understudy.errors import UserError
from understudy.perform.windows import Segment, merge_windows, segment_of, window_bounds
from understudy.run import PICTURE_WINDOW_S
from understudy.types import Classifier, Sampling


@dataclass(frozen=True, slots=True)
class FilePrediction:
    """What was recognised in one file; `dataclasses.asdict` makes it ready for JSON.

    kind: video, picture or frames, or "unreadable": `error` then says why, and there are no
    segments. warnings: sentences on why the answers may be wrong, as those of too few frames a
    second.
    """

    path: str
    kind: str
    segments: tuple[Segment, ...] = ()
    error: str | None = None
    warnings: tuple[str, ...] = ()


def predict(
    classifier: Classifier, paths: Iterable[str | Path], *, batch_size: int = 8
) -> Iterator[FilePrediction]:
    """Recognise videos, pictures and folders, one result per file, in order.

    classifier: a run or an artifact, loaded.
    paths: a folder of numbered pictures and nothing else is one clip of frames, unless training was
    on pictures; any other folder stands for all media in it, sub-folders included.
    batch_size: windows that are recognised at a time.
    A file that cannot be read gives a result with `error`, and the others are still recognised.
    Raises UserError if the model's output is no finite number.
    """
    waiting: list[tuple[_File, Tensor]] = []
    read: list[_File] = []
    look = classifier.sampling
    for file in _files(paths, takes_clips=look.clip_seconds > 0):
        try:
            for clip in _clips(file, look, batch_size):
                waiting.append((file, clip))
                if len(waiting) == batch_size:
                    _recognise(classifier, waiting)
                    yield from (_result(done, classifier.classes) for done in read)
                    read.clear()
        except DecodeError as error:
            file.error = error.reason
        read.append(file)
    if waiting:
        _recognise(classifier, waiting)
    yield from (_result(done, classifier.classes) for done in read)


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
    warnings: tuple[str, ...] = ()


def _files(paths: Iterable[str | Path], *, takes_clips: bool) -> Iterator[_File]:
    """Every file and frame folder that the paths stand for."""
    for path in map(Path, paths):
        yield from _walked(path, takes_clips, 0, set())


def _walked(
    path: Path, takes_clips: bool, depth: int, seen: set[tuple[int, int]]
) -> Iterator[_File]:
    """The same for one path. seen: folders that were walked through, as links may lead back."""
    try:
        if not path.exists():
            yield _File(path, error="there is no such file")
            return
        if not is_folder(path) or (takes_clips and is_frame_folder(path)):
            yield _File(path)
            return
        if identity_of(path) in seen:
            return
        seen.add(identity_of(path))
        inner = [
            entry
            for entry in sorted(path.iterdir(), key=natural_key)
            if not is_hidden(entry.name)
            and (is_folder(entry) or entry.suffix.lower() in MEDIA_SUFFIXES)
        ]
    except OSError as error:
        yield _File(path, error=f"it cannot be opened: {error.strerror}")
        return
    if depth == DEEPEST:
        yield _File(path, error=f"it lies more than {DEEPEST} folders deep")
        return
    if not inner:
        yield _File(path, error="this folder holds no video and no picture")
    for entry in inner:
        yield from _walked(entry, takes_clips, depth + 1, seen)


def _clips(file: _File, look: Sampling, at_once: int) -> Iterator[Tensor]:
    """The windows of a file, each (t, 3, S, S) uint8, its frames those that evaluation would take.

    Windows that overlap share most of their decoding, so `at_once` of them are read in one pass.
    Fills in the file's kind and duration first. Raises DecodeError.
    """
    if file.error is not None:
        return
    info = probe(file.path)
    file.kind, file.duration_s = info.kind, info.duration_s
    file.warnings = tuple(_warnings(info, look))
    times_s = (
        sample_times(look.method, look.frames, timeline, stride_s=look.stride_s)
        for timeline in _timelines(info, look.clip_seconds or PICTURE_WINDOW_S)
    )
    while windows := list(islice(times_s, at_once)):
        wanted = sorted({time_s for window in windows for time_s in window})
        frames = prepare(read_frames(file.path, wanted, short_side=look.size), look.size)
        if info.kind == "picture" and look.hold_pictures:
            yield held(frames, look.frames)
            return
        place = {time_s: number for number, time_s in enumerate(wanted)}
        yield from (frames[[place[time_s] for time_s in window]] for window in windows)


def _warnings(info: MediaInfo, look: Sampling) -> Iterator[str]:
    """What a file has less of than the clips of training: frames a second, seconds."""
    taught = look.taught_fps
    if info.kind == "picture" or taught is None:
        return
    if look.is_too_slow(info.fps):
        yield (
            f"its frames come at {info.fps:.2g} a second, and the model was taught at "
            f"{taught:.2g} a second: it sees actions faster than any that it learned from, and its "
            "labels are not to be trusted"
        )
    if info.duration_s < look.clip_seconds / 2:
        yield (
            f"it lasts {info.duration_s:.2g} s, less than half of a clip of training "
            f"({look.clip_seconds:.2g} s): it can hardly hold a whole action"
        )


def _timelines(info: MediaInfo, window_s: float) -> Iterator[Timeline]:
    """The timeline of every window, on the file's clock and widened to whole frames."""
    start_s, end_s, fps = info.start_s, info.start_s + info.duration_s, info.fps
    for first_s, last_s in window_bounds(info.duration_s, window_s):
        if info.kind == "picture" or (first_s, last_s) == (0.0, info.duration_s):
            yield Timeline(start_s, end_s, fps)
            continue
        yield Timeline(
            start_s + math.floor(first_s * fps + 1e-6) / fps,
            min(end_s, start_s + math.ceil(last_s * fps - 1e-6) / fps),
            fps,
        )


def _recognise(classifier: Classifier, waiting: list[tuple[_File, Tensor]]) -> None:
    """Recognise the waiting clips in one batch and hand the scores to their files."""
    clips = [clip for _, clip in waiting]
    frames = clips[0].new_zeros(len(clips), classifier.sampling.frames, *clips[0].shape[1:])
    for padded, clip in zip(frames, clips, strict=True):
        padded[: len(clip)] = clip
    lengths = torch.tensor([len(clip) for clip in clips])
    with torch.inference_mode():
        logits = classifier(frames, lengths).logits.cpu().double()
    usable = logits.isfinite().all(dim=1).tolist()
    broken = {
        str(file.path): None for (file, _), good in zip(waiting, usable, strict=True) if not good
    }
    if broken:
        raise UserError(
            f"The model's output for {', '.join(broken)} is not a finite number: its weights are "
            "damaged or its training diverged. Use another checkpoint, or train again with a lower "
            "learning rate."
        )
    for (file, _), scores in zip(
        waiting, classifier.task.probabilities(logits).numpy(), strict=True
    ):
        file.scores.append(scores)
    waiting.clear()


def _result(file: _File, classes: tuple[str, ...]) -> FilePrediction:
    if file.error is not None:
        return FilePrediction(str(file.path), "unreadable", error=file.error)
    if file.kind == "picture":
        segments: tuple[Segment, ...] = (segment_of(file.scores[0], classes, None, None),)
    else:
        segments = merge_windows(np.stack(file.scores), file.duration_s, classes)
    return FilePrediction(str(file.path), file.kind, segments, warnings=file.warnings)
