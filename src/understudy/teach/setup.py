"""What training needs before its first step, each mistake found before hours are spent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from understudy.data.loader import make_loader
from understudy.data.manifest import Manifest
from understudy.data.reader import FeatureReader, FileReader, Reader, draws_pixels
from understudy.errors import UserError
from understudy.models import create_model
from understudy.models.frames import FramesRecognizer
from understudy.recipe import Recipe
from understudy.run import Run
from understudy.task import Task, task_of
from understudy.teach.device import Device
from understudy.teach.fake_quantised import require_torchao
from understudy.teach.features import precompute
from understudy.teach.learner import Learner
from understudy.teach.optimizer import create_optimizer
from understudy.teach.probe import fit_probe
from understudy.teach.processes import Processes
from understudy.teach.progress import Reporter
from understudy.teach.resume import State, restore
from understudy.teach.skipped import SkippedClips
from understudy.teach.stored import FOLDER
from understudy.teach.student import create_student, start_student
from understudy.teach.targets import Targets, open_known
from understudy.teach.teachers import FrozenTeacher, create_teacher
from understudy.teach.unchanged import Identity, check_teachers, identity_of
from understudy.types import Batch, Recognizer, Skipped, parameter_count


@dataclass(frozen=True, slots=True)
class Loaders:
    """Batches of training clips, epoch by epoch, and of validation clips, always the same.

    for_teachers: validation clips as teachers see them; None without one.
    """

    train: DataLoader[Batch]
    val: DataLoader[Batch]
    for_teachers: DataLoader[Batch] | None


@dataclass(frozen=True, slots=True)
class Setup:
    """All that the loop works with. Each part has one job; none of them is replaced later."""

    recipe: Recipe
    manifest: Manifest
    device: Device
    processes: Processes
    learner: Learner
    optimizer: torch.optim.Optimizer
    loaders: Loaders
    teachers: dict[str, Targets]
    skipped: SkippedClips
    class_weights: Tensor | None
    facts: Facts
    labelled_share: float
    """Of the clips of training; teachers alone say something of the others."""

    @property
    def task(self) -> Task:
        return task_of(self.manifest.is_multi_label)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the run writes down before its first epoch.

    model_options: those that build the student again. start: the content of `start.json`; None
    after a random initialisation, and when training goes on. identity: what is learned depends on.
    """

    model_options: dict[str, Any]
    start: dict[str, Any] | None
    identity: Identity


def prepare(
    recipe: Recipe,
    run: Run,
    device: Device,
    processes: Processes,
    reporter: Reporter,
    state: State | None = None,
) -> Setup:
    """Build teachers and student for the clips of a run, and compute what need be computed once.

    state: of the last finished epoch, where training goes on; all of it is as it was then. Raises
    UserError for whatever is wrong with the recipe, the clips, the teachers or that state.
    """
    if recipe.train.qat:
        require_torchao()
    manifest = run.manifest
    labelled, clips = _labelled(manifest), len(manifest.rows("train"))
    _check_labels(recipe, manifest)
    if labelled < clips:
        reporter.note(
            f"{clips - labelled} of {clips} training clips have no label: teachers alone say "
            "something of them"
        )
    skipped = SkippedClips(manifest, recipe.data.max_bad_share)
    load = _LoaderMaker(recipe, manifest, device, processes)

    teachers = {}
    for name in recipe.all_teachers:
        teacher = _create_teacher(name, recipe, manifest, run, load, skipped, reporter)
        teachers[name] = load.targets(name, teacher, run, reporter.note)
    frozen = {name: targets.teacher for name, targets in teachers.items()}
    if state is not None:
        check_teachers(frozen, state.progress.identity)
    torch.manual_seed(recipe.train.seed)
    spaces = {name: targets.teacher.embedding_dim for name, targets in teachers.items()}
    start = None
    if state is not None:  # pretrained weights may have changed, or be out of reach
        options = run.data["model_options"]
        student = create_model(recipe.model.name, len(manifest.classes), **options)
    else:
        student, options = create_student(recipe, len(manifest.classes), spaces)
    if recipe.model.start is not None and state is None:
        start = start_student(student, recipe.model.start, manifest.classes, recipe.model.options)
        if recipe.train.qat:
            _check_taken_whole(start)
    own = student.embedding_dim
    others = {
        name: width
        for name, width in spaces.items()
        if width != own and recipe.weights_of(name).alpha > 0
    }
    learner = Learner(student, qat=recipe.train.qat, projections=others).to(device.torch)
    if recipe.train.channels_last:
        device.lay_out_channels_last(student)
    processes.share_state(learner)
    if recipe.train.compile:
        learner.compile_student()
    _check_disk(run, student, recipe)
    optimizer = create_optimizer(learner, recipe.train)
    if state is not None:  # before features of a frozen backbone are computed
        restore(state, learner, optimizer, device)
        processes.share_state(learner)
        skipped.add(Skipped(e["row"], e["path"], e["reason"]) for e in state.progress.skipped)
    identity = state.progress.identity if state is not None else None
    return Setup(
        recipe=recipe,
        manifest=manifest,
        device=device,
        processes=processes,
        learner=learner,
        optimizer=optimizer,
        loaders=_loaders(student, load, teachers, skipped, reporter),
        teachers=teachers,
        skipped=skipped,
        class_weights=_class_weights(recipe, manifest, device.torch),
        facts=Facts(options, start, identity or identity_of(recipe, manifest, options, frozen)),
        labelled_share=labelled / clips,
    )


