"""The training loop. One clip's way from disk to loss, in the order to read it:

    data/manifest.py   which clips there are
    data/reader.py     frames of a clip: sampled, decoded, drawn
    data/loader.py     collated to a Batch
    teach/targets.py   what teachers say about this batch
    teach/losses.py    how far the student is from them and from the labels

An epoch is a function of (weights, moments, seed, epoch): random numbers are reseeded at its start,
on every device, and the learning rate follows from the number of steps. That is why a resumed run
ends bit for bit where an uninterrupted one does.

Within an epoch nothing waits for a GPU: sums stay on the device, and so does the flag that a loss
was no number, which is looked at every `CHECKED_EVERY` steps.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from understudy.data.fingerprint import fingerprints
from understudy.data.folds import read_clips
from understudy.data.loader import EpochBatches
from understudy.data.pack.reading import with_pack
from understudy.errors import UserError
from understudy.recipe import Recipe, Train
from understudy.run import Run, describe_environment, new_run, open_run, write_json, writing
from understudy.task import Task
from understudy.teach.device import Device
from understudy.teach.keep import describe_data, finish, keep, note_preparation
from understudy.teach.losses import Losses, Taught, teaching_loss
from understudy.teach.optimizer import learning_rate, set_learning_rate
from understudy.teach.processes import Processes
from understudy.teach.progress import Quiet, Reporter
from understudy.teach.resume import Progress, can_resume, read_state
from understudy.teach.setup import Setup, prepare
from understudy.teach.step import Step
from understudy.teach.sums import EpochSums
from understudy.teach.unchanged import check_clips, check_run, look_below
from understudy.teach.validate import judge_teachers, validate
from understudy.types import Batch, Output

CHECKED_EVERY = 20
"""Optimiser steps after which the device is asked whether a loss was no number."""


def train(recipe: Recipe, path: str | Path, *, reporter: Reporter | None = None) -> Run:
    """Teach a student as `recipe` says, into the run directory `path`.

    Under `torchrun` every process calls this; the first one writes. Raises UserError for whatever
    is wrong with the recipe, the data or the machine, most of it before the first step.
    """
    recipe, path = _anchored(recipe), Path(path)
    device = Device(recipe.train, path)
    processes = Processes(device.torch)
    reporter = _of_first(processes, reporter)
    with ExitStack() as held:
        held.enter_context(reporter)
        processes.first(lambda: held.enter_context(new_run(path, recipe)))
        return _begin(Run(path), recipe, device, processes, reporter)


def resume(
    path: str | Path, *, data: str | Path | None = None, reporter: Reporter | None = None
) -> Run:
    """Go on from the last finished epoch of an interrupted run, with its own recipe.

    data: a folder below which its clips lie now as they lay when it began; the run keeps it. Raises
    UserError where that cannot be done, and where clips are gone or have changed.
    """
    run = open_run(path)
    recipe = run.recipe
    device = Device(recipe.train, run.path)
    processes = Processes(device.torch)
    reporter = _of_first(processes, reporter)
    with ExitStack() as held:
        held.enter_context(reporter)
        processes.first(lambda: held.enter_context(writing(run.path)))
        if data is not None:
            processes.first(lambda: look_below(run, Path(data)))
        elif run.has_manifest:
            processes.first(lambda: check_clips(run.manifest))
        if not can_resume(run):
            _refuse_without_state(run)
            reporter.note("no epoch was finished: training begins again")
            return _begin(run, recipe, device, processes, reporter)
        state = read_state(run)
        processes.first(lambda: check_run(run, recipe, state.progress.identity, reporter.note))
        began = time.perf_counter()
        setup = prepare(recipe, run, device, processes, reporter, state)
        processes.first(lambda: note_preparation(run, time.perf_counter() - began))
        return _learn(run, setup, state.progress, reporter)


def _of_first(processes: Processes, reporter: Reporter | None) -> Reporter:
    """One process shows how training goes on; the others would say the same."""
    return reporter if reporter is not None and processes.is_first else Quiet()


def _refuse_without_state(run: Run) -> None:
    """A run that was stopped in its first epoch may begin again; one that got further may not."""
    if len(run.history) > 1 or run.checkpoint_path("final").exists():
        raise UserError(
            f"The folder resume/ of {run.path} is gone, so training cannot go on. The checkpoints "
            "can still be used; to train again, name another folder with --out."
        )


def _anchored(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths, so that its run can be resumed from any folder, and with what
    its pack says of pixels, so that it is evaluated alike without the pack."""

    def absolute(path: str | None) -> str | None:
        # Unlike Path.exists, False for names that no file can have.
        return str(Path(path).resolve()) if path is not None and os.path.exists(path) else path

    changes: dict[str, Any] = {
        "data": with_pack(
            recipe.data.model_copy(
                update={
                    "manifest": absolute(recipe.data.manifest),
                    "pack": absolute(recipe.data.pack),
                }
            )
        )
    }
    moved = {
        name: one.model_copy(
            update={"path": absolute(one.path), "weights_file": absolute(one.weights_file)}
        )
        for name, one in recipe.all_teachers.items()
    }
    changes |= {"teachers": moved} if recipe.teachers else {"teacher": moved.get("teacher")}
    start = recipe.model.start
    if start is not None:
        start = start.model_copy(update={"run": absolute(start.run), "vit": absolute(start.vit)})
        changes["model"] = recipe.model.model_copy(update={"start": start})
    return recipe.model_copy(update=changes)


