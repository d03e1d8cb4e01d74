"""Quantised LiteRT files: the same boundary, about the same answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_models import built, clip, length_of
from understudy.ship.formats import litert
from understudy.ship.graphs import Graph, graphs_of
from understudy.ship.int8 import Job, Unsuitable
from understudy.ship.int8.litert import SCHEMES

pytest.importorskip("ai_edge_quantizer", reason="needs the extra litert")
pytest.importorskip("litert_torch", reason="needs the extra litert")

LEAST_COSINE = {
    "dynamic": 0.98,
    "dynamic, convolutions float": 0.99,
    "static": 0.9,
    "static, convolutions float": 0.9,
}
"""Of the logits, centred over the clips, with those of the FP32 file."""


@pytest.fixture(scope="module")
def quantisable(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Graph, Path, dict[str, Any], list[list[np.ndarray]]]:
    model = built("cnn-plain")
    graph = graphs_of(model, length_of(model))[0]
    path = tmp_path_factory.mktemp("float") / "clip.tflite"
    notes = litert.export(graph, path)
    entry = notes | {
        "inputs": [spec.to_json() for spec in graph.inputs],
        "outputs": [spec.to_json() for spec in graph.outputs],
    }
    lengths = np.array([graph.frames], np.int32)
    calibration = [[frames.numpy(), lengths] for frames in clip(8, graph.frames, seed=3)]
    return graph, path, entry, calibration


@pytest.mark.parametrize("name", SCHEMES)
def test_a_quantised_file_keeps_the_boundary_and_about_the_answers(
    name: str, quantisable: Any, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    graph, path, entry, calibration = quantisable
    capfd.readouterr()
    notes = SCHEMES[name](Job(graph, path, entry, calibration, tmp_path / "clip.tflite"))
    assert notes["quantiser"].startswith("ai-edge-quantizer ")
    ours = litert.open_session(tmp_path / "clip.tflite", entry, 1)
    theirs = litert.open_session(path, entry, 1)
    assert capfd.readouterr() == ("", "")
    given = [ours(values) for values in calibration]
    expected = [theirs(values) for values in calibration]
    for outputs in given:
        assert [str(array.dtype) for array in outputs] == ["float32", "float32"]
    a, b = (np.concatenate([one[0] for one in side]) for side in (given, expected))
    assert not np.array_equal(a, b), "nothing was quantised"
    a, b = a - a.mean(0), b - b.mean(0)
    cosine = float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
    assert cosine > LEAST_COSINE[name]


def test_smaller_files_where_all_weights_are_quantised(quantisable: Any, tmp_path: Path) -> None:
    graph, path, entry, calibration = quantisable
    for name in ("dynamic", "static"):
        SCHEMES[name](Job(graph, path, entry, calibration, tmp_path / "clip.tflite"))
        assert (tmp_path / "clip.tflite").stat().st_size < 0.8 * path.stat().st_size


class Scaling(torch.nn.Module):
    """No weights, nothing to quantise."""

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = frames.to(torch.float32).mean((2, 3))
        return mean * 2, mean


def test_what_has_no_weights_is_unsuitable(quantisable: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    from understudy.ship.graphs import TensorSpec

    graph = replace(
        quantisable[0],
        module=Scaling().eval(),
        inputs=(TensorSpec("frames", "uint8", (1, 3, 8, 8)),),
        outputs=(
            TensorSpec("logits", "float32", (1, 3)),
            TensorSpec("embedding", "float32", (1, 3)),
        ),
    )
    litert.export(graph, tmp_path / "clip.tflite")
    entry = {
        "inputs": [spec.to_json() for spec in graph.inputs],
        "outputs": [spec.to_json() for spec in graph.outputs],
    }
    values = [[tensor.numpy() for tensor in graph.example(1)]]
    for name in SCHEMES:
        with pytest.raises(Unsuitable, match=r"nothing|no 2-D convolutions|cannot"):
            SCHEMES[name](
                Job(graph, tmp_path / "clip.tflite", entry, values, tmp_path / "q.tflite")
            )
