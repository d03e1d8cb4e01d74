"""Starting `rvit` and `rvit-image` from a vision transformer for pictures.

The path of x through the layers is that of a ViT, so its weights fit: patches, class token,
positions, W of the attention gate, LayerNorm and MLP. What a picture cannot teach starts at random:
U, which reads the hidden tokens, the sequence tokens and the classifier.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from understudy.errors import UserError, nearest
from understudy.models.backbones import from_hub, read_weights
from understudy.models.pixel_statistics import Statistics, pixel_statistics, statistics_of_file
from understudy.models.recurrent import RecurrentRecognizer
from understudy.models.rvit import RecurrentBlock, RViT, resize_positions
from understudy.models.rvit_image import RViTImage
from understudy.types import Inherited, Recognizer

_HUB = "hub:"
_OF_BLOCK = {
    "norm_x": "norm1",
    "gate.qkv_x": "attn.qkv",
    "gate.out": "attn.proj",
    "norm_mlp": "norm2",
    "mlp.0": "mlp.fc1",
    "mlp.3": "mlp.fc2",
}
"""Layers of a `RecurrentBlock` and what timm calls them."""
_SCALED_BY = {"attn.proj": "ls1", "mlp.fc2": "ls2"}
"""Layers whose result timm's LayerScale multiplies, where there is one."""


class _Source(NamedTuple):
    """A ViT. heads: of its attention, which a file of weights does not tell."""

    weights: dict[str, Tensor]
    heads: int | None
    pixels: Statistics | None


def load_vit(model: Recognizer, source: str, *, pixels_given: bool = False) -> list[Inherited]:
    """Fill the spatial part of a recurrent vision transformer from one of timm's.

    source: `hub:NAME` for timm's pretrained weights, or the path of a safetensors file of a timm
    VisionTransformer. Gives one entry for each layer of the model, then one for each part of the
    source that was left behind. The ViT also brings its pixel statistics, unless the model was
    given some (`pixels_given`).

    2-D patches become 3-D ones that look at the last of their frames; the other frames weigh 0.
    That is exact for stills, and for videos until training changes it. LayerScale is multiplied
    into the layer before it, which is exact too.

    Raises UserError for another kind of model, weights that cannot be had, a ViT whose width, patch
    size or MLP differs, and a file that does not tell its pixel statistics where none were given.
    """
    if not isinstance(model, (RViT, RViTImage)):
        raise UserError(
            f"model.start.vit fills rvit and rvit-image; this student is a {type(model).__name__}. "
            "Leave model.start out, or choose one of those two."
        )
    vit = _read(source, pixels_given)
    _check_fit(model, vit, source)
    used: set[str] = set()
    taken = _take_tokens(model, vit.weights, used)
    blocks = list(cast(Any, model.backbone).encoder.blocks)
    for index, block in enumerate(blocks):
        taken |= _take_block(block, f"blocks.{index}", vit, used)
    if vit.pixels is not None:
        model.normalize.mean.copy_(torch.tensor(vit.pixels[0]).view(1, 3, 1, 1))
        model.normalize.std.copy_(torch.tensor(vit.pixels[1]).view(1, 3, 1, 1))
        taken["normalize"] = Inherited("normalize", "exact", "its pixel statistics")
    fresh = {name: Inherited(name, "random") for name in _layers(model) if name not in taken}
    return [*taken.values(), *fresh.values(), *_left_behind(vit.weights, used, len(blocks))]


def _read(source: str, pixels_given: bool) -> _Source:
    if not source.startswith(_HUB):
        takes = "model.start.vit takes hub:NAME or the path of a safetensors file."
        weights = read_weights(Path(source), takes)
        return _Source(
            weights, None, None if pixels_given else statistics_of_file(Path(source), None)
        )
    name = source.removeprefix(_HUB)
    if not timm.is_model(name):
        raise UserError(f"timm knows no network {name}.{nearest(name, timm.list_models('vit*'))}")
    network = from_hub(name, "model.start.vit=PATH", "leave model.start out")
    if not isinstance(network, VisionTransformer):
        raise UserError(f"{name} is a {type(network).__name__}; only a VisionTransformer fits.")
    heads = cast(Any, network.blocks[0]).attn.num_heads
    return _Source(network.state_dict(), heads, None if pixels_given else pixel_statistics(network))


def _check_fit(model: RecurrentRecognizer, vit: _Source, source: str) -> None:
    keys = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight")
    missing = [key for key in keys if key not in vit.weights]
    if missing or vit.weights[keys[0]].dim() != 4:
        raise UserError(
            f"{source} is no VisionTransformer of timm: {(missing or keys)[0]} is missing or of "
            "another form."
        )
    backbone = cast(Any, model.backbone)
    own = {
        "dim": backbone.positions.shape[1],
        "patch_size": backbone.patch_size,
        "mlp_dim": backbone.encoder.blocks[0].mlp[0].out_features,
    }
    theirs = {
        "dim": vit.weights[keys[0]].shape[0],
        "patch_size": vit.weights[keys[0]].shape[-1],
        "mlp_dim": vit.weights[keys[2]].shape[0],
    }
    differing = [name for name in own if own[name] != theirs[name]]
    if differing:
        given = ", ".join(f"{name} {own[name]}" for name in differing)
        wanted = " ".join(f"model.options.{name}={theirs[name]}" for name in differing)
        raise UserError(
            f"{source} does not fit a student with {given}. Set {wanted}, or start from another "
            "ViT."
        )


