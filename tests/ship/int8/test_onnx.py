"""Quantisation schemes for ONNX files: what they leave of the weights and of the logits."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from small_models import build, clip, length_of
from understudy.ship.formats import FORMATS
from understudy.ship.graphs import graphs_of
from understudy.ship.int8 import Job, Unsuitable, schemes_of

ENTRY = {"inputs": [{"name": "x"}], "outputs": [{"name": "logits"}]}
FEATURES = 64
WIDER = {"rvit": {"dim": 128, "mlp_dim": 256}}


class Masked(nn.Module):
    """Two layers and a softmax over some of their outputs, the others masked out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.second(torch.relu(self.first(x)))
        masked = torch.arange(FEATURES) >= FEATURES // 2
        return scores.masked_fill(masked, float("-inf")).softmax(dim=1)


class Weightless(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) * 2


def write(module: nn.Module, path: Path) -> list[list[np.ndarray]]:
    """Export a module of (1, FEATURES) and give inputs to calibrate with."""
    torch.manual_seed(0)
    example = torch.randn(1, FEATURES)
    torch.onnx.export(
        module.eval(),
        (example,),
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=["x"],
        output_names=["logits"],
    )
    return [
        [np.random.default_rng(n).normal(size=(1, FEATURES)).astype("float32")] for n in range(9)
    ]


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[np.ndarray]]]:
    path = tmp_path_factory.mktemp("masked") / "masked.onnx"
    torch.manual_seed(1)
    return path, write(Masked(), path)


def quantised(name: str, path: Path, calibration: Any, out: Path) -> Any:
    job = Job(None, path, ENTRY, calibration, out)  # type: ignore[arg-type]
    schemes_of("onnx")[name](job)
    return FORMATS["onnx"].open_session(out, ENTRY, 1)


@pytest.mark.parametrize("name", schemes_of("onnx"))
def test_weights_are_whole_numbers_and_outputs_stay(name: str, masked: Any, tmp_path: Path) -> None:
    path, calibration = masked
    session = quantised(name, path, calibration, tmp_path / "int8.onnx")
    model = onnx.load(str(tmp_path / "int8.onnx"))
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 2}
    float_ = FORMATS["onnx"].open_session(path, ENTRY, 1)
    for inputs in calibration:
        (expected,), (given,) = float_(inputs), session(inputs)
        assert np.abs(given - expected).max() < 0.02
        # What attention must not see, it does not see: not a little of it either.
        assert not given[0, FEATURES // 2 :].any()
    wide = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) >= FEATURES**2]
    assert len(wide) == 2
    assert {tensor.data_type for tensor in wide} == {onnx.TensorProto.INT8}, kinds
    assert [file.name for file in tmp_path.iterdir()] == ["int8.onnx"]


def test_a_graph_without_weights_is_unsuitable(tmp_path: Path) -> None:
    calibration = write(Weightless(), tmp_path / "float.onnx")
    for name in schemes_of("onnx"):
        with pytest.raises(Unsuitable, match="with constant weights"):
            quantised(name, tmp_path / "float.onnx", calibration, tmp_path / "int8.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["frames-average", "rvit"])
def test_files_of_models_stay_near_their_float_files(name: str, tmp_path: Path) -> None:
    # The smallest rvit has 10,000 weights under 661 nodes, and notes on nodes are what grows.
    model = build(name, **WIDER.get(name, {})).eval()
    graph = graphs_of(model, length_of(model))[0]
    path, out = tmp_path / "clip.onnx", tmp_path / "int8.onnx"
    sides = {"inputs": graph.inputs, "outputs": graph.outputs}
    entry = {side: [spec.to_json() for spec in specs] for side, specs in sides.items()}
    entry |= FORMATS["onnx"].export(graph, path)
    lengths = np.array([graph.frames], np.int32)
    calibration = [[pixels.numpy(), lengths] for pixels in clip(4, graph.frames, seed=3)]
    float_ = FORMATS["onnx"].open_session(path, entry, 1)
    expected = np.concatenate([float_(inputs)[0] for inputs in calibration])
    for scheme in schemes_of("onnx").values():
        scheme(Job(graph, path, entry, calibration, out))
        session = FORMATS["onnx"].open_session(out, entry, 1)
        given = np.concatenate([session(inputs)[0] for inputs in calibration])
        a, b = (one - one.mean(axis=1, keepdims=True) for one in (expected, given))
        assert (a * b).sum() > 0.9 * np.sqrt((a * a).sum() * (b * b).sum())
        assert out.stat().st_size < path.stat().st_size
