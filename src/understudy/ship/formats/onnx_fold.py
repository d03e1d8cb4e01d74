"""Arithmetic on constants, done once when a file is written instead of at every picture.

- Pixels are normalised by `(pixels / 255 - mean) / std` before the first convolution. The factor
  goes into its weights. The offset goes into its bias where it pads nothing; where it pads with
  zeros, these zeros are pixels of exactly the mean, so that the mean alone is still subtracted.
- The mean over a picture's rows and columns becomes GlobalAveragePool: the same numbers, but one
  that ONNX Runtime computes in the layout of its convolutions.

All on an onnx_ir model, in place. Each gives how often it found something to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

_AFFINE: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]]
_AFFINE = {  # x * factor + offset, followed by an operator with a constant: the new pair
    "Add": lambda factor, offset, constant: (factor, offset + constant),
    "Sub": lambda factor, offset, constant: (factor, offset - constant),
    "Mul": lambda factor, offset, constant: (factor * constant, offset * constant),
    "Div": lambda factor, offset, constant: (factor / constant, offset / constant),
}


def fold(model: ir.Model) -> dict[str, int]:
    """Do all of it. Gives the number of places of each kind."""
    done = {
        "folded_normalisations": fold_normalisation(model),
        "global_average_pools": pool_globally(model),
    }
    _drop_unused(model)
    return done


@dataclass
class _Chain:
    """What stands between pixels and a convolution: `source * factor + offset` per channel."""

    source: Any
    factor: np.ndarray
    offset: np.ndarray


def fold_normalisation(model: ir.Model) -> int:
    """Products and sums with constants of a channel, between integer pixels and a convolution."""
    done = 0
    for conv in _nodes(model, "Conv"):
        weight, bias = constant(conv.inputs[1]), _bias(conv)
        if weight is None or bias is None or conv.attributes.get_int("group", 1) != 1:
            continue
        chain = _affine_chain(conv.inputs[0], weight.shape[1])
        if chain is None:
            continue
        across = (1, -1, *[1] * (weight.ndim - 2))
        offset = chain.offset
        source = chain.source
        if _pads(conv) and offset.any():
            source = _subtract(model, conv, source, (-offset / chain.factor).reshape(across))
        else:
            bias = bias + weight.sum(axis=tuple(range(2, weight.ndim))) @ offset
        _set_conv(model, conv, weight * chain.factor.reshape(across), bias)
        conv.replace_input_with(0, source)
        done += 1
    return done


def _affine_chain(value: ir.Value | None, channels: int) -> _Chain | None:
    """The chain that ends at `value`, if it begins at a Cast of integers."""
    steps = []
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "Cast":
            break
        if node.op_type not in _AFFINE or not _is_only_use(value):
            return None
        number = constant(node.inputs[1])
        if number is None or number.size not in (1, channels) or not _is_per_channel(number):
            return None
        steps.append((node.op_type, number.astype(np.float64).reshape(-1)))
        value = node.inputs[0]
    if not steps or value is None or value.producer() is None:
        return None
    factor, offset = np.ones(channels), np.zeros(channels)
    for name, number in reversed(steps):
        factor, offset = _AFFINE[name](factor, offset, number)
    return _Chain(value, factor, offset)


def _is_per_channel(number: np.ndarray) -> bool:
    """One number, or one a channel of pictures: (1, C, 1, 1) or (C, 1, 1)."""
    shape = (1,) * (4 - number.ndim) + number.shape
    return len(shape) == 4 and shape[0] == shape[2] == shape[3] == 1


def _pads(conv: ir.Node) -> bool:
    automatic = conv.attributes.get_string("auto_pad", "NOTSET")
    return automatic.startswith("SAME") or any(conv.attributes.get_ints("pads", ()))


def _subtract(model: ir.Model, conv: ir.Node, source: ir.Value, mean: np.ndarray) -> ir.Value:
    """`source - mean`, shared by all convolutions that want the same of the same pixels."""
    import onnx_ir as ir

    for use in source.uses():
        known = constant(use.node.inputs[1]) if use.node.op_type == "Sub" else None
        if known is not None and np.array_equal(known, mean.astype(np.float32)):
            return use.node.outputs[0]
    node = ir.node("Sub", [source, initializer(model, f"{source.name}_mean", mean)])
    node.outputs[0].name = f"{source.name}_centred"
    model.graph.insert_before(conv, node)
    return node.outputs[0]


def pool_globally(model: ir.Model) -> int:
    """ReduceMean over rows and columns of (N, C, H, W)."""
    import onnx_ir as ir

    done = 0
    for node in _nodes(model, "ReduceMean"):
        axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        given = node.inputs[0]
        if axes is None or given is None or given.shape is None or len(given.shape) != 4:
            continue
        if sorted(axis % 4 for axis in axes.tolist()) != [2, 3]:
            continue
        pool = ir.node("GlobalAveragePool", [given])
        result = pool.outputs[0]
        result.name = f"{node.outputs[0].name}_pooled"
        model.graph.insert_before(node, pool)
        if not node.attributes.get_int("keepdims", 1):
            flat = ir.node("Flatten", [result])
            result = flat.outputs[0]
            result.name = f"{node.outputs[0].name}_flat"
            model.graph.insert_before(node, flat)
        replace(node.outputs[0], result)
        remove(node)
        done += 1
    return done


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The content of a tensor that is known when the file is written."""
    import onnx_ir as ir

    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def initializer(model: ir.Model, name: str, content: np.ndarray) -> ir.Value:
    """A new constant of the file, in float32."""
    import onnx_ir as ir

    known = model.graph.initializers
    while name in known:
        name += "_"
    tensor = ir.tensor(np.ascontiguousarray(content, dtype=np.float32), name=name)
    kind, shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
    value = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
    known[name] = value
    return value


def replace(old: ir.Value, new: ir.Value) -> None:
    """Let everything that read `old`, the graph's outputs too, read `new`."""
    import onnx_ir as ir

    if old.is_graph_output():
        new.name, old.name = old.name, f"{old.name}_before"
    new.shape = old.shape or new.shape
    new.type = old.type or new.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def remove(node: ir.Node) -> None:
    assert node.graph is not None
    node.graph.remove(node, safe=True)


def _nodes(model: ir.Model, kind: str) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == kind and node.domain == ""]


def _is_only_use(value: ir.Value) -> bool:
    return len(value.uses()) == 1 and not value.is_graph_output()


def _bias(conv: ir.Node) -> np.ndarray | None:
    """The bias of a convolution, zeros where it has none, None where it is not known."""
    weight = constant(conv.inputs[1])
    if len(conv.inputs) < 3 or conv.inputs[2] is None:
        return None if weight is None else np.zeros(weight.shape[0])
    return constant(conv.inputs[2])


def _set_conv(model: ir.Model, conv: ir.Node, weight: np.ndarray, bias: np.ndarray) -> None:
    """Give a convolution new numbers; those that others hold already are shared."""
    given = conv.inputs[1]
    assert given is not None
    conv.resize_inputs(3)
    for place, part, content in ((1, "weight", weight), (2, "bias", bias)):
        content = np.asarray(content, np.float32)
        name = f"{given.name}_folded_{part}"
        known = model.graph.initializers.get(name)
        held = constant(known)
        same = held is not None and np.array_equal(held, content)
        conv.replace_input_with(place, known if same else initializer(model, name, content))


def _drop_unused(model: ir.Model) -> None:
    from onnx_ir.passes import common

    common.RemoveUnusedNodesPass()(model)
