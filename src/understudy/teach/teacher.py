"""Who teaches: a CLIP-class model or an earlier run, as a frozen `Recognizer` plus its record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from understudy.errors import UserError
from understudy.models.backbones import freeze
from understudy.recipe import Distill, Teacher
from understudy.run import open_run
from understudy.teach.clip import ClipRecognizer, NoHead, load_tower, probe_head, text_head
from understudy.types import Batch, Recognizer, parameter_count


class FrozenTeacher(NamedTuple):
    recognizer: Recognizer
    facts: dict[str, Any]
    """What `teacher.json` of the run holds."""
    embedding_dim: int


def create_teacher(
    config: Teacher,
    distill: Distill,
    classes: tuple[str, ...],
    training_batches: Callable[[], Iterable[Batch]],
    group_of: Callable[[int], str],
) -> FrozenTeacher:
    """Build the teacher that a recipe names, in evaluation mode, without gradients.

    `training_batches` gives the training clips once, not augmented, for a linear probe; `group_of`
    the group of a manifest row. Raises UserError if the teacher's head was never trained and
    `distill.beta` is above 0, or if it knows other classes.
    """
    if config.kind == "run":
        return _from_run(config, distill, classes)
    if config.head == "none" and distill.beta > 0:
        raise UserError(
            "The teacher has no head (teacher.head=none), so its logits mean nothing, but "
            f"distill.beta is {distill.beta}: the student would learn noise. Set "
            "teacher.head=zero-shot or probe, or distill.beta=0."
        )
    tower = load_tower(config)
    source = config.weights_file or f"open_clip:{config.weights}"
    if config.head == "zero-shot":
        head: nn.Module = text_head(tower, config, classes)
    elif config.head == "probe":
        head = _fit_probe(tower, classes, training_batches, group_of)
    else:
        head = NoHead(len(classes))
    recognizer = ClipRecognizer(tower, head)
    facts = {
        "kind": "clip",
        "name": Path(config.architecture).stem,
        "source": source,
        "head": config.head,
        # What a deployed teacher would need: the image tower, not the sentences'.
        "parameters": parameter_count(tower.get_submodule("visual")) + parameter_count(head),
    }
    with torch.inference_mode():
        side = recognizer.input_size
        probe = recognizer(torch.zeros(1, 1, 3, side, side, dtype=torch.uint8))
    return _finish(recognizer, facts, probe.embedding.shape[1])


def _from_run(config: Teacher, distill: Distill, classes: tuple[str, ...]) -> FrozenTeacher:
    assert config.path is not None
    run = open_run(config.path)
    recipe = run.recipe
    never_trained = not run.history or (
        recipe.teacher is not None and recipe.distill.beta == recipe.distill.gamma == 0
    )
    if never_trained and distill.beta > 0:
        raise UserError(
            f"The classification head of {run.path} was never trained (its beta and gamma were 0, "
            "or no epoch was finished): the student would learn noise. Set distill.beta=0 to use "
            "its features alone, or name another teacher."
        )
    if run.classes != classes and distill.beta > 0:
        raise UserError(
            f"{run.path} knows the classes {', '.join(run.classes)}, this manifest has "
            f"{', '.join(classes)}. Logits can only be taught between equal classes; set "
            "distill.beta=0 to use features alone."
        )
    recognizer = run.load_model(config.checkpoint)
    freeze(recognizer)
    with torch.inference_mode():
        side = recognizer.input_size
        frames = torch.zeros(1, recognizer.clip_frames or 1, 3, side, side, dtype=torch.uint8)
        embedding_dim = recognizer(frames).embedding.shape[1]
    facts = {
        "kind": "run",
        "name": run.name,
        "source": str(run.path),
        "run": str(run.path),
        "model": recipe.model.name,
        "head": "none" if never_trained else "trained",
        "parameters": parameter_count(recognizer),
    }
    return _finish(recognizer, facts, embedding_dim)


def _finish(recognizer: Recognizer, facts: dict[str, Any], embedding_dim: int) -> FrozenTeacher:
    facts |= {"embedding_dim": embedding_dim, "weights_sha256": fingerprint(recognizer)}
    return FrozenTeacher(recognizer.eval(), facts, embedding_dim)


def _fit_probe(
    tower: nn.Module,
    classes: tuple[str, ...],
    training_batches: Callable[[], Iterable[Batch]],
    group_of: Callable[[int], str],
) -> nn.Linear:
    recognizer = ClipRecognizer(tower, NoHead(len(classes)))
    embeddings, targets, groups = [], [], []
    with torch.inference_mode():
        for batch in training_batches():
            if len(batch) == 0:
                continue
            output = recognizer(batch.frames, batch.lengths)
            embeddings.append(nn.functional.normalize(output.embedding, dim=-1))
            targets.append(batch.target)
            groups += [group_of(row) for row in batch.index.tolist()]
    if not embeddings:
        raise UserError("The probe cannot be fitted: no training clip could be read.")
    return probe_head(torch.cat(embeddings), torch.cat(targets), len(classes), groups)


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of all weights and buffers, so that cached outputs never outlive their teacher."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
