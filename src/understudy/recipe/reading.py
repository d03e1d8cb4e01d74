"""Recipes from YAML and to YAML, and what is wrong with one in words.

A key that nothing reads is an error that names its nearest neighbour, so a typing mistake can never
become a default.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from understudy.errors import UserError, nearest
from understudy.recipe.sections import Recipe, Section


def load_recipe(source: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Recipe:
    """Read a recipe from a YAML file or by the name of one that comes with the package.

    `overrides` are `section.key=value` strings, the value in YAML: `train.epochs=5`.
    Raises UserError for a missing file, bad YAML, an unknown key or a value out of range.
    """
    path = Path(source)
    if not path.is_file():
        shipped = recipe_names()
        if str(source) not in shipped:
            raise UserError(
                f"There is no recipe {source}: neither a file nor a recipe of the package "
                f"({', '.join(shipped)}).{nearest(str(source), shipped)}"
            )
        text = (_shipped() / f"{source}.yaml").read_text(encoding="utf-8")
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError) as error:
            raise UserError(f"{source} is no readable text in UTF-8: {error}.") from error
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{source} is not valid YAML{_place(error)}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{source} holds no recipe: expected keys such as name, data and model.")
    for override in overrides:
        _override(content, override)
    content.setdefault("name", path.stem)
    # `--set teacher=null` turns a taught recipe into the same without a teacher.
    gone = any(o.startswith(("teacher=", "teachers=")) for o in overrides)
    if gone and not content.get("teacher") and not content.get("teachers"):
        content.pop("distill", None)
    return parse_recipe(content, str(source))


def parse_recipe(content: dict[str, Any], source: str = "recipe") -> Recipe:
    """Check the content of a recipe. Raises UserError that lists everything wrong with it."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{source} is not a valid recipe:\n{_explain(error)}") from None


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML, every value written out, so that a run stays readable on its own."""
    excluded = set() if recipe.all_teachers else {"distill"}
    excluded |= {"teachers"} if not recipe.teachers else {"teacher"}
    content = recipe.model_dump(mode="json", exclude=excluded)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(entry.name[:-5] for entry in _shipped().iterdir() if entry.name.endswith(".yaml"))


def _shipped():
    return resources.files("understudy") / "recipes"


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 3e-4 is a number, as everybody means it, and not a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)


def _override(content: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override}: write it as section.key=value, e.g. train.epochs=5.")
    *sections, last = key.strip().split(".")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise UserError(f"--set {override}: {section} is a value, it holds no {last}.")
    try:
        place[last] = yaml.load(value, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: the value is not valid YAML{_place(error)}.") from error


def _place(error: yaml.YAMLError) -> str:
    """Where a YAML error is and what it is, in one line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{where}: {problem or ' '.join(str(error).split())}"


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        location = [part for part in problem["loc"] if isinstance(part, str)]
        where = ".".join(location) or "recipe"
        if problem["type"] == "extra_forbidden":
            known = _keys_at(location[:-1])
            hint = nearest(location[-1], known)
            lines.append(f"  {where}: no such key.{hint} Known here: {', '.join(known)}.")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            given = "" if problem["type"] == "missing" else f" (given: {problem['input']!r})"
            if isinstance(problem["input"], dict):
                given = ""
            lines.append(f"  {where}: {message}{given}")
    return "\n".join(lines)


def _keys_at(location: list[str]) -> list[str]:
    """The keys that the section at `location` may hold."""
    model: Any = Recipe
    named = False  # the part is a name that the user chose, as those of teachers are
    for part in location:
        if named:
            named = False
            continue
        annotation = model.model_fields[part].annotation
        named = getattr(annotation, "__origin__", None) is dict
        options = getattr(annotation, "__args__", (annotation,))
        model = next((o for o in options if isinstance(o, type) and issubclass(o, Section)), None)
        if model is None:
            return []
    return list(model.model_fields)
