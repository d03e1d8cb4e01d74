"""What the files of a run directory hold, as one schema: read once, at the door, and trusted after.

A file may hold more than is named here, for other versions write more. What is named must be there
and be what it says, for all that come later count on it.
"""

from __future__ import annotations

import json
import reprlib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

from understudy.errors import UserError

THRESHOLDS = "thresholds.json"
MOST_BYTES = 256_000_000
"""No file of a run is larger: a million clips that could not be read would fit."""

Number = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Text = Annotated[str, Field(max_length=10_000)]
Label = Annotated[str, Field(min_length=1, max_length=1_000)]


def _unlike(labels: list[str]) -> list[str]:
    twice = [label for label, number in Counter(labels).items() if number > 1]
    if twice:
        raise ValueError(f"{twice[0]} stands there twice")
    return labels


Labels = Annotated[list[Label], Field(min_length=1, max_length=100_000), AfterValidator(_unlike)]


class Part(TypedDict):
    """What all parts have in common: types are taken as they are, and more may be there."""

    __pydantic_config__ = ConfigDict(strict=True, extra="allow")  # type: ignore[misc]


class SkippedClip(Part):
    row: Count
    path: Text
    reason: Text


class DataFile(Part):
    classes: Labels
    task: NotRequired[Label]
    unlabelled: NotRequired[Count]
    manifest: Text
    clip_seconds: Annotated[float, Field(ge=0, le=1e9)]
    clip_fps: NotRequired[NotNegative]
    model_options: dict[Label, Any]
    skipped: list[SkippedClip]
    fingerprint: NotRequired[Text]
    clips: NotRequired[dict[Label, Count]]
    counts: NotRequired[dict[Label, dict[Label, Count]]]
    groups: NotRequired[dict[Label, Count]]


class EnvironmentFile(Part):
    run: NotRequired[Label]
    understudy: NotRequired[Text]
    libraries: NotRequired[dict[Label, Text]]
    command: NotRequired[list[str]]
    started: NotRequired[Text]
    finished: NotRequired[Text]
    prepare_seconds: NotRequired[NotNegative]


class Figure(Part):
    value: Number
    low: Number
    high: Number
    n: Count
    method: Text


class Looks(Part):
    size: Count
    frames: Count
    sampling: Text
    stride_s: NotNegative | None


class TeacherFacts(Part):
    name: NotRequired[Text]
    head: NotRequired[Text]
    source: NotRequired[Text]
    weights_sha256: NotRequired[Text]
    parameters: NotRequired[Count]
    embedding_dim: NotRequired[Count]
    looks_at: NotRequired[Looks]
    val: NotRequired[Figure | None]


class TeachersFacts(Part):
    teachers: dict[Label, TeacherFacts]


def _how_many(content: Any) -> str:
    return _SEVERAL if isinstance(content, dict) and "teachers" in content else _ONE


_ONE, _SEVERAL = "(one)", "(several)"
TeacherFile = Annotated[
    Annotated[TeacherFacts, Tag(_ONE)] | Annotated[TeachersFacts, Tag(_SEVERAL)],
    Discriminator(_how_many),
]


class Layer(Part):
    layer: Text
    how: Literal["exact", "approximate", "random", "left behind"]
    source: Text | None
    energy: Number | None
    note: Text


class StartFile(Part):
    source: Text
    layers: list[Layer]


class Epoch(Part):
    epoch: Annotated[int, Field(ge=1, le=2**53)]
    lr: NotNegative
    seconds: NotNegative
    clips_per_second: NotNegative
    train: dict[Label, Number]
    val: dict[Label, Number]
    best: bool
    val_seconds: NotRequired[NotNegative]


class UnknownFile(Part):
    checkpoint_sha256: Text
    threshold: Annotated[float, Field(ge=0, lt=1)]


Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ThresholdOfClass(Part):
    threshold: Probability
    f1: Probability | None
    n: Count


class ThresholdsOfCheckpoint(Part):
    checkpoint_sha256: Text
    split: Text
    n: Count
    classes: dict[Label, ThresholdOfClass]


class ThresholdsFile(Part):
    rule: Text
    checkpoints: dict[Label, ThresholdsOfCheckpoint]


