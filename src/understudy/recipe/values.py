"""What values the keys of a recipe take. Each has bounds, so that absurd ones stop at the door."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MAX_DEPTH = 20
"""How deep the content of a recipe may be nested."""


class Section(BaseModel):
    """A part of a recipe: keys that nothing reads, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _no_truth(value: Any) -> Any:
    """Python counts True as 1, but `epochs: yes` is a mistake."""
    if isinstance(value, bool):
        raise ValueError("this is true or false; a number is wanted")
    return value


def _writable(text: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a character in it is no text in UTF-8, or is NUL")
    return text


def _plain(value: Any, depth: int = 0) -> Any:
    """Options of a model: what YAML and JSON can write down."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key, inside in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{key!r} is no name of an option")
            _plain(_writable(key), depth + 1)
            _plain(inside, depth + 1)
    elif isinstance(value, (list, tuple)):
        for inside in value:
            _plain(inside, depth + 1)
    elif isinstance(value, str):
        _writable(value)
    elif isinstance(value, (int, float)):
        if not math.isfinite(value) or abs(value) > 1e9:
            raise ValueError("numbers of options lie between -1e9 and 1e9")
    elif value is not None:
        raise ValueError(f"{type(value).__name__} is no plain value")
    return value


def _folds(value: Any) -> Any:
    """One sentence for all that is neither a number nor the word."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and 3 <= value <= 1000
    if not is_number and value not in (None, "leave-one-group-out"):
        raise ValueError("folds are a number from 3 to 1000, or leave-one-group-out")
    return value


Number = Annotated[float, BeforeValidator(_no_truth)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Whole = Annotated[int, BeforeValidator(_no_truth)]
Count = Annotated[Whole, Field(ge=1, le=1_000_000)]
Pixels = Annotated[Whole, Field(ge=8, le=8192)]
Seed = Annotated[Whole, Field(ge=0, lt=2**32)]
Text = Annotated[str, Field(max_length=4096), AfterValidator(_writable)]
Name = Annotated[str, Field(max_length=4096, coerce_numbers_to_str=True), AfterValidator(_writable)]
"""Of something in a user's file, which may be a number."""
Place = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_writable)]
"""A path, or a name that is looked up."""
Options = Annotated[dict[str, Any], AfterValidator(_plain)]
Method = Literal["uniform", "first", "centre", "random_segment", "dense"]
"""Which frames of a clip are taken; see `data/sampling.py`."""
Folds = Annotated[int | Literal["leave-one-group-out"] | None, BeforeValidator(_folds)]
"""How often a manifest is dealt into test clips and others; see `data/folds.py`."""
