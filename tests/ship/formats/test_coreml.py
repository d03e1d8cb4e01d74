"""Core ML packages: the program before conversion gives what the model gives, and the package is
the graph. Executing one takes an Apple machine, so no test here does."""

from pathlib import Path

import pytest
import torch

from small_models import built, clip, length_of, swept
from understudy.errors import UserError
from understudy.models import list_models
from understudy.ship.formats import coreml
from understudy.ship.formats.coreml_rewrites import SMALLEST_DIVISOR, floats, program_of
from understudy.ship.graphs import Graph, TensorSpec, graphs_of
from understudy.types import parameter_count

pytest.importorskip("coremltools")

# Between them they need every rewrite of a program.
SAMPLE = ["c3d-sp", "frames-attention", "rvit-image"]


def graphs(name: str) -> dict[str, Graph]:
    model = built(name)
    return {graph.kind: graph for graph in graphs_of(model, length_of(model))}


def converts(graph: Graph, path: Path) -> dict:
    notes = coreml.export(graph, path)
    assert notes["checked"]["spec"]
    assert notes["checked"]["executed"] is False
    assert notes["checked"]["exported_program_difference"] <= 1e-5
    for side, specs in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        assert [one["name"] for one in notes[side]] == [spec.name for spec in specs]
        assert [tuple(one["shape"]) for one in notes[side]] == [spec.shape for spec in specs]
        assert {one["dtype"] for one in notes[side]} <= {"float32", "int32"}
        assert all(len(one["shape"]) <= 4 for one in notes[side])
    assert parameter_count(graph.model) / 2 <= notes["constants"]
    return notes


@pytest.mark.parametrize(("name", "kind"), [("cnn-attention", "step"), ("frames-gru", "clip")])
def test_a_graph_becomes_a_package(name: str, kind: str, tmp_path: Path, capfd) -> None:
    converts(graphs(name)[kind], tmp_path / f"{kind}.mlpackage")
    assert capfd.readouterr() == ("", "")


def test_the_list_of_slow_conversions_is_every_model() -> None:
    assert len(list_models()) >= 16
    assert all({"clip", "step"} == set(graphs(name)) for name in ("rvit", "c3d", "cnn-plain"))


@pytest.mark.parametrize("name", swept(list_models(), SAMPLE))
def test_every_model_becomes_a_package(name: str, tmp_path: Path) -> None:
    for kind, graph in graphs(name).items():
        converts(graph, tmp_path / f"{kind}.mlpackage")


@pytest.mark.parametrize("name", ["c3d", "cnn-plain", "frames-attention", "frames-tcn", "rvit"])
def test_a_stream_through_the_rewritten_program_is_the_models(name: str) -> None:
    graph = graphs(name)["step"]
    program = program_of(graph).module(check_guards=False)
    mine = state = tuple(spec.zeros() for spec in graph.inputs[1:])
    mine = floats(mine)
    for frame in clip(1, 7, seed=3)[0]:
        with torch.inference_mode():
            expected, given = graph.module(frame[None], *state), program(frame[None].float(), *mine)
        for one, other in zip(expected, given, strict=True):
            torch.testing.assert_close(other.float(), one.float(), rtol=1e-5, atol=1e-5)
        state, mine = expected[2:], given[2:]


@pytest.mark.parametrize("name", ["frames-gru", "frames-attention", "rvit-image"])
def test_lengths_count_in_the_rewritten_program(name: str) -> None:
    graph = graphs(name)["clip"]
    program = program_of(graph).module(check_guards=False)
    frames = clip(1, graph.frames, seed=4)[0]
    answers = []
    for length in (1, graph.frames - 1, graph.frames):
        lengths = torch.tensor([length], dtype=torch.int32)
        with torch.inference_mode():
            expected, given = graph.module(frames, lengths), program(frames.float(), lengths)
        torch.testing.assert_close(given[0], expected[0], rtol=1e-5, atol=1e-5)
        answers.append(given[0])
    assert not torch.equal(answers[0], answers[2])


def test_divisors_that_float16_would_make_zero_are_raised() -> None:
    graph = graphs("rvit")["step"]
    bounds = [
        node.args[1]
        for node in program_of(graph).graph.nodes
        if node.target is torch.ops.aten.clamp_min.default
    ]
    assert bounds
    assert set(bounds) == {SMALLEST_DIVISOR}
    assert float(torch.tensor(SMALLEST_DIVISOR).half()) == SMALLEST_DIVISOR
    assert float(torch.tensor(torch.finfo(torch.float32).tiny).half()) == 0


def test_a_running_mean_is_computed_in_float32(tmp_path: Path) -> None:
    import coremltools

    coreml.export(graphs("cnn-plain")["step"], tmp_path / "step.mlpackage")
    spec = coremltools.utils.load_spec(str(tmp_path / "step.mlpackage"))
    (function,) = spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    types = {operation.type: [] for operation in block.operations}
    for operation in block.operations:
        types[operation.type].append(operation.outputs[0].type.tensorType.dataType)
    float16, float32 = 10, 11
    assert types["real_div"] == [float32]
    assert float32 in types["add"]
    assert set(types["conv"]) == {float16}


def test_a_package_that_is_not_the_graph_is_refused(tmp_path: Path) -> None:
    graph = graphs("cnn-plain")["step"]
    path = tmp_path / "step.mlpackage"
    notes = coreml.export(graph, path)

    def specs(side: str) -> list[TensorSpec]:
        return [TensorSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in notes[side]]

    inputs, outputs = specs("inputs"), specs("outputs")
    assert coreml.check_package(path, inputs, outputs, 1) == notes["constants"]
    with pytest.raises(coreml.ConversionError, match="inputs"):
        coreml.check_package(path, inputs[:-1], outputs, 1)
    with pytest.raises(coreml.ConversionError, match="outputs"):
        coreml.check_package(path, inputs, outputs[::-1], 1)
    with pytest.raises(coreml.ConversionError, match="weights are missing"):
        coreml.check_package(path, inputs, outputs, 3 * notes["constants"])


def test_it_says_that_it_is_not_executed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not execute"):
        coreml.open_session(tmp_path / "clip.mlpackage", {}, None)
    assert coreml.RUNS_HERE is False