class _LoaderMaker:
    """Loaders over this process's part of a split."""

    def __init__(
        self, recipe: Recipe, manifest: Manifest, device: Device, processes: Processes
    ) -> None:
        self.recipe, self.manifest = recipe, manifest
        self.device, self.processes = device, processes
        self.reader = FileReader(manifest, recipe.data)  # one, that all loaders keep frames in

    def __call__(
        self, split: str, *, augment: bool = False, reader: Reader | None = None, **options: Any
    ) -> DataLoader[Batch]:
        """augment: also in an order of its own for each epoch; else every clip once, in order."""
        train = self.recipe.train
        drawn: dict[str, Any] = {}
        if augment:
            drawn = {
                "augment": True,
                "shuffle_seed": train.seed,
                "balanced": train.imbalance == "balanced_sampling",
            }
        return make_loader(
            self.manifest,
            self.recipe.data,
            self.manifest.rows(split),
            batch_size=train.batch_size if split == "train" else self.recipe.eval.batch_size,
            share=self.processes.share,
            reader=reader or self.reader,
            pin_memory=self.device.torch.type == "cuda",
            **drawn,
            **options,
        )

    def targets(
        self, name: str, teacher: FrozenTeacher, run: Run, note: Callable[[str], None]
    ) -> Targets:
        """A teacher's answers, kept beside the runs so that students of one teacher share them."""
        folder: Path | None = None
        if self.recipe.all_teachers[name].store:
            folder = run.path.parent / FOLDER
        teacher.recognizer.to(self.device.torch)
        known = open_known(
            teacher, self.manifest, self.recipe.data, folder, self.recipe.train.precision, note
        )
        return Targets(name, teacher, known, self.device.autocast)


def _create_teacher(
    name: str,
    recipe: Recipe,
    manifest: Manifest,
    run: Run,
    load: _LoaderMaker,
    skipped: SkippedClips,
    reporter: Reporter,
) -> FrozenTeacher:
    config, note = recipe.all_teachers[name], reporter.note
    note(f"{name}: {config.path or config.architecture}")

    def fit(headless: FrozenTeacher) -> torch.nn.Module:
        targets = load.targets(name, headless, run, note)
        loader = reporter.track(
            load("train", teachers={name: targets.known}, sampling=headless.sampling),
            f"embeddings of {name}",
            len(manifest.rows("train")) // load.processes.count,
            lambda batch: batch.clips_asked_for,
        )
        head = fit_probe(targets, loader, manifest, load.processes, skipped, note)
        headless.recognizer.cpu()  # where its head is, until both move together
        return head

    task = task_of(manifest.is_multi_label)
    weights = recipe.weights_of(name)
    return create_teacher(config, weights, recipe.data, manifest.classes, fit, task=task)


