"""A trained run as a teacher: it looks at clips as it did in its own training."""

from __future__ import annotations

from dataclasses import replace

from understudy.errors import UserError
from understudy.models.backbones import freeze
from understudy.recipe import Distill, Teacher
from understudy.run import open_run
from understudy.task import Task
from understudy.teach.teachers import FrozenTeacher, frozen
from understudy.types import parameter_count


def run_teacher(
    config: Teacher, weights: Distill, classes: tuple[str, ...], task: Task
) -> FrozenTeacher:
    """The model of the run that `config` names; see `create_teacher`."""
    assert config.path is not None
    run = open_run(config.path)
    recipe = run.recipe
    taught_by = [recipe.weights_of(name) for name in recipe.all_teachers]
    never_trained = not run.history or (
        bool(taught_by) and recipe.distill.gamma == 0 and all(one.beta == 0 for one in taught_by)
    )
    if never_trained and weights.beta > 0:
        raise UserError(
            f"The classification head of {run.path} was never trained (its beta and gamma were 0, "
            "or no epoch was finished): the student would learn from random numbers. Set "
            "distill.beta=0 to use its features alone, or name another teacher."
        )
    if run.classes != classes and weights.beta > 0:
        raise UserError(
            f"{run.path} knows the classes {', '.join(run.classes)}, this manifest has "
            f"{', '.join(classes)}. Logits can only be taught between equal classes; set "
            "distill.beta=0 to use features alone."
        )
    if run.task != task and weights.beta > 0:
        one, several = "names exactly one label of a clip", "names several labels of a clip"
        raise UserError(
            f"{run.path} {several if run.task.several else one}, while this manifest "
            f"{'gives several' if task.several else 'gives one'}. Its logits mean something else; "
            "set distill.beta=0 to use features alone."
        )
    classifier = run.classifier(config.checkpoint)
    freeze(classifier.model)
    own_look = classifier.sampling
    sampling = replace(
        own_look,
        size=config.size or own_look.size,
        frames=config.frames or own_look.frames,
        method=config.sampling or own_look.method,
        stride_s=config.stride_s if config.sampling else own_look.stride_s,
    )
    facts = {
        "kind": "run",
        "name": run.name,
        "source": str(run.path),
        "run": str(run.path),
        "model": recipe.model.name,
        "head": "none" if never_trained else "trained",
        "parameters": parameter_count(classifier.model),
    }
    return frozen(classifier.model, sampling, facts)
