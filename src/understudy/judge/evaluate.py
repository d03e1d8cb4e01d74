"""From a run or an artifact to predictions and figures, kept in its folder."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.data.loader import clip_rates, clip_seconds
from understudy.errors import UserError
from understudy.judge.collect import predict_each, predict_loader, predict_split, refuse_labels
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import Predictions, read_predictions
from understudy.judge.subject import Shipped, Source, Subject, evaluation_path, find_subject, is_own
from understudy.judge.thresholds import thresholds_of
from understudy.progress import Track, untold
from understudy.run import Run, json_text, read_json, write_files
from understudy.types import Sampling

__all__ = [
    "Evaluation",
    "Predictions",
    "Shipped",
    "Source",
    "evaluate",
    "evaluate_run",
    "evaluation_path",
    "known_evaluation",
    "predict_each",
    "predict_loader",
    "predict_split",
    "read_predictions",
]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is true of a run or an artifact on a split.

    metrics: those of `compute_metrics`, what they are of (manifest, split, checkpoint, checksums)
    and warnings. predictions: behind them. path: the folder that holds both, as metrics.json and
    predictions.parquet.
    """

    metrics: dict[str, Any]
    predictions: Predictions
    path: Path


def evaluate(
    source: Source,
    *,
    manifest: str | Path | None = None,
    split: str | None = None,
    checkpoint: str = "best",
    device: str = "cpu",
    threads: int | None = None,
    track: Track = untold,
) -> Evaluation:
    """Evaluate a run or an artifact, and write predictions.parquet and metrics.json.

    source: a run, or an artifact (`ship.open_source` finds either in a directory).
    manifest: a table or folder; by default the clips that the run keeps, in which an artifact lies.
        It may lack some of the classes, but not name others. Where it names no splits at all, all
        of it is evaluated.
    split: by default the recipe's.
    checkpoint: of a run; an artifact holds one.
    device: for a run; an artifact computes on the CPU.
    threads: of the CPU; None: as many as there are.
    track: tells how far it is.
    The files go where `evaluation_path` says. Raises UserError for data or a checkpoint that does
    not fit, and where no clip can be read.
    """
    subject = find_subject(source, manifest, split, checkpoint)
    own = is_own(source if isinstance(source, Run) else source.run, manifest)
    return _judge(subject, own=own, device=device, threads=threads, track=track)


def evaluate_run(
    run: Run,
    *,
    manifest: str | Path | None = None,
    split: str | None = None,
    checkpoint: str = "best",
    device: str = "cpu",
) -> dict[str, Any]:
    """The metrics of a run; see `evaluate`."""
    return evaluate(
        run, manifest=manifest, split=split, checkpoint=checkpoint, device=device
    ).metrics


def known_evaluation(subject: Subject) -> Evaluation | None:
    """What lies at its place already, if it is of these weights and these clips."""
    files = subject.place / "metrics.json", subject.place / "predictions.parquet"
    if not all(file.is_file() for file in files):
        return None
    metrics = read_json(files[0])
    if any(metrics.get(name) != value for name, value in subject.facts.items()):
        return None
    return Evaluation(metrics, read_predictions(files[1]), subject.place)


def _judge(
    subject: Subject, *, own: bool, device: str, threads: int | None, track: Track
) -> Evaluation:
    clips, split, settings = subject.manifest, subject.split, subject.settings
    rows = clips.rows(split)
    classifier = subject.source.classifier(subject.checkpoint, device=device, threads=threads)
    refuse_labels(clips, rows, classifier.classes, classifier.task)
    thresholds_of(classifier)
    warnings = [*subject.warnings]
    if reads := _of_each_video(classifier.sampling):
        warnings += [reads] if clip_seconds(clips, rows) else []
    if not own and (slow := _too_slow(clip_rates(clips, rows), classifier.sampling)):
        warnings.append(slow)
    predictions = predict_split(
        classifier, clips, split, data=subject.data, batch_size=settings.batch_size, track=track
    )
    if not len(predictions):
        raise UserError(_nothing_read(predictions))
    metrics = compute_metrics(
        predictions, confidence=settings.confidence, resamples=settings.resamples
    )
    metrics |= subject.facts
    metrics["warnings"] = warnings + metrics["warnings"]
    place = subject.place
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
        write_files(
            {
                place / "predictions.parquet": predictions.to_parquet(),
                place / "metrics.json": json_text(metrics).encode(),
            }
        )
    except OSError as error:
        for folder in missing:
            with contextlib.suppress(OSError):  # there, or of somebody else meanwhile
                folder.rmdir()
        raise UserError(
            f"{place} cannot be written: {error.strerror}. Nothing of this evaluation is kept; "
            "make room, or copy the folder to a place that can be written."
        ) from error
    return Evaluation(metrics, predictions, place)


def _of_each_video(look: Sampling) -> str | None:
    """What a model that learned from single pictures does with a video; None for other models."""
    if look.clip_seconds > 0 or look.hold_pictures:
        return None
    if look.frames == 1:
        return (
            "The model was trained on single pictures and reads one frame of each video. Train "
            "with data.pseudo for one that reads several."
        )
    return (
        f"The model was trained on single pictures and reads {look.frames} frames of each video: "
        "how frames go together it never learned. Train with data.pseudo."
    )


def _too_slow(rates: list[float], look: Sampling) -> str | None:
    """A warning where videos of other data have fewer frames a second than those of training."""
    slow = [fps for fps in rates if fps and look.is_too_slow(fps)]
    if not slow:
        return None
    return (
        f"{len(slow)} of {len(rates)} clips that were looked at have fewer frames a second than "
        f"the model was taught at (from {min(slow):.2g}, taught at {look.taught_fps:.2g}): it sees "
        "their actions faster than any that it learned from, and figures suffer."
    )


def _nothing_read(predictions: Predictions) -> str:
    bad = predictions.skipped
    return (
        f"None of the {len(bad)} clips of split {predictions.split} can be evaluated. The first, "
        f"{bad[0].path}: {bad[0].reason}. Where the clips lie elsewhere now, name them with "
        "--data: a table or a folder."
    )
