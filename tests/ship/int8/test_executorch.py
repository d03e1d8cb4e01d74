"""INT8 for ExecuTorch: each scheme quantises what it says, and callers notice nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from small_models import CLASSES, build, clip, swept
from understudy.ship.formats import executorch as exporter
from understudy.ship.graphs import Graph, clip_graph, step_graph
from understudy.ship.int8 import Job, Unsuitable
from understudy.types import Output, StreamingRecognizer

FRAMES = 3


def inputs(seed: int) -> list[np.ndarray]:
    return [clip(1, FRAMES, seed)[0].numpy(), np.array([FRAMES], dtype=np.int32)]


@pytest.fixture(scope="module")
def graph() -> Graph:
    pytest.importorskip("executorch")
    return clip_graph(build("cnn-plain").eval(), FRAMES)


@pytest.fixture(scope="module")
def float_file(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("float") / "clip.pte"
    exporter.export(graph, path)
    return path


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("static", marks=pytest.mark.slow),
        "dynamic",
    ],
)
def test_an_int8_file_takes_and_gives_what_the_float_file_does(
    name: str, graph: Graph, float_file: Path, tmp_path: Path
) -> None:
    from understudy.ship.int8.executorch import SCHEMES

    path = tmp_path / "clip.pte"
    notes = SCHEMES[name](Job(graph, float_file, {}, [inputs(seed) for seed in range(4)], path))
    given = exporter.open_session(path, notes, 1)(inputs(99))
    expected = exporter.open_session(float_file, {}, 1)(inputs(99))
    for array, other, spec in zip(given, expected, graph.outputs, strict=True):
        assert (str(array.dtype), array.shape) == (spec.dtype, spec.shape)
        off = np.abs(array - other).max()
        assert 0 < off < 0.15 * max(1.0, np.abs(other).max()), "not quantised at all, or badly"
    # Convolutions hold most of the weights: in INT8 they take a quarter of the room.
    smaller = path.stat().st_size < float_file.stat().st_size - 8000
    assert smaller == (name != "dynamic")


@pytest.mark.parametrize("name", swept(["static", "dynamic"], ["static"]))
def test_masks_and_counts_of_a_stream_stay_as_they_are(name: str, tmp_path: Path) -> None:
    """The quantiser would observe booleans, and make a float of a count that has 1 added."""
    pytest.importorskip("executorch")
    from understudy.ship.int8.executorch import SCHEMES

    model = build("frames-attention").eval()
    assert isinstance(model, StreamingRecognizer)
    graph = step_graph(model)
    pixels = clip(1, 6, seed=3)[0]
    begin = [np.zeros(spec.shape, dtype=spec.dtype) for spec in graph.inputs[1:]]
    seen = [[one[None].numpy(), *begin] for one in clip(1, 4, seed=4)[0]]
    notes = SCHEMES[name](Job(graph, tmp_path / "float.pte", {}, seen, tmp_path / "step.pte"))
    session = exporter.open_session(tmp_path / "step.pte", notes, 1)
    ours, theirs = [torch.from_numpy(one) for one in begin], begin
    for frame in pixels:
        with torch.inference_mode():
            expected = graph.module(frame[None], *ours)
        given = session([frame[None].numpy(), *theirs])
        ours, theirs = list(expected[2:]), given[2:]
        for spec, array, tensor in zip(graph.outputs, given, expected, strict=True):
            assert (str(array.dtype), array.shape) == (spec.dtype, spec.shape)
            if spec.dtype != "float32":
                np.testing.assert_array_equal(array, tensor.numpy(), err_msg=spec.name)
        logits = expected[0].numpy()
        assert np.abs(given[0] - logits).max() < 0.15 * max(1.0, np.abs(logits).max())


class Pixels(nn.Module):
    """Nothing to quantise: no layer of any kind."""

    input_size, clip_frames = 8, None

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        mean = frames.float().mean((1, 3, 4))
        return Output(mean.repeat(1, 2)[:, :CLASSES], mean)


def test_a_graph_without_layers_is_unsuitable(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    from understudy.ship.int8.executorch import SCHEMES

    idle = clip_graph(Pixels().eval(), FRAMES)  # pyright: ignore[reportArgumentType]
    for scheme in SCHEMES.values():
        with pytest.raises(Unsuitable, match="no layer"):
            scheme(Job(idle, tmp_path / "a.pte", {}, [], tmp_path / "b.pte"))
    assert torch.is_inference_mode_enabled() is False
