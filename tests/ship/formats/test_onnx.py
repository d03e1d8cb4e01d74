"""ONNX files equal their models, and each rewrite equals what it replaces."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from small_models import built, clip, length_of, swept
from understudy.models import list_models
from understudy.ship.formats import onnx as exporter
from understudy.ship.formats.onnx_modules import FixedQueryPool, TokenRows, rewritten
from understudy.ship.graphs import Graph, graphs_of

TOLERANCE = 1e-4
# Tokens in rows and a fixed query; 3-D convolutions; a recurrent state.
SAMPLE = ["mobilevit-xxs", "rvit"]


def export_and_load(graph: Graph, path: Path):
    notes = exporter.export(graph, path)
    entry = {
        side: [spec.to_json() for spec in getattr(graph, side)] for side in ("inputs", "outputs")
    }
    return notes, exporter.open_session(path, entry, 1)


def inputs_of(graph: Graph, batch: int) -> list[Tensor]:
    """Clips of coarse colour, lengths that differ, and a state after a few frames."""
    frames = clip(batch, 3 + graph.frames)
    if graph.kind == "clip":
        values = [frames[:, : graph.frames].flatten(0, 1)]
        if graph.frames > 1:
            lengths = [graph.frames, 1, graph.frames // 2 + 1]
            values.append(torch.tensor(lengths[:batch], dtype=torch.int32))
        return values
    state = list(graph.example(batch)[1:])
    with torch.inference_mode():
        for frame in frames.unbind(1)[:3]:
            state = list(graph.module(frame, *state)[2:])
    return [frames[:, 3], *state]


def worst(expected, given) -> float:
    """The largest difference, relative to the largest value of its tensor or to 1."""
    differences = []
    for one, other in zip(expected, given, strict=True):
        one, other = (torch.as_tensor(part).double() for part in (one, other))
        assert one.shape == other.shape
        differences.append(float((one - other).abs().max() / one.abs().max().clamp(min=1)))
    return max(differences)


def check(graph: Graph, folder: Path) -> dict:
    import onnx

    path = folder / f"{graph.kind}.onnx"
    notes, session = export_and_load(graph, path)
    for batch in (1, 3):
        values = inputs_of(graph, batch)
        with torch.inference_mode():
            expected = graph.module(*values)
        assert worst(expected, session([value.numpy() for value in values])) < TOLERANCE
    content = onnx.load(str(path)).graph
    for specs, tensors in ((graph.inputs, content.input), (graph.outputs, content.output)):
        assert [tensor.name for tensor in tensors] == [spec.name for spec in specs]
        for spec, tensor in zip(specs, tensors, strict=True):
            dims = tensor.type.tensor_type.shape.dim
            assert len(dims) == len(spec.shape) <= 4
            assert dims[0].dim_value == 0, "the batch is fixed"
            assert tuple(dim.dim_value for dim in dims[1:]) == spec.shape[1:]
    assert notes["opset"] >= 18
    return notes


def test_a_file_gives_what_the_model_gives(tmp_path):
    model = built("frames-attention")
    _, step = graphs_of(model, length_of(model))
    assert check(step, tmp_path).keys() == {"opset"}


@pytest.mark.parametrize("name", swept(list_models(), SAMPLE))
def test_every_model_gives_in_its_files_what_it_gives_in_pytorch(name, tmp_path):
    model = built(name)
    graphs = graphs_of(model, length_of(model))
    assert graphs
    for graph in graphs:
        assert check(graph, tmp_path).keys() == {"opset"}


@pytest.mark.parametrize("name", ["mobilevit-xxs", "frames-attention", "frames-tcn", "c3d-mc5"])
def test_rewritten_modules_give_the_same_and_leave_the_model_alone(name):
    model = built(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    kinds = {type(module) for module in model.modules()}
    for graph in graphs_of(model, length_of(model)):
        module = rewritten(graph)
        values = inputs_of(graph, 3)
        with torch.inference_mode():
            assert worst(graph.module(*values), module(*values)) < 1e-5
        assert not any(hasattr(one, "parametrizations") for one in module.modules())
        found = {type(one) for one in module.modules()}
        assert (FixedQueryPool in found) == (name in ("mobilevit-xxs", "frames-attention"))
        assert (TokenRows in found) == (name == "mobilevit-xxs")
    assert {type(module) for module in model.modules()} == kinds
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())


@pytest.mark.parametrize("side", [8, 14, 7])
def test_rows_of_tokens_are_a_mobilevit_block(side):
    """7 is no multiple of the patch: the map is resized, as in the original."""
    import timm
    from timm.models.mobilevit import MobileVitBlock

    torch.manual_seed(0)
    network = timm.create_model("mobilevit_xxs").eval()
    block = network.get_submodule("stages.2.1")
    assert isinstance(block, MobileVitBlock)
    pictures = torch.randn(2, 48, side, side)
    with torch.inference_mode():
        assert worst([block(pictures)], [TokenRows(block)(pictures)]) < 1e-5


@pytest.mark.parametrize("positions", [True, False])
def test_a_pool_whose_query_is_fixed_looks_at_the_latest_frames_alike(positions):
    from understudy.models.temporal import AttentionPool

    torch.manual_seed(0)
    pool = AttentionPool(16, heads=2, dropout=0.0, positions=positions, window=4).eval()
    nn.init.normal_(pool.attention.in_proj_bias)
    nn.init.normal_(pool.attention.out_proj.bias)
    fixed = FixedQueryPool(pool)
    tokens = torch.randn(3, 7, 16)
    mask = torch.arange(7) < torch.tensor([7, 1, 5])[:, None]
    with torch.inference_mode():
        assert worst([pool(tokens, mask)], [fixed(tokens, mask)]) < 1e-5
        state = others = pool.init_state(3, 16, tokens)
        for token in tokens.unbind(1):
            given, state = pool.step(token, state)
            other, others = fixed.step(token, others)
            assert worst([given], [other]) < 1e-5
            assert all(map(torch.equal, state, others))


def test_the_same_run_gives_the_same_file(tmp_path):
    model = built("frames-average")
    graph = graphs_of(model, length_of(model))[0]
    for name in ("one.onnx", "two.onnx"):
        exporter.export(graph, tmp_path / name)
    content = (tmp_path / "one.onnx").read_bytes()
    assert content == (tmp_path / "two.onnx").read_bytes()
    assert b"understudy" not in content, "paths of the machine that exported it"


def test_pictures_are_pooled_in_the_layout_of_convolutions(tmp_path):
    import onnx

    model = built("mobilenetv3")
    exporter.export(graphs_of(model, length_of(model))[0], tmp_path / "clip.onnx")
    kinds = {node.op_type for node in onnx.load(str(tmp_path / "clip.onnx")).graph.node}
    assert "GlobalAveragePool" in kinds
    assert "ReduceMean" not in kinds