def _begin(
    run: Run, recipe: Recipe, device: Device, processes: Processes, reporter: Reporter
) -> Run:
    """All of a training run, from its first epoch."""
    began = time.perf_counter()
    if not processes.broadcast([run.has_manifest])[0]:
        processes.first(lambda: _own_clips(run, recipe, reporter))
    setup = prepare(recipe, run, device, processes, reporter)
    judged = judge_teachers(setup, reporter.track)

    environment = describe_environment() | {"run": setup.facts.identity["run"], "started": _now()}

    def write() -> None:
        environment["prepare_seconds"] = round(time.perf_counter() - began, 3)
        write_json(run.path / "environment.json", environment)
        write_json(run.path / "data.json", describe_data(setup))
        if setup.facts.start is not None:
            write_json(run.path / "start.json", setup.facts.start)
        if judged:
            write_json(run.path / "teacher.json", _facts_of(judged))

    processes.first(write)
    return _learn(run, setup, Progress(history=[], steps=0, skipped=[]), reporter)


def _own_clips(run: Run, recipe: Recipe, reporter: Reporter) -> None:
    """Give the run its clips: read, split, and known by their bytes from now on."""
    is_large = _is_large(recipe.data.manifest)
    manifest = read_clips(recipe.data, progress=reporter.note if is_large else None)
    for note in manifest.notes:
        reporter.note(note)
    paths = [manifest.path_of(row) for row in range(len(manifest))]
    many = len(paths) > 10_000
    known = fingerprints(
        paths, (lambda n: reporter.note(f"{n:,} of {len(paths):,} clips noted")) if many else _quiet
    )
    run.write_manifest(manifest.with_fingerprints(list(known)))


def _is_large(manifest: str) -> bool:
    """Whether reading this table takes long enough to say how far it is."""
    return Path(manifest).is_file() and Path(manifest).stat().st_size > 10_000_000