def _loaders(
    student: Recognizer,
    load: _LoaderMaker,
    teachers: dict[str, Targets],
    skipped: SkippedClips,
    reporter: Reporter,
) -> Loaders:
    """Files; or features in the place of pixels that a frozen backbone would never see change."""
    known = {name: targets.known for name, targets in teachers.items()}
    recipe, judging = load.recipe, None
    if known:
        look = next(iter(known.values())).sampling
        judging = load("val", teachers=known, sampling=look)
    if not _has_fixed_features(student, recipe):
        return Loaders(load("train", augment=True, teachers=known), load("val"), judging)

    def features(split: str) -> Reader:
        assert isinstance(student, FramesRecognizer)
        batches = reporter.track(
            load(split),
            f"features of the {split} split",
            len(load.manifest.rows(split)) // load.processes.count,
            lambda batch: batch.clips_asked_for,
        )
        found = precompute(student, batches, load.processes, skipped)
        return FeatureReader(found, load.manifest)

    val = load("val", reader=features("val"))
    if draws_pixels(recipe.data) or teachers:  # a teacher that must be asked needs the pixels
        return Loaders(load("train", augment=True, teachers=known), val, judging)
    reporter.note("the backbone is frozen: its features are computed once")
    return Loaders(load("train", augment=True, reader=features("train")), val, None)


def _has_fixed_features(student: Recognizer, recipe: Recipe) -> bool:
    """Whether the backbone never changes; rounded to 8 bits in training, its ranges move."""
    frozen = isinstance(student, FramesRecognizer) and student.frozen_backbone
    return frozen and not recipe.train.qat


def _class_weights(recipe: Recipe, manifest: Manifest, device: torch.device) -> Tensor | None:
    if recipe.train.imbalance != "class_weights":
        return None
    counts = list(manifest.counts()["train"].values())
    task = task_of(manifest.is_multi_label)
    return task.class_weights(counts, _labelled(manifest)).to(device)


def _labelled(manifest: Manifest) -> int:
    """How many clips of training have a label."""
    return int(np.count_nonzero(manifest.columns.label.numbers[manifest.rows("train")]))


def _check_labels(recipe: Recipe, manifest: Manifest) -> None:
    """Whoever is to be learned from has to say something: labels, teachers, or both."""
    clips, labelled = len(manifest.rows("train")), _labelled(manifest)
    weights = [recipe.weights_of(name) for name in recipe.all_teachers]
    if labelled < clips and not any(one.alpha > 0 or one.beta > 0 for one in weights):
        bare = next(row for row in manifest.rows("train") if not manifest.label_text(row))
        raise UserError(
            f"{clips - labelled} of {clips} training clips have no label, the first of them "
            f"{manifest.id_of(bare)}, and no teacher is there to say anything of them. Label them, "
            "leave them out, or name a teacher in the recipe (docs/teaching.md)."
        )
    if any(one.beta > 0 for one in weights):
        return  # a teacher's answers name classes that no label of training does
    missing = [label for label, count in manifest.counts()["train"].items() if count == 0]
    if missing:
        raise UserError(
            f"No clip of the train split has the label {missing[0]}"
            f"{f' (nor {len(missing) - 1} others)' if len(missing) > 1 else ''}; "
            "it could not be learned."
        )


def _check_taken_whole(start: dict[str, Any]) -> None:
    """What fake quantisation smooths out is small beside what a random layer would need."""
    unlike = [layer for layer in start["layers"] if layer["how"] != "exact"]
    if unlike:
        raise UserError(
            f"train.qat goes on from a run of the same model and the same classes, but "
            f"{unlike[0]['layer']} of {start['source']} could not be taken as it is: "
            f"{unlike[0]['note']}. Train such a student first, without train.qat."
        )


def _check_disk(run: Run, student: Recognizer, recipe: Recipe) -> None:
    """Refuse to start when the checkpoints would not fit on the disk."""
    kept = 2 + recipe.train.epochs // (recipe.train.checkpoint_every or recipe.train.epochs + 1)
    # Each checkpoint once, the resume file thrice (weights, two moments), and once more for the
    # neighbour that is written before the old file is replaced.
    needed = 4 * parameter_count(student) * (kept + 2 * 3)
    free = shutil.disk_usage(run.path).free
    if free < needed:
        raise UserError(
            f"{run.path} has {free / 1e6:.0f} MB free; checkpoints and resume file need "
            f"{needed / 1e6:.0f} MB. Free some space or choose another place with --out."
        )
