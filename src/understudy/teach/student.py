"""The student before its first step: in a teacher's space, with random or other weights."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from understudy.errors import UserError
from understudy.models import create_model, model_options
from understudy.models.backbones import CHECKPOINT
from understudy.models.c3d import C3D
from understudy.models.frames import FramesRecognizer
from understudy.models.transplant import transplant
from understudy.models.vit_weights import load_vit
from understudy.recipe import Recipe, Start
from understudy.run import Run, open_run
from understudy.types import Inherited, Recognizer


def create_student(
    recipe: Recipe, num_classes: int, spaces: dict[str, int]
) -> tuple[Recognizer, dict[str, Any]]:
    """The student, its embedding in a teacher's space, and the options that build it again.

    spaces: the width of each teacher's embedding. Where several teach features, the student's is
    as wide as the first one's. In the options weights are "checkpoint", so that opening a run never
    fetches pretrained weights, and pixel statistics are written out, so that they cannot change
    with a library.
    """
    known = model_options(recipe.model.name)
    options = {"input_size": recipe.data.size} | recipe.model.options
    if "window" in known:  # a stream then looks back as far as a clip of training does
        options.setdefault("window", recipe.data.frames)
    counting = [name for name in spaces if recipe.weights_of(name).alpha > 0] or list(spaces)
    if counting and "embedding_dim" in known:
        width = spaces[counting[0]]
        given = options.setdefault("embedding_dim", width)
        if len(counting) == 1 and given != width and recipe.weights_of(counting[0]).alpha > 0:
            raise UserError(
                f"model.options.embedding_dim is {given}, but the teacher's embedding has "
                f"{width} dimensions. Leave it out, or set distill.alpha=0."
            )
    student = create_model(recipe.model.name, num_classes, **options)
    if student.clip_frames is not None and student.clip_frames != recipe.data.frames:
        raise UserError(
            f"{recipe.model.name} reads clips of {student.clip_frames} frames, but data.frames is "
            f"{recipe.data.frames}. Set data.frames={student.clip_frames}."
        )
    if isinstance(student, FramesRecognizer):
        options |= {
            "weights": CHECKPOINT,
            "mean": [round(value, 6) for value in student.normalize.mean.flatten().tolist()],
            "std": [round(value, 6) for value in student.normalize.std.flatten().tolist()],
        }
    return student, options


def start_student(
    student: Recognizer,
    start: Start,
    classes: tuple[str, ...],
    given: Collection[str] = (),
) -> dict[str, Any]:
    """Fill a new student from what `start` names; gives the content of the run's `start.json`.

    given: names of the options that the recipe states, which nothing that is taken replaces.
    The last layer of a run with other classes is never taken, however well its shape fits.
    Raises UserError when the source is missing or belongs to a student of another build.
    """
    if start.vit is not None:
        layers = load_vit(student, start.vit, pixels_given={"mean", "std"} <= set(given))
        source = start.vit
    else:
        assert start.run is not None
        run = open_run(start.run)
        layers = _inherit(student, run, start.checkpoint, classes)
        source = str(run.path)
    return {"source": source, "layers": [layer._asdict() for layer in layers]}


def _inherit(
    student: Recognizer, run: Run, checkpoint: str, classes: tuple[str, ...]
) -> list[Inherited]:
    source = run.load_model(checkpoint)
    name, classifier = _classifier(student)
    fresh = {key: tensor.clone() for key, tensor in classifier.state_dict().items()}
    if isinstance(source, C3D) and isinstance(student, C3D):
        layers = transplant(source, student)
    else:
        layers = _copy(source, student, run.name)
    if run.classes != classes:
        classifier.load_state_dict(fresh)
        layers = [layer for layer in layers if layer.layer != name]
        layers.append(Inherited(name, "random", note=f"{run.name} knows other classes"))
    return layers


def _copy(source: Recognizer, student: Recognizer, name: str) -> list[Inherited]:
    """Every layer that both have in the same shape. The backbone must fit as a whole."""
    found, layers, unfit = source.state_dict(), [], []
    for prefix, module in student.named_modules():
        own = {
            f"{prefix}.{key}" if prefix else key: tensor
            for key, tensor in [*module.named_parameters(recurse=False),
                                *module.named_buffers(recurse=False)]
        }  # fmt: skip
        own = {key: tensor for key, tensor in own.items() if key in student.state_dict()}
        if not own:
            continue
        if all(key in found and found[key].shape == own[key].shape for key in own):
            for key, tensor in own.items():
                tensor.data.copy_(found[key])
            layers.append(Inherited(prefix, "exact", prefix))
        else:
            unfit += [prefix] if prefix.startswith("backbone") else []
            layers.append(Inherited(prefix, "random", note=f"{name} has none of this shape"))
    if unfit:
        raise UserError(
            f"The backbone of {name} does not fit this student: {unfit[0]} differs"
            f"{f', and {len(unfit) - 1} layers more' if len(unfit) > 1 else ''}. Start from a run "
            "of the same model and options, or leave model.start out."
        )
    return layers


def _classifier(student: Recognizer) -> tuple[str, nn.Linear]:
    """The layer that gives the logits: the last linear one of the head, with its name."""
    name, last = "", None
    for key, module in student.named_modules():
        if key.startswith("head") and isinstance(module, nn.Linear):
            name, last = key, module
    assert last is not None, "every recogniser ends in a linear classifier"
    return name, last
