"""ONNX files equal their models, and each rewrite equals what it replaces."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from small_models import built, clip, length_of, swept
from understudy.models import list_models
from understudy.models.frames import FramesRecognizer
from understudy.models.layers import Normalize
from understudy.ship.formats import onnx as form
from understudy.ship.formats import onnx_form
from understudy.ship.formats.onnx_fold import fold
from understudy.ship.formats.onnx_modules import FixedQueryPool, TokenRows, rewritten
from understudy.ship.graphs import Graph, graphs_of

TOLERANCE = 1e-4
# Tokens in rows and a fixed query; 3-D convolutions; a recurrent state.
SAMPLE = ["mobilevit-xxs", "c3d-sp", "rvit"]


def export_and_load(graph: Graph, path: Path):
    notes = form.export(graph, path)
    entry = {
        side: [spec.to_json() for spec in getattr(graph, side)] for side in ("inputs", "outputs")
    }
    return notes, form.open_session(path, entry, 1)


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
        notes = check(graph, tmp_path)
        by_frame = graph.kind == "clip" and isinstance(model, FramesRecognizer)
        assert ("form" in notes) == ("form_ratio" in notes) == by_frame


@pytest.mark.parametrize("name", ["mobilevit-xxs", "frames-attention", "frames-tcn", "c3d-mc5"])
def test_rewritten_modules_give_the_same_and_leave_the_model_alone(name):
    model = built(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    kinds = {type(module) for module in model.modules()}
    for graph in graphs_of(model, length_of(model)):
        module = rewritten(graph.module)
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


class Pixels(nn.Module):
    def __init__(self, mean: float, padding: int) -> None:
        super().__init__()
        self.normalize = Normalize((mean, 0.4, 0.3 if mean else 0.0), (0.2, 0.3, 0.1))
        if not mean:
            self.normalize.mean.zero_()
        self.conv = nn.Conv2d(3, 4, 3, padding=padding, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        return self.conv(self.normalize(frames)).mean((2, 3))


@pytest.mark.parametrize(
    ("mean", "padding", "left"),
    [(0.5, 1, ["Cast", "Sub"]), (0.5, 0, ["Cast"]), (0.0, 1, ["Cast"])],
)
def test_normalisation_goes_into_the_first_convolution_up_to_the_border(mean, padding, left):
    torch.manual_seed(0)
    module = Pixels(mean, padding).eval()
    pixels = torch.randint(0, 256, (2, 3, 6, 6), dtype=torch.uint8)
    model = form._trace(module, (pixels,), [1], ["frames"], ["out"])
    assert fold(model) == {"folded_normalisations": 1, "global_average_pools": 1}
    kinds = [node.op_type for node in model.graph]
    assert kinds == [*left, "Conv", "GlobalAveragePool", "Flatten"]
    session = form._session(ir.to_proto(model).SerializeToString(), 1)
    with torch.inference_mode():
        expected = module(pixels)
    # Pictures so small that the border is most of them.
    assert worst([expected], session.run(None, {"frames": pixels.numpy()})) < 1e-6


def test_both_forms_of_a_clip_give_the_same_and_one_becomes_the_other():
    model = built("frames-average")
    graph = graphs_of(model, 6)[0]
    encoder, head = form._parts(graph)
    given = [value.numpy() for value in inputs_of(graph, 3)]
    forms = {name: onnx_form.join(encoder, head, name) for name in ("batched", "framewise")}
    assert [node.op_type for node in forms["framewise"].graph.node].count("Scan") == 1
    flat = onnx_form.unscanned(forms["framewise"])
    assert not any(node.op_type == "Scan" for node in flat.graph.node)
    assert onnx_form.unscanned(forms["batched"]) is forms["batched"]
    with torch.inference_mode():
        expected = graph.module(*inputs_of(graph, 3))
    for one in (*forms.values(), flat):
        session = form._session(one.SerializeToString(), 1)
        assert (
            worst(expected, session.run(None, dict(zip(("frames", "lengths"), given, strict=True))))
            < 1e-5
        )


def test_the_race_is_won_by_the_shorter_time_with_a_margin(monkeypatch):
    clock = iter(np.cumsum(np.ones(10_000)))
    monkeypatch.setattr(onnx_form.time, "perf_counter", lambda: next(clock))
    assert onnx_form.race(lambda: None, lambda: None) == ("batched", 1.0)

    def slowly():
        next(clock)

    assert onnx_form.race(slowly, lambda: None) == ("framewise", 0.5)
    assert onnx_form.race(lambda: None, slowly) == ("batched", 2.0)
