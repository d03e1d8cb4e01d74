"""INT8 for ExecuTorch: the graph is quantised before it is lowered, with XNNPACK's own quantiser.

A static file holds whole numbers from the first convolution to the last; its ranges are those of
the calibration clips. A dynamic one holds them in its linear layers alone, whose inputs get their
range as they come. The boundary stays that of the float file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from understudy.ship.formats.executorch import lower, program_of, quietly_lowering
from understudy.ship.int8 import Job, Scheme, Unsuitable

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node


def static(job: Job) -> dict[str, Any]:
    """Weights per channel and activations: convolutions, linear layers and what joins pictures."""
    return _quantised(job, lambda node: _is_linear(node) or _is_of_pictures(node), dynamic=False)


def dynamic(job: Job) -> dict[str, Any]:
    """Linear layers alone, the ranges of their inputs measured as they come: no calibration."""
    return _quantised(job, _is_linear, dynamic=True)


SCHEMES: dict[str, Scheme] = {"static": static, "dynamic": dynamic}
"""In the order in which they are tried."""


def _quantised(job: Job, chosen: Callable[[Node], bool], *, dynamic: bool) -> dict[str, Any]:
    with quietly_lowering():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e import move_exported_model_to_eval
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

        class OfFloats(XNNPACKQuantizer):
            """Without two of its habits: it turns the 1 of `count + 1` into a float, and so the
            sum; and it joins booleans as if they had a range."""

            def transform_for_annotation(self, model: GraphModule) -> GraphModule:
                return model

            def annotate(self, model: GraphModule) -> GraphModule:
                for node in super().annotate(model).graph.nodes:
                    if not all(map(_is_float, [node, *node.all_input_nodes])):
                        node.meta.pop(Q_ANNOTATION_KEY, None)
                return model

        config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=dynamic)
        quantizer = OfFloats().set_global(config)
        # It is asked about weights too, and leaves a layer out for whose weight the answer is no.
        quantizer.set_filter_function(lambda node: node.op != "call_function" or chosen(node))
        module = program_of(job.graph).module()
        assert isinstance(module, torch.fx.GraphModule)
        _refuse_if_idle(module, chosen)
        example = job.graph.example(1)
        # A dynamic one must have run once.
        seen = [example] if dynamic else [map(torch.from_numpy, one) for one in job.calibration]
        with torch.no_grad():
            prepared = prepare_pt2e(module, quantizer)
            move_exported_model_to_eval(prepared)
            for inputs in seen:
                prepared(*inputs)
            program = torch.export.export(convert_pt2e(prepared), example)
        return lower(program, job.out_path) | {"calibration": 0 if dynamic else len(seen)}


def _refuse_if_idle(module: GraphModule, chosen: Callable[[Node], bool]) -> None:
    """Raises Unsuitable for a graph without any layer that a scheme quantises."""
    heavy = (node for node in module.graph.nodes if node.target in (_CONVOLUTION, _LINEAR))
    if not any(map(chosen, heavy)):
        raise Unsuitable("the graph holds no layer of the kind that this scheme quantises")


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _is_linear(node: Node) -> bool:
    """A linear layer, and not the product with a row of equal numbers that stands for a mean."""
    return node.target == _LINEAR and node.meta["val"].shape[-1] > 1


def _is_of_pictures(node: Node) -> bool:
    """A convolution, or what adds, multiplies or pools its output.

    Not what is done to tokens: masks hold minus infinity, and a LayerNorm squares.
    """
    if node.target == _CONVOLUTION:
        return True
    return node.target in _POINTWISE and any(map(_is_of_pictures, node.all_input_nodes))


_CONVOLUTION = torch.ops.aten.conv2d.default
_LINEAR = torch.ops.aten.linear.default
_POINTWISE = {
    torch.ops.aten.add.Tensor,
    torch.ops.aten.mul.Tensor,
    torch.ops.aten.cat.default,
    torch.ops.aten.relu.default,
    torch.ops.aten.silu.default,
    torch.ops.aten.sigmoid.default,
    torch.ops.aten.hardswish.default,
    torch.ops.aten.hardtanh.default,
    torch.ops.aten.clamp.default,
    torch.ops.aten.adaptive_avg_pool2d.default,
}
