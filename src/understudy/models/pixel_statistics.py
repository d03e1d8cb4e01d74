"""Mean and std of the pixels that weights were trained on.

The wrong ones cost accuracy without any error, and a file of tensors alone does not tell them. So
they are read from what lies in the file or beside it, or asked for; never assumed.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

from torch import nn

from understudy.errors import UserError

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and std per channel, on pixels from 0 to 1."""

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def pixel_statistics(backbone: nn.Module) -> Statistics:
    """Those that timm trained this backbone with, on the hub."""
    config = cast(dict[str, Any], getattr(backbone, "pretrained_cfg", {}))
    mean, std = IMAGENET
    return tuple(config.get("mean", mean)), tuple(config.get("std", std))


def statistics_of_file(path: Path, architecture: str | None) -> Statistics:
    """Those of a safetensors file: from its metadata (`mean` and `std`, or timm's `pretrained_cfg`,
    as JSON), else from the config.json that timm's models of the hub have beside theirs.

    architecture: of timm; a config.json of another says nothing. None: whichever it is of. Raises
    UserError where neither tells them, saying what to give.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable safetensors file: {error}") from error
    inside = {key: _json(text) for key, text in metadata.items()}
    config = path.with_name("config.json")
    beside = _json(config.read_text(encoding="utf-8")) if config.is_file() else None
    if not isinstance(beside, dict) or architecture not in (None, beside.get("architecture")):
        beside = {}
    for where, content in ((path, inside), (config, beside)):
        for part in (content, content.get("pretrained_cfg")):
            if isinstance(part, dict) and part.get("mean") is not None and part.get("std"):
                return _three(part["mean"], "mean", where), _three(part["std"], "std", where)
    raise UserError(
        f"{path} does not tell the mean and std of the pixels that its weights were trained on, "
        "and wrong ones cost accuracy without any error. Give them, on pixels from 0 to 1, as its "
        "authors have them: model.options.mean=[0.5,0.5,0.5] and model.options.std=[0.5,0.5,0.5] "
        f"for pixels scaled to -1 to 1; {list(IMAGENET[0])} and {list(IMAGENET[1])} are those of "
        "most of ImageNet. Or keep timm's config.json of this model beside the file."
    )


def _three(values: Any, name: str, where: Path) -> tuple[float, ...]:
    numbers = isinstance(values, list) and all(isinstance(one, (int, float)) for one in values)
    if not numbers or len(values) != 3 or not all(map(math.isfinite, values)):
        raise UserError(f"{where}: {name} is {values}; it must be three numbers, one a channel.")
    return tuple(map(float, values))


def _json(text: str) -> Any:
    """None for what is no JSON: metadata holds words too."""
    try:
        return json.loads(text)
    except ValueError:
        return None
