"""The oldest runtime that an exported file works with, as the file itself says."""

from importlib import metadata
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from understudy.ship.formats import FORMATS, coreml, executorch, litert
from understudy.ship.formats import onnx as exporter


def onnx_file(path: Path, opset: int, ir_version: int, *others: tuple[str, int]) -> Path:
    """A file of one operator that says that it needs these."""
    one = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", one[:1], one[1:])
    asked = [helper.make_opsetid("", opset), *(helper.make_opsetid(*other) for other in others)]
    model = helper.make_model(graph, opset_imports=asked, ir_version=ir_version)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    ("opset", "ir_version", "release"),
    [(17, 8, "1.14"), (18, 8, "1.14"), (19, 8, "1.15"), (18, 9, "1.16"), (20, 9, "1.17"),
     (20, 10, "1.18"), (21, 10, "1.18"), (18, 11, onnxruntime.__version__),
     (22, 10, onnxruntime.__version__)],
)  # fmt: skip
def test_for_onnx_by_opset_and_format(
    opset: int, ir_version: int, release: str, tmp_path: Path
) -> None:
    path = onnx_file(tmp_path / "clip.onnx", opset, ir_version, ("com.microsoft", 1))
    assert exporter.oldest_runtime(path) == f"ONNX Runtime {release}"


def test_for_litert_as_the_converter_wrote_it(tmp_path: Path) -> None:
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model = schema.ModelT()
    model.buffers = [schema.BufferT(), schema.BufferT(), schema.BufferT()]
    model.buffers[1].data, model.buffers[2].data = list(b"true"), list(b"2.9.0\0\0\0")
    model.metadata = [schema.MetadataT(), schema.MetadataT()]
    for number, name in enumerate(("keep_stablehlo_constant", "min_runtime_version")):
        model.metadata[number].name, model.metadata[number].buffer = name, number + 1
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "clip.tflite"
    path.write_bytes(bytes(builder.Output()))
    assert litert.oldest_runtime(path) == "TensorFlow Lite 2.9.0, or any LiteRT"


def test_for_core_ml_the_systems_that_read_its_packages() -> None:
    assert coreml.oldest_runtime(Path("clip.mlpackage")) == "iOS 16, macOS 13"
    assert coreml.DEPLOYMENT_TARGET == "iOS16"


def test_for_executorch_the_release_that_wrote_it() -> None:
    pytest.importorskip("executorch")
    named = executorch.oldest_runtime(Path("clip.pte"))
    assert named == f"ExecuTorch {metadata.version('executorch')}"


def test_no_format_is_left_out() -> None:
    assert set(FORMATS) == {"onnx", "litert", "coreml", "executorch"}
