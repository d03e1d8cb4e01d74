"""What training needs before its first step, each mistake found before hours are spent."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from understudy.data.loader import EpochSampler, clip_seconds, draws_pixels, make_loader
from understudy.data.manifest import Manifest
from understudy.data.sources import read_manifest
from understudy.errors import UserError
from understudy.models.frames import FramesRecognizer
from understudy.recipe import Recipe
from understudy.run import Run
from understudy.teach.device import create_accelerator
from understudy.teach.fake_quantised import FakeQuantized, require_torchao
from understudy.teach.features import feature_loader, precompute
from understudy.teach.losses import balanced_class_weights
from understudy.teach.progress import Reporter
from understudy.teach.resume import can_resume
from understudy.teach.student import create_student, start_student
from understudy.teach.targets import TargetCache, cache_key, worth_caching
from understudy.teach.teacher import FrozenTeacher, create_teacher
from understudy.types import Batch, Recognizer, Skipped, parameter_count


@dataclass(slots=True)
class Lesson:
    """A student, its teacher and its clips, ready for the first step."""

    recipe: Recipe
    manifest: Manifest
    accelerator: Accelerator
    student: Recognizer
    learner: nn.Module
    """What is called and trained: the student, or the student under fake quantisation."""
    optimizer: torch.optim.Optimizer
    train_loader: DataLoader[Batch]
    val_loader: DataLoader[Batch]
    sampler: EpochSampler
    teacher: FrozenTeacher | None
    targets: TargetCache | None
    class_weights: Tensor | None
    model_options: dict[str, Any]
    start: dict[str, Any] | None
    """What `start.json` of the run holds; None when it began with noise, or is resumed."""
    skipped: dict[int, Skipped] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.classes

    def skip(self, clips: Iterable[Skipped]) -> None:
        """Note clips that could not be read. Raises UserError when they are too many."""
        self.skipped |= {clip.row: clip for clip in clips}
        clips_of = self.manifest.clip_counts()
        total = clips_of.get("train", 0) + clips_of.get("val", 0)
        limit = self.recipe.data.max_bad_share
        if len(self.skipped) > limit * total:
            named = [f"  {clip.path}: {clip.reason}" for clip in self.skipped.values()]
            more = f"\n  and {len(named) - 5} more" if len(named) > 5 else ""
            raise UserError(
                f"{len(self.skipped)} of {total} clips could not be read, more than the share of "
                f"{limit:.0%} that data.max_bad_share allows:\n"
                + "\n".join(named[:5])
                + more
                + "\nMend them, take them out of the manifest, or raise data.max_bad_share."
            )

    def describe_data(self) -> dict[str, Any]:
        """What `data.json` of the run holds."""
        return {
            "classes": list(self.classes),
            "manifest": str(Path(self.recipe.data.manifest).resolve()),
            "fingerprint": self.manifest.fingerprint(),
            "counts": self.manifest.counts(),
            "groups": self.manifest.group_counts(),
            "clip_seconds": clip_seconds(self.manifest, self.manifest.rows("train")),
            "model_options": self.model_options,
            "skipped": self.describe_skipped(),
        }

    def describe_skipped(self) -> list[dict[str, Any]]:
        return [
            clip._asdict() | {"split": self.manifest.records[clip.row].split}
            for clip in sorted(self.skipped.values())
        ]


def prepare_lesson(recipe: Recipe, run: Run, reporter: Reporter) -> Lesson:
    """Read the clips, build teacher and student, compute what need be computed only once."""
    if recipe.train.qat:
        require_torchao()
    accelerator = create_accelerator(recipe, run)
    manifest = read_manifest(
        recipe.data.manifest,
        allow_shared_groups=recipe.data.allow_shared_groups,
        seed=recipe.data.seed,
    )
    if manifest.is_multi_label:
        raise UserError(
            "This manifest gives some clips several labels; training takes one label per clip."
        )
    train_rows, val_rows = manifest.rows("train"), manifest.rows("val")
    _check_classes_in(manifest, "train")
    batch_size = recipe.train.batch_size
    train_loader = make_loader(
        manifest,
        recipe.data,
        train_rows,
        batch_size=batch_size,
        shuffle_seed=recipe.train.seed,
        balanced=recipe.train.imbalance == "balanced_sampling",
        augment=True,
    )
    val_loader = make_loader(manifest, recipe.data, val_rows, batch_size=recipe.eval.batch_size)
    sampler = train_loader.sampler
    assert isinstance(sampler, EpochSampler)
    plain_loader = make_loader(manifest, recipe.data, train_rows, batch_size=batch_size)

    teacher = targets = None
    if recipe.teacher is not None:
        reporter.note(f"teacher: {recipe.teacher.path or recipe.teacher.architecture}")
        teacher = create_teacher(
            recipe.teacher,
            recipe.distill,
            manifest.classes,
            lambda: plain_loader,
            manifest.group_of,
        )
        teacher.recognizer.to(accelerator.device)
        targets = TargetCache(teacher.recognizer, _cache_folder(recipe, run, manifest, teacher))
    torch.manual_seed(recipe.train.seed)
    student, options = create_student(recipe, len(manifest.classes), teacher)
    start = None
    if recipe.model.start is not None and not can_resume(run):
        start = start_student(student, recipe.model.start, manifest.classes)
        if recipe.train.qat:
            _check_taken_whole(start)
    learner = FakeQuantized(student) if recipe.train.qat else student
    learner.to(accelerator.device)
    _check_disk(run, student, recipe)
    lesson = Lesson(
        recipe=recipe,
        manifest=manifest,
        accelerator=accelerator,
        student=student,
        learner=learner,
        optimizer=torch.optim.AdamW(
            [parameter for parameter in student.parameters() if parameter.requires_grad],
            lr=recipe.train.lr,
            weight_decay=recipe.train.weight_decay,
        ),
        train_loader=train_loader,
        val_loader=val_loader,
        sampler=sampler,
        teacher=teacher,
        targets=targets,
        class_weights=_class_weights(recipe, manifest, accelerator.device),
        model_options=options,
        start=start,
    )
    _reuse_features(lesson, plain_loader, reporter)
    lesson.train_loader = accelerator.prepare_data_loader(
        lesson.train_loader, device_placement=False
    )
    return lesson


def _reuse_features(lesson: Lesson, plain_loader: DataLoader[Batch], reporter: Reporter) -> None:
    """Put features of a frozen backbone in the place of pixels that would never change."""
    student, data = lesson.student, lesson.recipe.data
    if not (isinstance(student, FramesRecognizer) and student.frozen_backbone):
        return
    if lesson.recipe.train.qat:  # it rounds the backbone too, by ranges that move
        return
    device, batch_size = lesson.accelerator.device, lesson.recipe.train.batch_size
    bank, skipped = precompute(student, lesson.val_loader, device)
    lesson.skip(skipped)
    lesson.val_loader = feature_loader(bank, _sampler_of(lesson.val_loader), batch_size)
    # A live teacher needs the pixels, and several processes need the wrapped forward.
    if draws_pixels(data) or lesson.teacher or lesson.accelerator.num_processes > 1:
        return
    reporter.note("the backbone is frozen: its features are computed once")
    bank, skipped = precompute(student, plain_loader, device)
    lesson.skip(skipped)
    lesson.train_loader = feature_loader(bank, lesson.sampler, batch_size)


def _sampler_of(loader: DataLoader[Batch]) -> EpochSampler:
    assert isinstance(loader.sampler, EpochSampler)
    return loader.sampler


def _cache_folder(
    recipe: Recipe, run: Run, manifest: Manifest, teacher: FrozenTeacher
) -> Path | None:
    """Beside the runs, so that students of one teacher share what it said."""
    if recipe.teacher is None or not recipe.teacher.cache or not worth_caching(recipe.data):
        return None
    key = cache_key(teacher.facts["weights_sha256"], manifest.fingerprint(), recipe.data)
    return run.path.parent / "teacher-cache" / key


def _class_weights(recipe: Recipe, manifest: Manifest, device: torch.device) -> Tensor | None:
    if recipe.train.imbalance != "class_weights":
        return None
    return balanced_class_weights(list(manifest.counts()["train"].values())).to(device)


def _check_classes_in(manifest: Manifest, split: str) -> None:
    missing = [label for label, count in manifest.counts()[split].items() if count == 0]
    if missing:
        raise UserError(
            f"No clip of the {split} split has the label {missing[0]}"
            f"{f' (nor {len(missing) - 1} others)' if len(missing) > 1 else ''}; "
            "it could not be learned."
        )


def _check_taken_whole(start: dict[str, Any]) -> None:
    """What fake quantisation smooths out is small beside what a layer of noise would need."""
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
