"""The training loop. One clip's way from disk to loss, in the order to read it:

    data/manifest.py   which clips there are
    data/loader.py     frames of a clip, sampled, decoded, augmented, collated to a Batch
    teach/targets.py   what the teacher says about this batch
    models/frames.py   what the student says
    teach/losses.py    how far apart they are

An epoch is a function of (weights, moments, seed, epoch): random numbers are reseeded at its start
and the learning rate follows from the number of steps. That is why a resumed run ends bit for bit
where an uninterrupted one does.
"""

from __future__ import annotations

import errno
import json
import math
import shlex
import time
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.data_loader import DataLoaderShard

from understudy.errors import UserError
from understudy.recipe import Recipe, Train
from understudy.run import (
    Run,
    create_run,
    describe_environment,
    discard_run,
    open_run,
    read_json,
    save_weights,
    write_json,
)
from understudy.teach.losses import Losses, teaching_loss
from understudy.teach.prepare import Lesson, prepare_lesson
from understudy.teach.progress import Quiet, Reporter
from understudy.teach.resume import Progress, can_resume, load_state, save_state
from understudy.teach.schedule import learning_rate
from understudy.teach.validate import judge_teacher, student_output, validate
from understudy.types import Batch, Output, Skipped


def train(recipe: Recipe, path: str | Path, *, reporter: Reporter | None = None) -> Run:
    """Teach a student as `recipe` says, into the run directory `path`.

    Raises UserError for whatever is wrong with the recipe, the data or the machine, most of it
    before the first step.
    """
    recipe = _anchored(recipe)
    run = create_run(Path(path), recipe)
    try:
        return _begin(run, recipe, reporter or Quiet())
    except BaseException:
        if not (run.path / "history.json").exists():
            discard_run(run)  # a run in which nothing was learned leaves nothing in the way
        raise


