"""Two forms of one clip graph: all frames at once, or picture by picture.

Where a model encodes each frame by itself, its encoder may run once on a batch of all frames, or
once for each frame (a Scan over the rows). The numbers are the same. Batches use matrices better;
single pictures leave everything that lies between two layers in the processor's cache. Which is
faster depends on the network, so that both are written and timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor, nn

from understudy.models.frames import FramesRecognizer
from understudy.models.picture_peer import PicturePeer
from understudy.ship.graphs import Graph

if TYPE_CHECKING:
    import onnx

BATCHED, FRAMEWISE = "batched", "framewise"

RACE_ROUNDS, RACE_S = 3, 1.5
"""Rounds of the race between the two forms, at least, and seconds until it begins no further."""

MARGIN = 0.97
"""The share of the batched form's time that the framewise one must stay below to be chosen."""


class Encoder(nn.Module):
    """Frames (N, 3, S, S) uint8 to features (N, F), each frame by itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        return cast(Any, self.model)._encode(frames)


class Head(nn.Module):
    """Features (B x T, F) and lengths (B,) to logits and embedding."""

    def __init__(self, model: nn.Module, frames: int) -> None:
        super().__init__()
        self.model = model
        self.frames = frames

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        clips = features.unflatten(0, (-1, self.frames))
        output = cast(Any, self.model).forward_head(clips, lengths.long())
        return output.logits, output.embedding


def encodes_frames(graph: Graph) -> bool:
    """Whether a graph reads clips whose frames its model encodes one by one."""
    several = graph.kind == "clip" and graph.frames > 1
    return several and isinstance(graph.model, FramesRecognizer | PicturePeer)


def join(encoder: onnx.ModelProto, head: onnx.ModelProto, form: str) -> onnx.ModelProto:
    """One model of an encoder (frames -> features) and a head (features, lengths -> ...)."""
    from onnx import compose

    # Within the body of a Scan the name of the frames is that of one picture.
    first = compose.add_prefix(encoder, "frame/", rename_inputs=form == FRAMEWISE)
    if form == FRAMEWISE:
        first = _scanned(first)
    features = first.graph.output[0].name
    last = compose.add_prefix(head, "clip/", rename_inputs=False, rename_outputs=False)
    # Both name their free dimension; what they say of it differs by the number of frames.
    del first.graph.value_info[:], last.graph.value_info[:]
    joined = compose.merge_models(first, last, io_map=[(features, "features")])
    del joined.metadata_props[:]
    versions = {one.domain: one.version for one in joined.opset_import}
    del joined.opset_import[:]  # quantisers take no domain that is named twice
    for domain, version in versions.items():
        joined.opset_import.add(domain=domain, version=version)
    joined.graph.name = "clip"
    return joined


def _scanned(encoder: onnx.ModelProto) -> onnx.ModelProto:
    """The same, with a Scan that gives the encoder one row of its input at a time."""
    import onnx
    from onnx import helper, numpy_helper

    rows, features = encoder.graph.input[0], encoder.graph.output[0]
    body = onnx.GraphProto()
    body.CopyFrom(encoder.graph)
    body.name = "picture"
    del body.input[:], body.output[:], body.value_info[:]
    shape = _sizes(rows)[1:]
    body.input.append(
        helper.make_tensor_value_info("picture", rows.type.tensor_type.elem_type, shape)
    )
    kind = features.type.tensor_type.elem_type
    body.output.append(helper.make_tensor_value_info("feature", kind, _sizes(features)[1:]))
    body.initializer.append(numpy_helper.from_array(np.array([0]), "first_axis"))
    body.node.insert(0, helper.make_node("Unsqueeze", ["picture", "first_axis"], [rows.name]))
    body.node.append(helper.make_node("Squeeze", [features.name, "first_axis"], ["feature"]))
    scan = helper.make_node(
        "Scan", ["frames"], ["features_of_frames"], body=body, num_scan_inputs=1
    )
    given = onnx.ValueInfoProto()
    given.CopyFrom(rows)
    given.name = "frames"
    result = onnx.ValueInfoProto()
    result.CopyFrom(features)
    result.name = "features_of_frames"
    graph = helper.make_graph([scan], "clip", [given], [result])
    model = helper.make_model(graph, opset_imports=encoder.opset_import)
    model.ir_version = encoder.ir_version
    return model


def _sizes(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def race(batched: Callable[[], object], framewise: Callable[[], object]) -> tuple[str, float]:
    """The faster form, and the framewise form's time over the batched one's.

    They take turns, each with a call that is not counted before one that is. The shortest time
    counts: what else a machine does can only add to it.
    """
    begun, rounds, best = time.perf_counter(), 0, [np.inf, np.inf]
    while rounds < RACE_ROUNDS or time.perf_counter() - begun < RACE_S:
        for place, call in enumerate((batched, framewise)):
            call()
            start = time.perf_counter()
            call()
            best[place] = min(best[place], time.perf_counter() - start)
        rounds += 1
    ratio = best[1] / best[0]
    return (FRAMEWISE if ratio < MARGIN else BATCHED), ratio


def unscanned(model: onnx.ModelProto) -> onnx.ModelProto:
    """A framewise model as a batched one, for tools that do not look into a Scan.

    The same weights under the same names; other models are given back as they are.
    """
    import onnx

    flat = onnx.ModelProto()
    flat.CopyFrom(model)
    scans = [node for node in flat.graph.node if node.op_type == "Scan"]
    if not scans:
        return model
    assert len(scans) == 1, "only a framewise form has a Scan, and it has one"
    (scan,) = scans
    body = next(one.g for one in scan.attribute if one.name == "body")
    first, *nodes, last = body.node
    for node in nodes:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == first.output[0]:
                    names[place] = scan.input[0]
                elif name == last.input[0]:
                    names[place] = scan.output[0]
    weights = [one for one in body.initializer if one.name != "first_axis"]
    flat.graph.initializer.extend(weights)
    place = list(flat.graph.node).index(scan)
    for offset, node in enumerate(nodes):
        flat.graph.node.insert(place + 1 + offset, node)
    del flat.graph.node[place]
    return flat