def _take_tokens(
    model: RViT | RViTImage, weights: dict[str, Tensor], used: set[str]
) -> dict[str, Inherited]:
    """Patches, positions and, where the student has one, the class token."""
    backbone = cast(Any, model.backbone)
    taken = {}
    kernel = weights["patch_embed.proj.weight"]
    bias = weights.get("patch_embed.proj.bias", torch.zeros(len(kernel)))
    before = backbone.patches.in_channels - 3
    silent = kernel.new_zeros(len(kernel), before, *kernel.shape[2:])
    _fill(backbone.patches, torch.cat([silent, kernel], dim=1), bias)
    used |= {"patch_embed.proj.weight", "patch_embed.proj.bias"}
    note = f"the last of {before // 3 + 1} frames; 0 for those before" if before else ""
    taken["backbone.patches"] = Inherited(
        "backbone.patches", "exact", "patch_embed.proj", note=note
    )

    tokens = weights["pos_embed"].float()
    used.add("pos_embed")
    side = math.isqrt(tokens.shape[1])
    special = tokens.shape[1] - side * side
    places = tokens[:, special:].mT.unflatten(2, (side, side))
    grid = backbone.positions.shape[2:]
    resized = resize_positions(places, grid[-2:])
    with torch.no_grad():
        backbone.positions.copy_(resized if len(grid) == 2 else resized[:, :, None])
    same = tuple(grid[-2:]) == (side, side)
    note = "" if same else f"{side} x {side} resized to {grid[-2]} x {grid[-1]}"
    if backbone.encoder.repeat_positions:
        note += f"{', ' if note else ''}added before every layer, there before the first alone"
    taken["backbone.positions"] = Inherited(
        "backbone.positions", "exact" if same else "approximate", "pos_embed", note=note
    )

    if isinstance(model, RViT) and "cls_token" in weights:
        used.add("cls_token")
        with torch.no_grad():
            backbone.class_token.copy_(weights["cls_token"])
            backbone.class_position.copy_(tokens[:, :1] if special else torch.zeros(()))
        for name, origin in (("class_token", "cls_token"), ("class_position", "pos_embed")):
            layer = f"backbone.{name}"
            taken[layer] = Inherited(layer, "exact", origin)
    return taken


def _take_block(
    block: RecurrentBlock, source: str, vit: _Source, used: set[str]
) -> dict[str, Inherited]:
    """Every layer of a block that has a counterpart; none where the ViT has fewer blocks."""
    weights = vit.weights
    if f"{source}.norm1.weight" not in weights:
        return {}
    taken = {}
    for own, theirs in _OF_BLOCK.items():
        origin = f"{source}.{theirs}"
        weight = weights[f"{origin}.weight"]
        # timm's qkv may come without a bias.
        bias = weights.get(f"{origin}.bias", weight.new_zeros(len(weight)))
        used |= {f"{origin}.weight", f"{origin}.bias"}
        note = _reading(block, vit.heads) if own == "gate.qkv_x" else ""
        scale = f"{source}.{_SCALED_BY.get(theirs)}.gamma"
        if scale in weights:
            gamma = weights[scale]
            weight, bias, note = weight * gamma[:, None], bias * gamma, "with its LayerScale"
            used.add(scale)
        _fill(cast(nn.Linear, block.get_submodule(own)), weight, bias)
        layer = f"backbone.encoder.{source}.{own}"
        taken[layer] = Inherited(layer, "exact", origin, note=note)
    return taken


def _reading(block: RecurrentBlock, heads: int | None) -> str:
    """How queries, keys and values are read otherwise than the ViT reads them."""
    gate, notes = block.gate, []
    if gate.attention != "softmax":
        notes.append(f"trained for softmax attention, read by {gate.attention}")
    if heads is None:
        notes.append(f"split into {gate.heads} heads; the file does not tell how many it had")
    elif heads != gate.heads:
        notes.append(f"split into {gate.heads} heads, there into {heads}")
    return "; ".join(notes)


def _fill(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


def _layers(model: nn.Module) -> list[str]:
    """Names of all layers with weights of their own; learned tokens count as layers."""
    names = []
    for name, module in model.named_modules():
        own = [key for key, _ in module.named_parameters(recurse=False)]
        if "weight" in own:
            names.append(name)
        else:
            names += [f"{name}.{key}" for key in own]
    return names


def _left_behind(weights: dict[str, Tensor], used: set[str], layers: int) -> list[Inherited]:
    parts: dict[str, None] = {}
    for key in weights:
        if key not in used:
            steps = key.split(".")
            whole = steps[0] == "blocks" and int(steps[1]) >= layers
            parts[".".join(steps[:2] if whole else steps[:-1] or steps)] = None
    return [Inherited(part, "left behind", note="the student has no such part") for part in parts]
