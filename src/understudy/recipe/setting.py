"""Single values, set from the command line: `train.epochs=5`.

What a value means follows from its key. A key that takes text takes it as it is, whatever YAML
would make of it: a folder may be called `day #1`.
"""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from understudy.errors import UserError
from understudy.recipe.plain_yaml import read_yaml
from understudy.recipe.sections import Recipe
from understudy.recipe.values import MAX_DEPTH, Section


def set_text(content: dict[str, Any], override: str) -> None:
    """Set `section.key=value` in the content of a recipe. Raises UserError."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise UserError(f"--set {override}: write it as section.key=value, e.g. train.epochs=5.")
    location = key.strip().split(".")
    set_value(content, location, _read(text, location, override), override)


def set_value(content: dict[str, Any], location: list[str], value: Any, override: str) -> None:
    """Put a value into its section, which is made where it was left out."""
    *sections, last = location
    if len(sections) > MAX_DEPTH:
        raise UserError(f"--set {override[:80]}: no key of a recipe lies so deep.")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise UserError(f"--set {override}: {section} is a value, it holds no {last}.")
    place[last] = value


def _read(text: str, location: list[str], override: str) -> Any:
    kinds = kinds_at(location)
    if kinds and all(kind in (str, NoneType) for kind in kinds):
        return None if text == "null" and NoneType in kinds else text
    if kinds != {Any}:
        return read_yaml(text, f"--set {override}: the value")
    # An option of a model, whose kind its model alone knows: text is taken as it is here too.
    try:
        value = read_yaml(text, override)
    except UserError:
        if text.startswith(("[", "{")):
            raise
        return text
    plain = isinstance(value, str) or (isinstance(value, dict) and not text.startswith("{"))
    return text if plain else value


def kinds_at(location: list[str]) -> set[Any]:
    """The types that the key at `location` takes; empty where there is no such key."""
    kinds: set[Any] = {Recipe}
    for part in location:
        kinds = {inner for kind in kinds for inner in _inside(kind, part)}
    return kinds


def keys_at(location: list[str]) -> list[str]:
    """The keys that the section at `location` may hold."""
    return [
        key
        for kind in kinds_at(location)
        if isinstance(kind, type) and issubclass(kind, Section)
        for key in kind.model_fields
    ]


def _inside(kind: Any, part: str) -> set[Any]:
    """The types of what a section or a mapping holds under a key."""
    if kind is Any:
        return {Any}
    if get_origin(kind) is dict:
        return _options(get_args(kind)[1])
    if isinstance(kind, type) and issubclass(kind, Section) and part in kind.model_fields:
        return _options(kind.model_fields[part].annotation)
    return set()


def _options(annotation: Any) -> set[Any]:
    """The types of a union, without their bounds; a choice of words is text."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return {kind for option in inside for kind in _options(option)}
    if origin is Annotated:
        return _options(inside[0])
    if origin is Literal:
        return {type(word) for word in inside}
    return {annotation}
