"""LiteRT files give what their models give, to whoever opens them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from small_models import OPTIONS, built, clip, length_of, swept
from understudy.ship.formats import litert
from understudy.ship.graphs import Graph, graphs_of

pytest.importorskip("ai_edge_litert", reason="needs the extra litert")
pytest.importorskip("litert_torch", reason="needs the extra litert")

TOLERANCE = 1e-4

QUICK = [("cnn-plain", "clip")]
# Between them they need every rewrite: 3-D convolutions, bytes compared, splits into one part.
SAMPLE = [("c3d-sp", "step"), ("rvit-image", "clip"), ("frames-gru", "clip")]

every_graph = pytest.mark.parametrize(
    ("name", "kind"),
    swept([(name, kind) for name in OPTIONS for kind in ("clip", "step")], SAMPLE, QUICK),
)


def graph_of(name: str, kind: str) -> Graph:
    model = built(name)
    return next(graph for graph in graphs_of(model, length_of(model)) if graph.kind == kind)


def entry_of(graph: Graph) -> dict[str, Any]:
    return {
        "inputs": [spec.to_json() for spec in graph.inputs],
        "outputs": [spec.to_json() for spec in graph.outputs],
    }


def clips_of(graph: Graph) -> list[list[Tensor]]:
    """Inputs of a clip graph: clips of several lengths."""
    if graph.frames == 1:
        return [[clip(1, 1, seed)[0]] for seed in range(3)]
    lengths = (graph.frames, 1, 2, graph.frames - 1)
    return [
        [clip(1, graph.frames, seed)[0], torch.tensor([length], dtype=torch.int32)]
        for seed, length in enumerate(lengths)
    ]


def difference(given: list[np.ndarray], expected: tuple[Tensor, ...]) -> float:
    """The largest, of every output, relative to the output's largest value or to 1."""
    worst = 0.0
    for ours, theirs in zip(given, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.numpy().dtype
        scale = max(1.0, float(theirs.abs().max()))
        worst = max(worst, float(np.abs(ours.astype(float) - theirs.numpy()).max()) / scale)
    return worst


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    folder = tmp_path_factory.mktemp("litert")

    def write(name: str, kind: str) -> Path:
        path = folder / f"{name}.{kind}.tflite"
        if not path.exists():
            litert.export(graph_of(name, kind), path)
        return path

    return write


def test_the_sweep_covers_clip_and_step_of_every_model() -> None:
    kinds = {name: [graph.kind for graph in graphs_of(built(name), 16)] for name in OPTIONS}
    assert len(kinds) >= 16
    assert all(found == ["clip", "step"] for found in kinds.values())


@every_graph
def test_a_file_gives_what_its_graph_gives(
    name: str, kind: str, exported: Callable[[str, str], Path]
) -> None:
    graph = graph_of(name, kind)
    session = litert.open_session(exported(name, kind), entry_of(graph), 1)
    with torch.inference_mode():
        if kind == "clip":
            for inputs in clips_of(graph):
                given = session([tensor.numpy() for tensor in inputs])
                assert difference(given, graph.module(*inputs)) <= TOLERANCE
            return
        # Each keeps its own state, so that a file that drifts, or forgets, shows.
        ours = [spec.zeros().numpy() for spec in graph.inputs[1:]]
        theirs = [spec.zeros() for spec in graph.inputs[1:]]
        logits = []
        for frame in clip(1, 20, seed=3)[0].split(1):
            expected = graph.module(frame, *theirs)
            given = session([frame.numpy(), *ours])
            assert difference(given, expected) <= TOLERANCE
            ours, theirs = given[2:], list(expected[2:])
            logits.append(given[0])
        assert np.abs(np.diff(logits, axis=0)).max() > 1e-3, "its frames all look alike to it"


@every_graph
def test_padding_changes_nothing(
    name: str, kind: str, exported: Callable[[str, str], Path]
) -> None:
    if kind == "step":
        pytest.skip("one frame has no padding")
    graph = graph_of(name, kind)
    session = litert.open_session(exported(name, kind), entry_of(graph), 1)
    frames = clip(1, graph.frames)[0].numpy()
    garbage = frames.copy()
    garbage[2:] = 255 - frames[2:]
    short, whole = np.array([2], np.int32), np.array([graph.frames], np.int32)
    for ours, theirs in zip(session([frames, short]), session([garbage, short]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(session([frames, whole])[0], session([garbage, whole])[0])


def test_a_device_calls_it_by_the_names_of_the_contract(
    exported: Callable[[str, str], Path],
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    for kind in ("clip", "step"):
        graph = graph_of("cnn-plain", kind)
        interpreter = Interpreter(model_path=str(exported("cnn-plain", kind)))
        assert list(interpreter.get_signature_list()) == [litert.SIGNATURE]
        runner = interpreter.get_signature_runner()
        given = {
            key: (str(np.dtype(detail["dtype"])), tuple(detail["shape"]))
            for key, detail in runner.get_input_details().items()
        }
        assert given == {spec.name: (spec.dtype, spec.shape) for spec in graph.inputs}
        example = graph.example(1)
        values = zip((spec.name for spec in graph.inputs), example, strict=True)
        outputs = runner(**{name: value.numpy() for name, value in values})
        assert set(outputs) == {spec.name for spec in graph.outputs}
        with torch.inference_mode():
            expected = graph.module(*example)
        in_order = [outputs[spec.name] for spec in graph.outputs]
        assert difference(in_order, expected) <= TOLERANCE


def test_the_fast_kernels_are_in_use(exported: Callable[[str, str], Path]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(exported("cnn-plain", "clip")))
    before = {op["op_name"] for op in interpreter._get_ops_details()}
    interpreter.allocate_tensors()
    after = {op["op_name"] for op in interpreter._get_ops_details()}
    assert after - before == {"DELEGATE"}


def test_exporting_and_loading_say_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    graph = graph_of("cnn-plain", "step")
    litert.export(graph, tmp_path / "step.tflite")
    litert.open_session(tmp_path / "step.tflite", entry_of(graph), 1)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert [file.name for file in tmp_path.iterdir()] == ["step.tflite"]


def test_no_constant_takes_the_place_of_one_that_was_freed() -> None:
    """The converter knows constants by shape and address, and would write another one's numbers."""
    from litert_torch.backend.inline_consts import _ConstantFingerprint

    with litert._constants_kept():
        known = {_ConstantFingerprint.from_tensor(torch.rand(500, 500)) for _ in range(20)}
    assert len(known) == 20
    assert len({_ConstantFingerprint.from_tensor(torch.rand(500, 500)) for _ in range(20)}) < 20


def test_bytes_are_chosen_and_compared_as_integers() -> None:
    from understudy.ship.formats.litert_rewrites import convertible

    class OnBytes(torch.nn.Module):
        def forward(self, mask: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
            (whole,) = pixels.chunk(1, dim=0)
            return torch.where(mask > 0, whole, pixels * 0), whole * 2

    mask = torch.tensor([[1], [0]], dtype=torch.uint8)
    pixels = torch.tensor([[7, 250], [9, 255]], dtype=torch.uint8)
    program = torch.export.export(OnBytes(), (mask, pixels))
    module = convertible(program)
    assert all(map(torch.equal, module(mask, pixels), OnBytes()(mask, pixels)))
    for node in program.graph.nodes:
        assert node.target is not torch.ops.aten.chunk.default
        if node.target in (torch.ops.aten.where.self, torch.ops.aten.gt.Scalar):
            inputs = [one.meta["val"].dtype for one in node.all_input_nodes]
            assert torch.uint8 not in inputs
