"""Recipes from YAML and to YAML, and what is wrong with one in words.

A key that nothing reads is an error that names its nearest neighbour, so a typing mistake can never
become a default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from understudy.errors import UserError, nearest
from understudy.recipe.plain_yaml import read_yaml, write_yaml
from understudy.recipe.sections import Recipe
from understudy.recipe.setting import keys_at, set_text, set_value

MAX_BYTES = 1_000_000
"""A larger file is no recipe; those of the package have less than a thousandth of it."""


def load_recipe(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    changes: Mapping[str, Any] | None = None,
    of_run: bool = False,
) -> Recipe:
    """Read a recipe from a YAML file or by the name of one that comes with the package.

    overrides: `section.key=value` strings. Keys that take text take it as it is; the value of any
    other is YAML.
    changes: values by such keys, set before the overrides.
    of_run: the file is what a run was asked for, in which every section is written out.
    Raises UserError for a missing file, bad YAML, an unknown key or a value out of range.
    """
    content = read_yaml(_text(source), str(source))
    if not isinstance(content, dict):
        raise UserError(f"{source} holds no recipe: expected keys such as name, data and model.")
    if of_run:
        _refuse_part(content, source)
    for key, value in (changes or {}).items():
        set_value(content, key.split("."), value, f"{key}={value}")
    for override in overrides:
        set_text(content, override)
    content.setdefault("name", Path(source).stem)
    # `--set teacher=null` turns a taught recipe into the same without a teacher.
    gone = any(o.startswith(("teacher=", "teachers=")) for o in overrides)
    if gone and not content.get("teacher") and not content.get("teachers"):
        content.pop("distill", None)
    return parse_recipe(content, str(source), of_run=of_run)


def parse_recipe(
    content: dict[str, Any], source: str = "recipe", *, of_run: bool = False
) -> Recipe:
    """Check the content of a recipe. Raises UserError that lists everything wrong with it."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        unknown = any(one["type"] == "extra_forbidden" for one in error.errors())
        later = "\nA later version of Understudy may have written it." if of_run and unknown else ""
        raise UserError(f"{source} is not a valid recipe:\n{_explain(error)}{later}") from None


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML, every value written out, so that a run stays readable on its own."""
    excluded = set() if recipe.all_teachers else {"distill"}
    excluded |= {"teachers"} if not recipe.teachers else {"teacher"}
    return write_yaml(recipe.model_dump(mode="json", exclude=excluded))


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(entry.name[:-5] for entry in _shipped().iterdir() if entry.name.endswith(".yaml"))


def _shipped():
    return resources.files("understudy") / "recipes"


def _text(source: str | Path) -> str:
    """The text of a recipe file, or of the package's recipe of that name."""
    if not os.path.isfile(source):  # unlike Path.is_file, False for names that no file can have
        shipped = recipe_names()
        if str(source) not in shipped:
            raise UserError(
                f"There is no recipe {source}: neither a file nor a recipe of the package "
                f"({', '.join(shipped)}).{nearest(str(source), shipped)}"
            )
        return (_shipped() / f"{source}.yaml").read_text(encoding="utf-8")
    try:
        with Path(source).open("rb") as file:
            read = file.read(MAX_BYTES + 1)
        if len(read) > MAX_BYTES:
            raise UserError(f"{source} is no recipe: it is larger than {MAX_BYTES:,} bytes.")
        return read.decode("utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{source} is no readable text in UTF-8: {error}.") from error


def _refuse_part(content: dict[str, Any], source: str | Path) -> None:
    """The defaults in place of a section that is gone would make another recipe of it."""
    for section in ("name", "data", "model", "train", "eval"):
        if section not in content:
            raise UserError(f"{source} is damaged: {section} is missing.")


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        location = [part for part in problem["loc"] if isinstance(part, str)]
        where = ".".join(location)[:200] or "recipe"
        if problem["type"] == "extra_forbidden":
            known = keys_at(location[:-1])
            hint = nearest(location[-1], known)
            lines.append(f"  {where}: no such key.{hint} Known here: {', '.join(known)}.")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            given = "" if problem["type"] == "missing" else f" (given: {_short(problem['input'])})"
            if isinstance(problem["input"], dict):
                given = ""
            lines.append(f"  {where}: {message}{given}")
    return "\n".join(lines[:20] + [f"  ... and {len(lines) - 20} more"] * (len(lines) > 20))


def _short(value: Any) -> str:
    """A value as it was given, as far as a message has room for it."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a number too long to print"
    return text if len(text) <= 200 else f"{text[:200]}..."
