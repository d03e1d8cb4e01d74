"""What happens when in a file: label, probability and time range, for media of any length.

A long video is read in overlapping windows as long as the clips of training; `windows.py` says how
they become segments. Windows are decoded and recognised a batch at a time, so the memory needed
does not grow with the length of a video.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from understudy.data.decode import natural_key, probe, read_frames, timeline_of
from understudy.data.frame_folder import is_frame_folder
from understudy.data.hidden import is_hidden
from understudy.data.media import MEDIA_SUFFIXES, DecodeError, MediaInfo, is_folder
from understudy.data.pseudo import held
from understudy.data.sampling import Timeline, sample_times
from understudy.data.sources.folder import DEEPEST, identity_of
from understudy.data.transforms import prepare
from understudy.errors import UserError
from understudy.perform.holding import NO_LABEL, thresholds_for
from understudy.perform.windows import Segment, merge_windows, segment_of, window_bounds
from understudy.run import PICTURE_WINDOW_S
from understudy.types import Classifier, Sampling


@dataclass(frozen=True, slots=True)
class FilePrediction:
    """What was recognised in one file; `dataclasses.asdict` makes it ready for JSON.

    kind: video, picture or frames, or "unreadable": `error` then says why, and there are no
    segments. warnings: sentences on why the answers may be wrong, as those of too few frames a
    second, and on what is odd about the file. damaged: it cannot be read because its bytes are not
    those that were once written.
    """

    path: str
    kind: str
    segments: tuple[Segment, ...] = ()
    error: str | None = None
    warnings: tuple[str, ...] = ()
    damaged: bool = False


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
    thresholds = thresholds_for(classifier)
    look = classifier.sampling
    for file in _files(paths, takes_clips=look.clip_seconds > 0):
        try:
            for clip in _clips(file, look, batch_size):
                waiting.append((file, clip))
                if len(waiting) == batch_size:
                    _recognise(classifier, waiting)
                    yield from (_result(done, classifier.classes, thresholds) for done in read)
                    read.clear()
        except DecodeError as error:
            file.error, file.damaged = error.reason, error.damaged
        read.append(file)
    if waiting:
        _recognise(classifier, waiting)
    yield from (_result(done, classifier.classes, thresholds) for done in read)


def lines(prediction: FilePrediction) -> list[str]:
    """A result as plain text, a line for each segment: `0.0-1.4 s  pick_up  0.93`; of several
    labels each with its probability, the highest first."""
    if prediction.error is not None:
        return [f"not read: {prediction.error}"]
    return [
        _said(segment.labels)
        if segment.start_s is None
        else f"{segment.start_s:.1f}-{segment.end_s:.1f} s  {_said(segment.labels)}"
        for segment in prediction.segments
    ]


def _said(labels: dict[str, float]) -> str:
    ordered = sorted(labels.items(), key=lambda one: -one[1])
    return ", ".join(f"{label}  {probability:.2f}" for label, probability in ordered) or NO_LABEL


@dataclass(slots=True)
class _File:
    """A file on its way; `scores` grows by (K,) per recognised window.

    stretches: where it does not pause, each with its windows.
    """

    path: Path
    kind: str = "unreadable"
    stretches: list[tuple[Timeline, list[Timeline]]] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    error: str | None = None
    damaged: bool = False
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
    Fills in what the file is first. Raises DecodeError.
    """
    if file.error is not None:
        return
    info = probe(file.path)
    timeline = timeline_of(info)
    window_s = look.clip_seconds or PICTURE_WINDOW_S
    file.kind = info.kind
    file.stretches = [(one, list(_windows(one, window_s))) for one in timeline.stretches()]
    file.warnings = (*_warnings(info, timeline, look), *info.notes)
    times_s = (
        sample_times(look.method, look.frames, window, stride_s=look.stride_s)
        for _, windows in file.stretches
        for window in windows
    )
    while windows := list(islice(times_s, at_once)):
        wanted = sorted({time_s for window in windows for time_s in window})
        frames = prepare(read_frames(file.path, wanted, short_side=look.size), look.size)
        if info.kind == "picture" and look.hold_pictures:
            yield held(frames, look.frames)
            return
        place = {time_s: number for number, time_s in enumerate(wanted)}
        yield from (frames[[place[time_s] for time_s in window]] for window in windows)


def _warnings(info: MediaInfo, timeline: Timeline, look: Sampling) -> Iterator[str]:
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
    if timeline.running_s < look.clip_seconds / 2:
        yield (
            f"it lasts {timeline.running_s:.2g} s, less than half of a clip of training "
            f"({look.clip_seconds:.2g} s): it can hardly hold a whole action"
        )


def _windows(stretch: Timeline, window_s: float) -> Iterator[Timeline]:
    """The timeline of every window, on the file's clock and widened to whole frames."""
    start_s, end_s, fps = stretch.start_s, stretch.end_s, stretch.fps
    for first_s, last_s in window_bounds(end_s - start_s, window_s):
        if stretch.is_picture or (first_s, last_s) == (0.0, end_s - start_s):
            yield stretch
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


def _result(file: _File, classes: tuple[str, ...], thresholds: np.ndarray | None) -> FilePrediction:
    if file.error is not None:
        return FilePrediction(str(file.path), "unreadable", error=file.error, damaged=file.damaged)
    if file.kind == "picture":
        segment = segment_of(file.scores[0], classes, None, None, thresholds)
        segments: tuple[Segment, ...] = (segment,)
    else:
        segments = tuple(_segments(file, classes, thresholds))
    return FilePrediction(str(file.path), file.kind, segments, warnings=file.warnings)


def _segments(
    file: _File, classes: tuple[str, ...], thresholds: np.ndarray | None
) -> Iterator[Segment]:
    """Those of each stretch: none reaches over a pause."""
    start_s, scores = file.stretches[0][0].start_s, iter(file.scores)
    for stretch, windows in file.stretches:
        of_stretch = np.stack(list(islice(scores, len(windows))))
        since_s, duration_s = stretch.start_s - start_s, stretch.end_s - stretch.start_s
        for segment in merge_windows(of_stretch, duration_s, classes, thresholds):
            assert segment.start_s is not None, "of a video"
            assert segment.end_s is not None, "of a video"
            yield replace(segment, start_s=since_s + segment.start_s, end_s=since_s + segment.end_s)