class OfClass(Part):
    n: Count
    accuracy: Figure
    precision: Figure
    f1: Figure


class _Metrics(Part):
    split: Text
    n: Count
    macro_f1: Figure
    classes: Labels
    warnings: list[Text]
    checkpoint: NotRequired[Label]
    task: NotRequired[Label]


class MetricsOfOne(_Metrics):
    top1: Figure
    top5: NotRequired[Figure]
    calibration_error: Figure
    per_class: dict[Label, OfClass]
    confusion: list[list[Count]]


class OfOneOfSeveral(Part):
    n: Count
    threshold: Probability
    average_precision: Figure
    precision: Figure
    recall: Figure
    f1: Figure


class MetricsOfSeveral(_Metrics):
    map: Figure
    micro_f1: Figure
    exact_match: Figure
    per_class: dict[Label, OfOneOfSeveral]


def _complete(metrics: Any) -> Any:
    k = len(metrics["classes"])
    confusion = metrics.get("confusion", [])
    if "confusion" in metrics and (len(confusion) != k or any(len(row) != k for row in confusion)):
        raise ValueError(f"confusion is no table of {k} by {k} numbers")
    if set(metrics["per_class"]) != set(metrics["classes"]):
        raise ValueError("per_class names other classes than classes")
    return metrics


def _which(content: Any) -> str:
    return _SEVERAL if isinstance(content, dict) and "map" in content else _ONE


MetricsFile = Annotated[
    Annotated[MetricsOfOne, Tag(_ONE)] | Annotated[MetricsOfSeveral, Tag(_SEVERAL)],
    Discriminator(_which),
    AfterValidator(_complete),
]
"""Of one label a clip, or of several."""


class ComparisonFile(Part):
    difference: Number
    low: Number
    high: Number
    p: Number
    n: Count


_AGAIN = "Copy it again from where the run was made, or train a new run."
_FILES: dict[str, tuple[Any, str]] = {
    "data.json": (DataFile, _AGAIN),
    "environment.json": (EnvironmentFile, _AGAIN),
    "teacher.json": (TeacherFile, _AGAIN),
    "start.json": (StartFile, _AGAIN),
    "history.json": (list[Epoch], _AGAIN),
    "unknown.json": (UnknownFile, "Delete it, and stream makes it anew."),
    THRESHOLDS: (ThresholdsFile, "Delete it, and evaluate makes it anew."),
    "metrics.json": (MetricsFile, "Make it anew with: understudy evaluate"),
    "comparison.json": (ComparisonFile, "Delete it; the demo alone writes one."),
    "state.safetensors": (
        dict[str, Any],
        "The checkpoints can still be used; to train again, name another folder with --out.",
    ),
}
"""What each file holds, and what to do about one that does not."""


def parse_json(text: str, path: Path, schema: Any = None) -> Any:
    """The content of a file, checked against `schema`, by default the one of a file of this name.

    Raises UserError that names the file, the field and what to do.
    """
    expected, remedy = _FILES.get(path.name, (dict[str, Any], "Copy it again, or make it anew."))
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError too
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{path} is damaged: {reason}. {remedy}") from error
    try:
        return TypeAdapter(schema or expected).validate_python(content)
    except ValidationError as error:
        raise UserError(f"{path} is damaged: {explain(error)}. {remedy}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number")


def explain(error: ValidationError) -> str:
    """The first faults of a file, each with its field, and how many more there are."""
    faults = error.errors(include_url=False, include_context=False)
    said = [_fault(fault) for fault in faults[:3]]
    more = len(faults) - len(said)
    return "; ".join(said) + (f"; and {more} more" if more else "")


def _fault(fault: ErrorDetails) -> str:
    # The name of a schema, of several that a file can follow, stands in brackets.
    where = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("("))
    message, given = fault["msg"].removeprefix("Value error, "), fault["input"]
    match fault["type"]:
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden":
            return f"{where} is no field that this version knows"
        case "json_invalid" | "value_error":
            pass
        case _ if not isinstance(given, (dict, list)):
            message += f" (given: {reprlib.repr(given)})"
    return f"{where}: {message}" if where else message
