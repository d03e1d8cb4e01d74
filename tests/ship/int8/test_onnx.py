"""Ways of quantising ONNX files: what they leave of the weights and of the logits, and ranges."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from understudy.ship.formats import FORMATS
from understudy.ship.int8 import Unsuitable, recipes_of
from understudy.ship.int8.onnx_fallback import cut, signal_to_noise_db
from understudy.ship.int8.onnx_ranges import Activation, entropy, extremes, percentile

ENTRY = {"inputs": [{"name": "x"}], "outputs": [{"name": "logits"}]}
FEATURES = 64


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
    recipes_of("onnx")[name](None, path, ENTRY, calibration, out)  # type: ignore[arg-type]
    return FORMATS["onnx"].open_session(out, ENTRY, 1)


@pytest.mark.parametrize("name", [n for n in recipes_of("onnx") if "fallback" not in n])
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
    for name in recipes_of("onnx"):
        with pytest.raises(Unsuitable, match=r"no convolution|no matrix|no tensor of weights"):
            quantised(name, tmp_path / "float.onnx", calibration, tmp_path / "int8.onnx")


class Delicate(nn.Module):
    """Of its layers one works on differences far finer than the range of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(FEATURES, FEATURES) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        fine = torch.cat([x[:, :8] * 1e-4, x[:, :1] * 0 + 100], dim=1)
        weight = torch.linspace(-1, 1, 9)[:, None] * torch.linspace(1, 2, 8)[None]
        return (fine @ (weight * torch.tensor([1.0] * 8 + [0.0])[:, None])) * 1e4


@pytest.mark.slow
def test_what_harms_the_logits_stays_float(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    torch.manual_seed(1)
    calibration = write(Delicate(), path)
    float_ = FORMATS["onnx"].open_session(path, ENTRY, 1)
    expected = np.concatenate([float_(inputs)[0] for inputs in calibration])

    def quality_db(name: str) -> float:
        session = quantised(name, path, calibration, tmp_path / "int8.onnx")
        given = np.concatenate([session(inputs)[0] for inputs in calibration])
        return signal_to_noise_db(expected, given)

    assert quality_db("static percentile") < 10
    assert quality_db("static, float fallback") >= 19
    kinds = [
        tensor.data_type for tensor in onnx.load(str(tmp_path / "int8.onnx")).graph.initializer
    ]
    assert onnx.TensorProto.INT8 in kinds


def test_stretches_hold_every_node_once() -> None:
    nodes = [f"n{place}" for place in range(100)]
    for count in (1, 5, 12, 13, 40):
        weighted = nodes[3 : 3 + 2 * count : 2]
        stretches = cut(nodes, weighted)
        assert [name for stretch in stretches for name in stretch] == nodes
        assert len(stretches) == min(12, count)
        counts = [len(set(stretch) & set(weighted)) for stretch in stretches]
        assert max(counts) - min(counts) <= 1


def test_decibels() -> None:
    expected = np.array([[1.0, -1.0], [2.0, -2.0]])
    assert signal_to_noise_db(expected, 1.1 * expected) == pytest.approx(20)
    assert signal_to_noise_db(expected, expected + 7) > 100


def seen(*parts: np.ndarray) -> Activation:
    activation = Activation()
    for part in parts:
        activation.see(part.astype("float32"), np.random.default_rng(0))
    return activation


def test_ranges_of_one_outlier() -> None:
    values = np.random.default_rng(0).normal(size=16000)
    values[0] = 1000
    activation = seen(values, -values)
    assert extremes(activation) == (-1000, 1000)
    for way in (percentile, entropy):
        low, high = way(activation)
        assert -100 < low < -3, way
        assert 3 < high < 100, way


def test_entropy_does_not_clip_what_a_relu_gives() -> None:
    values = np.maximum(np.random.default_rng(0).normal(size=16000), 0)
    low, high = entropy(seen(values))
    assert low == 0
    assert (values > high).mean() < 0.01


def test_infinities_are_noted_and_in_no_range() -> None:
    activation = seen(np.array([-np.inf, -2.0, 3.0]), np.array([1.0, np.finfo(np.float32).max]))
    assert activation.endless
    assert extremes(activation) == (-2, 3)
    assert not seen(np.array([1.0])).endless


@pytest.mark.slow
def test_a_framewise_file_is_quantised_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from understudy.models import create_model
    from understudy.ship.formats import onnx_form
    from understudy.ship.graphs import clip_graph

    monkeypatch.setattr(onnx_form, "race", lambda *calls: (onnx_form.FRAMEWISE, 0.5))
    torch.manual_seed(0)
    options = {"backbone": "small-cnn", "embedding_dim": 32}
    graph = clip_graph(create_model("frames-average", 3, input_size=32, **options).eval(), 2)
    path = tmp_path / "clip.onnx"
    sides = {"inputs": graph.inputs, "outputs": graph.outputs}
    entry = {side: [spec.to_json() for spec in specs] for side, specs in sides.items()}
    entry |= FORMATS["onnx"].export(graph, path)
    assert entry["form"] == "framewise"
    generator = np.random.default_rng(0)
    calibration = [
        [generator.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8), np.array([2], np.int32)]
        for _ in range(4)
    ]
    float_ = FORMATS["onnx"].open_session(path, entry, 1)
    expected = np.concatenate([float_(inputs)[0] for inputs in calibration])
    for name in ("dynamic", "static min-max", "weight-only"):
        out = tmp_path / "int8.onnx"
        notes = recipes_of("onnx")[name](graph, path, entry, calibration, out)
        session = FORMATS["onnx"].open_session(out, entry, 1)
        given = np.concatenate([session(inputs)[0] for inputs in calibration])
        assert np.abs(given - expected).max() < 0.1 * np.abs(expected).max(), name
        assert out.stat().st_size < path.stat().st_size
        assert notes.get("form") == (None if name == "weight-only" else "batched")
