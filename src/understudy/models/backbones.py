"""Picture backbones, timm's and our small one, and what their weights really are.

"A frozen pretrained backbone" that is in fact random is a mistake nobody sees in a loss curve, so
where weights come from is always said, loaded exactly, and recorded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import timm
from torch import Tensor, nn

from understudy.errors import UserError, nearest
from understudy.models.pixel_statistics import (
    Statistics,
    pixel_statistics,
    statistics_of_file,
)
from understudy.models.small_cnn import WIDTHS, SmallCNN

RANDOM, HUB, CHECKPOINT = "random", "hub", "checkpoint"
_CLASSIFIER_PREFIXES = ("classifier.", "head.fc.", "fc.", "head.")


def create_backbone(name: str, weights: str) -> tuple[nn.Module, int]:
    """A backbone without a classifier, and the number F of its features for one picture.

    `name` is any of timm's, or one of `small_cnn.WIDTHS`. `weights` is "random", "hub" (timm's
    default weights for the name), the path of a safetensors file, or "checkpoint" for a model that
    the caller fills from a trained run straight away.
    Raises UserError for an unknown name, a missing file, or a file of another architecture.
    """
    if name in WIDTHS:
        return _small(name, weights)
    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        hint = f" timm has: {', '.join(close)}, ..." if close else ""
        hint = nearest(name, [*WIDTHS, *timm.list_models()]) + hint
        raise UserError(f"timm knows no backbone {name}.{hint}")
    backbone = (
        from_hub(name, "model.options.weights=PATH", "model.options.weights=random")
        if weights == HUB
        else timm.create_model(name, num_classes=0)
    )
    if weights not in (RANDOM, HUB, CHECKPOINT):
        _load_local(backbone, name, Path(weights))
    features = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    assert isinstance(features, int)
    return backbone, features


def _small(name: str, weights: str) -> tuple[nn.Module, int]:
    if weights == HUB:
        raise UserError(f"{name} has no weights on the hub; use weights=random or a local file.")
    backbone = SmallCNN(WIDTHS[name])
    if weights not in (RANDOM, CHECKPOINT):
        _load_local(backbone, name, Path(weights))
    return backbone, backbone.num_features


def statistics_of(backbone: nn.Module, name: str, weights: str) -> Statistics:
    """Of the pixels that the weights of a backbone were trained on, `name` and `weights` as
    `create_backbone` takes them. Raises UserError where a local file does not tell them."""
    if weights in (RANDOM, HUB, CHECKPOINT):
        return pixel_statistics(backbone)
    return statistics_of_file(Path(weights), name.partition(".")[0])  # timm's NAME.TAG


def from_hub(name: str, local: str, random: str) -> nn.Module:
    """One of timm's networks with its pretrained weights and no classifier.

    Raises UserError where they cannot be fetched. It names two ways out, the recipe's settings for
    a `local` file and for random weights (`random`).
    """
    plain = timm.create_model(name, num_classes=0, pretrained=False)
    config = cast(dict[str, Any], plain.pretrained_cfg)
    try:
        return timm.create_model(name, num_classes=0, pretrained=True)
    except Exception as error:  # the hub client raises a dozen kinds; all mean "not to be had"
        source = config.get("hf_hub_id") or config.get("url") or "no known place"
        raise UserError(
            f"The weights of {name} could not be fetched ({type(error).__name__}). They are the "
            f"file model.safetensors of {source} on the Hugging Face hub. Fetch that file on a "
            f"machine with a network, copy it here and give its path: {local}. Or train from "
            f"random weights: {random}."
        ) from error


def read_weights(path: Path, takes: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises UserError, saying what the setting `takes`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"There is no weight file {path}. {takes}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is not a readable safetensors file: {error}") from error


def _load_local(backbone: nn.Module, name: str, path: Path) -> None:
    found = read_weights(path, "weights takes random, hub or the path of a safetensors file.")
    expected = backbone.state_dict()
    # The classifier of the old task is the only part that may be left behind.
    kept = {
        key: value.to(expected[key].dtype) if key in expected else value
        for key, value in found.items()
        if key in expected or not key.startswith(_CLASSIFIER_PREFIXES)
    }
    missing = [key for key in expected if key not in kept]
    unknown = [key for key in kept if key not in expected]
    misfits = [
        f"{key} is {tuple(kept[key].shape)} in the file and {tuple(tensor.shape)} in {name}"
        for key, tensor in expected.items()
        if key in kept and kept[key].shape != tensor.shape
    ]
    problems = [f"{key} is missing from the file" for key in missing]
    problems += [f"{key} is not part of {name}" for key in unknown] + misfits
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{path} does not fit {name}: {'; '.join(problems[:3])}{more}.")
    backbone.load_state_dict(kept)


def freeze(module: nn.Module) -> None:
    """Stop all learning in a module. The owner must also keep it in eval mode."""
    module.requires_grad_(False)
    module.eval()