def _facts_of(judged: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The content of teacher.json: of the one teacher, or of several by name."""
    return judged["teacher"] if list(judged) == ["teacher"] else {"teachers": judged}


def _learn(run: Run, setup: Setup, progress: Progress, reporter: Reporter) -> Run:
    """Epochs until the last one, or until patience ends."""
    train, processes = setup.recipe.train, setup.processes
    history, steps = list(progress.history), progress.steps
    setup.device.begin_tracking(setup.recipe, run)
    batches = _batches(setup)
    with reporter:
        reporter.start(train.epochs - len(history), len(batches.rows))
        for epoch in range(len(history), train.epochs):
            if _out_of_patience(history, train):
                reporter.note(f"stopped early: no better epoch for {train.patience}")
                break
            entry, steps, thresholds = _epoch(setup, epoch, steps, reporter)
            entry["best"] = _is_best(setup.task, entry, history)
            history.append(entry)
            progress = Progress(
                history=history,
                steps=steps,
                skipped=setup.skipped.describe(),
                identity=setup.facts.identity,
            )
            processes.first(partial(keep, run, setup, progress, thresholds))
            setup.device.accelerator.log(_scalars(entry), step=epoch + 1)
            reporter.epoch(entry)
    processes.first(lambda: finish(run, setup))
    setup.device.accelerator.end_training()
    return run


def _epoch(
    setup: Setup, epoch: int, steps: int, reporter: Reporter
) -> tuple[dict[str, Any], int, dict[str, Any] | None]:
    """One pass over the training clips and one over the validation clips: the entry of
    `history.json`, the steps so far, and thresholds where several labels may hold."""
    train, processes, learner = setup.recipe.train, setup.processes, setup.learner
    # Dropout differs between processes, as it does between the clips of one.
    torch.manual_seed(train.seed * 100_003 + epoch + 1_000_003 * processes.rank)
    _batches(setup).set_epoch(epoch)
    started = time.perf_counter()
    learner.train()
    total_steps = train.epochs * math.ceil(len(_batches(setup)) / train.accumulate)
    sums = EpochSums(setup.device, setup.task)
    step = Step(learner, setup.optimizer, setup.device, processes, train)
    lr = train.lr
    try:
        for number, batch in enumerate(setup.loaders.train, start=1):
            setup.skipped.add(batch.skipped)
            if not _too_small(batch):
                moved = batch.to(setup.device.torch)
                with setup.device.autocast():
                    output = learner(moved)
                losses = _losses(setup, output, moved)
                step.backward(losses.total, len(moved))
                sums.add(output, losses, moved)
            if number % train.accumulate == 0 or number == len(_batches(setup)):
                lr = learning_rate(steps, total_steps, train)
                set_learning_rate(setup.optimizer, lr)
                steps += step.take()
                if steps % CHECKED_EVERY == 0:
                    sums.refuse_nan(epoch, train)
            reporter.advance(len(batch) * processes.count)
    finally:  # what teachers said is not lost with an epoch that is broken off
        for targets in setup.teachers.values():
            targets.flush()
    sums.refuse_nan(epoch, train)
    setup.skipped.add(processes.gather(setup.skipped))
    means, clips = sums.means(processes)
    if not clips:
        raise UserError(_nothing_learned(train))
    processes.share_state(learner)
    ended = time.perf_counter()
    seconds, validation = ended - started, validate(setup, reporter.track)
    entry = {
        "epoch": epoch + 1,
        "lr": lr,
        "seconds": round(seconds, 3),
        "clips_per_second": round(clips / seconds, 2),
        "train": means,
        "val": validation.figures,
        "val_seconds": round(time.perf_counter() - ended, 3),
    }
    return entry, steps, validation.thresholds


def _losses(setup: Setup, output: Output, batch: Batch) -> Losses:
    """What the student says, held against labels and teachers."""
    taught = {
        name: Taught(
            targets.answer(batch),
            setup.recipe.weights_of(name),
            setup.learner.seen_by(name, output.embedding),
        )
        for name, targets in setup.teachers.items()
    }
    return teaching_loss(
        output,
        batch.target,
        taught,
        setup.recipe.distill.gamma,
        task=setup.task,
        labelled_share=setup.labelled_share,
        class_weights=setup.class_weights,
        smoothing=setup.recipe.train.label_smoothing,
    )


def _batches(setup: Setup) -> EpochBatches:
    batches = setup.loaders.train.batch_sampler
    assert isinstance(batches, EpochBatches)
    return batches


def _too_small(batch: Batch) -> bool:
    """Batch normalisation cannot learn from a single picture."""
    return len(batch) == 0 or (len(batch) == 1 and int(batch.lengths.sum()) == 1)


def _nothing_learned(train: Train) -> str:
    if train.batch_size == 1:
        return (
            "train.batch_size is 1, but batch normalisation cannot learn from a single picture. "
            "Set train.batch_size=2 or more."
        )
    return "No training clip could be read in this epoch."


def _is_best(task: Task, entry: dict[str, Any], history: list[dict[str, Any]]) -> bool:
    score = task.score(entry["val"])
    return all(score > task.score(earlier["val"]) for earlier in history)


def _out_of_patience(history: list[dict[str, Any]], train: Train) -> bool:
    if train.patience is None or not history:
        return False
    best = max(entry["epoch"] for entry in history if entry["best"])
    return history[-1]["epoch"] - best >= train.patience


def _scalars(entry: dict[str, Any]) -> dict[str, float]:
    scalars = {"lr": entry["lr"], "clips_per_second": entry["clips_per_second"]}
    for part in ("train", "val"):
        scalars |= {f"{part}/{name}": value for name, value in entry[part].items() if name != "n"}
    return scalars


def _quiet(done: int) -> None:
    del done


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
