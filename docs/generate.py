"""Write docs/recipes.md: every key of a recipe, read from the models that check recipes.

Also writes docs/models.md, by generate_models.py.

    python docs/generate.py

A test compares the committed page with what this gives, so the page cannot fall behind.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from understudy.recipe import Recipe, Section, recipe_names

PAGE = Path(__file__).parent / "recipes.md"

MEANINGS = {
    "name": "Names the run's directory, `runs/<name>`. A file without it takes its own name.",
    "data.frames": "Frames taken from a clip. Shorter clips are padded; pictures have one.",
    "data.sampling": "Which frames; see [data](data.md#which-frames).",
    "data.workers": "Processes that decode. 0: the training process itself.",
    "data.augment.brightness": "How far brightness may be changed: 0.2 draws from 0.8 to 1.2.",
    "data.augment.contrast": "The same for contrast.",
    "data.augment.saturation": "The same for saturation.",
    "data.augment.hue": "How far hue may be turned, as a share of the circle.",
    "data.augment.rotation_degrees": "Largest turn to either side.",
    "data.pseudo.rotation_degrees": "Largest turn of the camera to either side.",
    "model.name": "One of those that `understudy models` lists.",
    "model.options": "What is set differently from the model's own [defaults](models.md#options).",
    "model.start.checkpoint": "With run: `best`, `final` or `epoch_010`.",
    "teacher.kind": "`clip`: a CLIP-class model of open_clip. `run`: a run trained before.",
    "teacher.checkpoint": "kind run: `best`, `final` or `epoch_010`.",
    "teacher.prompts": "Sentences around a class name. Their embeddings are averaged.",
    "distill.alpha": "Weight of the feature loss.",
    "distill.beta": "Weight of the response loss.",
    "distill.gamma": "Weight of the task loss.",
    "distill.temperature": "Softens both answers before they are compared.",
    "train.epochs": "Passes over the training clips, at most.",
    "train.batch_size": "Clips in a batch.",
    "train.lr": "Highest learning rate, of AdamW.",
    "train.min_lr": "Where the cosine ends; no step goes below it.",
    "train.warmup_epochs": "The learning rate first rises in a straight line; 0.5 is allowed.",
    "train.weight_decay": "AdamW's.",
    "train.max_grad_norm": "Longer gradients are cut to this length; null: none is.",
    "train.label_smoothing": "Share of the target that is spread over all classes.",
    "train.imbalance": "What is done for rare classes: heavier losses, or more frequent draws.",
    "train.seed": "Seed of first weights, of the clips' order and of dropout.",
    "train.device": "`auto` takes a GPU where there is one.",
    "train.precision": "bf16 and fp16 are autocast. fp16 needs a GPU.",
    "train.tracker": "Also log there; see [teaching](teaching.md#trackers).",
    "eval.split": "What `understudy evaluate` measures where nothing else is asked.",
    "eval.batch_size": "Clips in a batch, also for validation.",
    "eval.confidence": "Share of intervals that hold the true value.",
    "eval.resamples": "Draws of the bootstrap.",
}
"""Meanings of keys that have no docstring in `recipe/sections.py`."""

HEAD = """\
# Recipes

<!-- Written by docs/generate.py. Change recipe/sections.py or that script, then run it. -->

A recipe is a YAML file. Every key below may be left out unless it says *required*; a key that is
not below is an error that names its nearest neighbour. `--set section.key=value` changes one value
from the command line: keys that take text take it as it is (and `null` where null is allowed), for
all others the value is YAML. Anchors, aliases and tags of YAML are refused, and so is a key given
twice. The run keeps its recipe with every value written out.

What the sections do is told in [data](data.md), [teaching](teaching.md) and
[evaluation](evaluation.md).
"""


def keys(section: type[Section] = Recipe, prefix: str = "") -> dict[str, Any]:
    """Every key of a recipe by its full name, with its pydantic field; sections after values."""
    values: dict[str, Any] = {}
    sections: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        if inner := subsection(field.annotation):
            sections |= keys(inner, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = field
    return values | sections


def subsection(annotation: Any) -> type[Section] | None:
    """The section that a field holds, or None for a plain value; sections under names of the
    user's own are one value."""
    if get_origin(annotation) is dict:
        return None
    for option in (annotation, *get_args(annotation)):
        if isinstance(option, type) and issubclass(option, Section):
            return option
    return None


def docstrings(section: type[Section] = Recipe, prefix: str = "") -> dict[str, str]:
    """The text that stands below a key in the source, by the key's full name."""
    found = {}
    (tree,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(tree, ast.ClassDef)
    for line, after in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(line, ast.AnnAssign)
            and isinstance(line.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            text = " ".join(str(after.value.value).split())
            found[prefix + line.target.id] = re.sub(r"\bNone\b", "null", text)
    for name, field in section.model_fields.items():
        if inner := subsection(field.annotation):
            found |= docstrings(inner, f"{prefix}{name}.")
    return found


def describe_type(annotation: Any, metadata: list[Any]) -> str:
    """What values a key takes, in words: `number > 0`, `best or null`."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(describe_type(option, metadata) for option in inside)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if hasattr(annotation, "__metadata__"):
        return describe_type(inside[0], constraints(annotation.__metadata__))
    if origin is tuple:
        return "list of texts"
    if origin is dict or annotation is dict:
        return "mapping"
    plain = {int: "whole number", float: "number", str: "text", bool: "true, false"}
    word = plain.get(annotation, "null")
    bounds = " and ".join(bound for bound in map(describe_bound, metadata) if bound)
    return f"{word} {bounds}" if bounds and word.endswith("number") else word


def constraints(metadata: tuple[Any, ...]) -> list[Any]:
    """Bounds such as Ge(1), out of the `Field` that carries them."""
    return [bound for part in metadata for bound in getattr(part, "metadata", [part])]


def describe_bound(bound: Any) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    limits = ((s, getattr(bound, n)) for n, s in signs.items() if hasattr(bound, n))
    return " and ".join(f"{s} {n:,}" if isinstance(n, int) else f"{s} {n:g}" for s, n in limits)


def describe_default(field: Any) -> str:
    if field.is_required():
        return "*required*"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    if isinstance(value, float):
        return f"`{value:g}`"
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return f"`{text.removesuffix('...').strip()}`"


def opening(name: str) -> str:
    """What a recipe of the package says about itself: the comment below its command."""
    text = (files("understudy") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    comment = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    assert comment[0].startswith("understudy train "), f"{name} opens with its command"
    return " ".join(" ".join(comment[1:]).split())


def page() -> str:
    """The whole page."""
    meanings = docstrings() | MEANINGS
    lines = [HEAD.rstrip()]
    for section, members in groupby(keys().items(), lambda item: item[0].rpartition(".")[0]):
        lines += ["", f"## {section}"] if section else []
        lines += ["", "| key | takes | default | |", "|---|---|---|---|"]
        for key, field in members:
            name, takes = key.rpartition(".")[2], describe_type(field.annotation, field.metadata)
            lines.append(f"| `{name}` | {takes} | {describe_default(field)} | {meanings[key]} |")
    lines += ["", "## Recipes of the package", "", "| recipe | |", "|---|---|"]
    for name in recipe_names():
        lines.append(f"| [{name}](../src/understudy/recipes/{name}.yaml) | {opening(name)} |")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    import generate_models  # beside this script

    generate_models.write()
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