def _anchored(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths, so that its run can be resumed from any folder."""

    def absolute(path: str) -> str:
        return str(Path(path).resolve()) if Path(path).exists() else path

    data = recipe.data.model_copy(update={"manifest": absolute(recipe.data.manifest)})
    changes: dict[str, Any] = {"data": data}
    if recipe.teacher is not None:
        places = {"path": recipe.teacher.path, "weights_file": recipe.teacher.weights_file}
        known = {name: absolute(place) for name, place in places.items() if place is not None}
        changes["teacher"] = recipe.teacher.model_copy(update=known)
    start = recipe.model.start
    if start is not None:
        places = {"run": start.run, "vit": start.vit}
        known = {name: absolute(place) for name, place in places.items() if place is not None}
        moved = start.model_copy(update=known)
        changes["model"] = recipe.model.model_copy(update={"start": moved})
    return recipe.model_copy(update=changes)


def resume(path: str | Path, *, reporter: Reporter | None = None) -> Run:
    """Go on from the last finished epoch of an interrupted run, with its own recipe."""
    run = open_run(path)
    reporter = reporter or Quiet()
    if not can_resume(run):
        if len(run.history) > 1 or run.checkpoint_path("final").exists():
            raise UserError(
                f"The folder resume/ of {run.path} is gone, so training cannot go on. The "
                "checkpoints can still be used; to train again, name another folder with --out."
            )
        return _begin(run, run.recipe, reporter)  # it was stopped in its first epoch
    lesson = prepare_lesson(run.recipe, run, reporter)
    if lesson.manifest.fingerprint() != run.data["fingerprint"]:
        raise UserError(
            f"The manifest {run.data['manifest']} has changed since {run.name} was started; going "
            "on would mix two data sets. Restore it, or train a new run."
        )
    progress = load_state(run, lesson.learner, lesson.optimizer, lesson.accelerator.device)
    lesson.skip(Skipped(entry["row"], entry["path"], entry["reason"]) for entry in progress.skipped)
    return _learn(run, lesson, progress, reporter)


def _begin(run: Run, recipe: Recipe, reporter: Reporter) -> Run:
    """All of a training run, from its first epoch."""
    lesson = prepare_lesson(recipe, run, reporter)
    write_json(run.path / "environment.json", describe_environment() | {"started": _now()})
    write_json(run.path / "data.json", lesson.describe_data())
    if lesson.start is not None:
        write_json(run.path / "start.json", lesson.start)
    if lesson.teacher is not None:
        write_json(run.path / "teacher.json", lesson.teacher.facts | {"val": judge_teacher(lesson)})
    return _learn(run, lesson, Progress([], 0, []), reporter)


def _learn(run: Run, lesson: Lesson, progress: Progress, reporter: Reporter) -> Run:
    """Epochs until the last one, or until patience ends."""
    train = lesson.recipe.train
    accelerator = lesson.accelerator
    student, optimizer = accelerator.prepare(lesson.learner, lesson.optimizer)
    history, steps = list(progress.history), progress.steps
    with reporter:
        reporter.start(train.epochs - len(history), len(lesson.sampler))
        for epoch in range(len(history), train.epochs):
            if _out_of_patience(history, train):
                reporter.note(f"stopped early: no better epoch for {train.patience}")
                break
            entry, steps = _epoch(lesson, student, optimizer, epoch, steps, reporter)
            entry["best"] = _is_best(entry, history)
            history.append(entry)
            if accelerator.is_main_process:
                _keep(run, lesson, optimizer, Progress(history, steps, lesson.describe_skipped()))
            accelerator.wait_for_everyone()
            accelerator.log(_scalars(entry), step=epoch + 1)
            reporter.epoch(entry)
    if accelerator.is_main_process:
        _finish(run, lesson)
    accelerator.end_training()
    return run


def _epoch(
    lesson: Lesson,
    student: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    steps: int,
    reporter: Reporter,
) -> tuple[dict[str, Any], int]:
    """One pass over the training clips and one over the validation clips."""
    recipe, accelerator = lesson.recipe, lesson.accelerator
    torch.manual_seed(recipe.train.seed * 100_003 + epoch)
    # Through the prepared loader, which would otherwise count epochs from its own first one.
    cast(DataLoaderShard, lesson.train_loader).set_epoch(epoch)
    started = time.perf_counter()
    student.train()
    total_steps = recipe.train.epochs * math.ceil(
        len(lesson.train_loader) / recipe.train.accumulate
    )
    sums: dict[str, float] = {}
    for batch in lesson.train_loader:
        lesson.skip(batch.skipped)
        if _too_small(batch):
            continue
        batch = batch.to(accelerator.device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(steps, total_steps, recipe.train)
        with accelerator.accumulate(student):
            output, losses = _loss(lesson, student, batch)
            _refuse_nan(losses, epoch, recipe.train)
            accelerator.backward(losses.total)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(student.parameters(), recipe.train.gradient_norm)
            optimizer.step()
            optimizer.zero_grad()
            steps += accelerator.sync_gradients
        _add(sums, output, losses, batch)
        reporter.advance(len(batch))
    if not sums and recipe.train.batch_size == 1:
        raise UserError(
            "train.batch_size is 1, but batch normalisation cannot learn from a single picture. "
            "Set train.batch_size=2 or more."
        )
    if not sums:
        raise UserError("No training clip could be read in this epoch.")
    seconds = time.perf_counter() - started
    clips = sums.pop("clips")
    if lesson.targets is not None:
        lesson.targets.flush()
    entry = {
        "epoch": epoch + 1,
        "lr": optimizer.param_groups[0]["lr"],
        "seconds": round(seconds, 3),
        "clips_per_second": round(clips / seconds, 2),
        "train": {name: value / clips for name, value in sums.items()},
        "val": validate(lesson),
    }
    return entry, steps


def _loss(lesson: Lesson, student: torch.nn.Module, batch: Batch) -> tuple[Output, Losses]:
    if lesson.targets is not None:
        batch.taught = lesson.targets.teach(batch)
    output = Output(*student_output(lesson, student, batch))
    losses = teaching_loss(
        Output(output.logits.float(), output.embedding.float()),
        batch.target,
        batch.taught,
        lesson.recipe.distill,
        class_weights=lesson.class_weights,
        smoothing=lesson.recipe.train.label_smoothing,
    )
    return output, losses


def _too_small(batch: Batch) -> bool:
    """Batch normalisation cannot learn from a single picture."""
    return len(batch) == 0 or (len(batch) == 1 and int(batch.lengths.sum()) == 1)


def _refuse_nan(losses: Losses, epoch: int, train: Train) -> None:
    if torch.isfinite(losses.total):
        return
    parts = losses._asdict().items()
    wrong = [name for name, part in parts if part is not None and not torch.isfinite(part)]
    raise UserError(
        f"The loss is no longer a number in epoch {epoch + 1} ({', '.join(wrong)})."
        f"{' The weights of the last finished epoch are kept.' if epoch else ''} Lower train.lr "
        f"(now {train.lr:g}), lengthen train.warmup_epochs, or use train.precision=fp32."
    )


def _add(sums: dict[str, float], output: Output, losses: Losses, batch: Batch) -> None:
    """Sums over clips, so that a short last batch weighs what it should."""
    clips = len(batch)
    parts = losses._asdict() | {"loss": losses.total}
    for name, part in parts.items():
        if part is not None and name != "total":
            sums[name] = sums.get(name, 0.0) + float(part.detach()) * clips
    correct = (output.logits.argmax(-1) == batch.target).sum()
    sums["top1"] = sums.get("top1", 0.0) + float(correct)
    sums["clips"] = sums.get("clips", 0.0) + clips


def _is_best(entry: dict[str, Any], history: list[dict[str, Any]]) -> bool:
    """Highest validation accuracy; of equals the one with the lower loss."""

    def score(one: dict[str, Any]) -> tuple[float, float]:
        return one["val"]["top1"], -one["val"]["loss"]

    return all(score(entry) > score(earlier) for earlier in history)


def _out_of_patience(history: list[dict[str, Any]], train: Train) -> bool:
    if train.patience is None or not history:
        return False
    best = max(entry["epoch"] for entry in history if entry["best"])
    return history[-1]["epoch"] - best >= train.patience


def _keep(run: Run, lesson: Lesson, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write checkpoints and history; the resume file last, since it says what is complete."""
    entry = progress.history[-1]
    names = ["best"] if entry["best"] else []
    every = lesson.recipe.train.checkpoint_every
    if every and entry["epoch"] % every == 0:
        names.append(f"epoch_{entry['epoch']:03d}")
    try:
        for name in names:
            _save(run, lesson, name)
        write_json(run.path / "history.json", progress.history)
        data = read_json(run.path / "data.json") | {"skipped": progress.skipped}
        write_json(run.path / "data.json", data)
        save_state(run, lesson.learner, optimizer, progress)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        raise UserError(
            f"{run.path} cannot be written any more ({error.strerror}); the epoch before "
            f"{entry['epoch']} is kept. Make room, then: understudy train --resume "
            f"{shlex.quote(str(run.path))}"
        ) from error


def _save(run: Run, lesson: Lesson, name: str) -> None:
    save_weights(
        lesson.student,
        run.checkpoint_path(name),
        {"model": lesson.recipe.model.name, "classes": json.dumps(lesson.classes)},
    )


def _finish(run: Run, lesson: Lesson) -> None:
    _save(run, lesson, "final")
    environment = run.environment
    environment.setdefault("finished", _now())  # resuming a finished run changes nothing
    write_json(run.path / "environment.json", environment)


def _scalars(entry: dict[str, Any]) -> dict[str, float]:
    scalars = {"lr": entry["lr"], "clips_per_second": entry["clips_per_second"]}
    for part in ("train", "val"):
        scalars |= {f"{part}/{name}": value for name, value in entry[part].items() if name != "n"}
    return scalars


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
