"""Export: the artifact gives what the run gives, or there is no artifact."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch

from small_models import swept
from understudy.errors import UserError
from understudy.run import Run, save_weights, write_json
from understudy.ship import FORMATS, Artifact, ArtifactError, export_run, load_artifact
from understudy.ship.artifact import sha256
from understudy.ship.formats import onnx as onnx_format
from understudy.ship.graphs import Graph, clip_graph
from understudy.types import Output, Recognizer, StreamingRecognizer


def random_clips(run: Run, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    data = run.recipe.data
    generator = torch.Generator().manual_seed(batch)
    shape = (batch, data.frames, 3, data.size, data.size)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return frames, torch.randint(1, data.frames + 1, (batch,), generator=generator)


def copying(artifact: Artifact) -> Callable[..., None]:
    """An exporter that takes no time: it gives the file that was exported already."""

    def export(graph: Graph, path: Path) -> dict[str, Any]:
        path.write_bytes(artifact.model_path(graph.kind).read_bytes())
        return {}

    return export


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_any_batch_gives_what_the_run_gives(run: Run, artifact: Artifact, batch: int) -> None:
    frames, lengths = random_clips(run, batch)
    with torch.inference_mode():
        expected = run.load_model()(frames, lengths)
    given = load_artifact(artifact.path, threads=1)(frames, lengths)
    torch.testing.assert_close(given.logits, expected.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(given.embedding, expected.embedding, rtol=0, atol=1e-5)


def test_padding_changes_nothing(run: Run, artifact: Artifact) -> None:
    frames, lengths = random_clips(run, 3)
    lengths[:] = 2
    other = frames.clone()
    other[:, 2:] = 255 - other[:, 2:]
    recognise = load_artifact(artifact.path, threads=1)
    assert torch.equal(recognise(frames, lengths).logits, recognise(other, lengths).logits)
    assert not torch.equal(recognise(frames).logits, recognise(other).logits)


def test_the_files_hold_the_agreed_graphs(run: Run, artifact: Artifact) -> None:
    names = {file.name for file in artifact.path.iterdir()}
    documents = {"contract.json", "parity.json", "latency.json", "README.md"}
    assert names == {"clip.onnx", "step.onnx"} | documents
    for kind, entry in artifact.contract["graphs"].items():
        path = artifact.model_path(kind)
        onnx.checker.check_model(onnx.load(str(path)))
        session = onnxruntime.InferenceSession(str(path))
        for side, found in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
            assert [one.name for one in found] == [one["name"] for one in entry[side]]
            for one, agreed in zip(found, entry[side], strict=True):
                assert one.type.removeprefix("tensor(").rstrip(")") == (
                    agreed["dtype"].replace("float32", "float")
                )
                assert len(one.shape) == len(agreed["shape"]) <= 4
                if side == "inputs":
                    # A name, not a number, is what ONNX calls a dimension that stays free.
                    assert isinstance(one.shape[0], str)
                    assert one.shape[1:] == agreed["shape"][1:]


def test_the_contract_says_how_to_use_it(run: Run, artifact: Artifact) -> None:
    contract = artifact.contract
    model = run.load_model()
    assert contract["format"] == "understudy-artifact"
    assert contract["contract_version"] == 2
    assert (contract["run"], contract["model"]) == (run.name, "frames-attention")
    assert (contract["precision"], contract["batch"], contract["executed"]) == ("fp32", "any", True)
    assert contract["classes"] == list(run.classes)
    assert contract["input"]["frames"] == 4
    assert contract["input"]["size"] == 32
    assert contract["input"]["colour"] == "RGB, 0 to 255"
    assert contract["sampling"] == {
        "method": "uniform",
        "stride_s": None,
        "step_s": 0.25,
        "clip_seconds": 1.0,
        "hold_pictures": False,
    }
    clip, step = contract["graphs"]["clip"], contract["graphs"]["step"]
    assert clip["inputs"] == [
        {"name": "frames", "dtype": "uint8", "shape": [4, 3, 32, 32]},
        {"name": "lengths", "dtype": "int32", "shape": [1]},
    ]
    assert clip["outputs"] == [
        {"name": "logits", "dtype": "float32", "shape": [1, 3]},
        {"name": "embedding", "dtype": "float32", "shape": [1, 32]},
    ]
    assert step["inputs"][0] == {"name": "frame", "dtype": "uint8", "shape": [1, 3, 32, 32]}
    assert [one["name"] for one in step["inputs"][1:]] == ["state_0", "state_1"]
    for before, after in zip(step["inputs"][1:], step["outputs"][2:], strict=True):
        assert after == before | {"name": f"next_{before['name']}"}
    assert step["state_begins"] == "zeros"
    for kind, entry in contract["graphs"].items():
        assert entry["sha256"] == sha256(artifact.model_path(kind))
        assert entry["bytes"] == artifact.model_path(kind).stat().st_size
        assert entry["opset"] >= 18
    assert contract["parameters"] == sum(p.numel() for p in model.parameters())
    assert contract["versions"]["torch"] == torch.__version__.partition("+")[0]
    buffers = dict(model.named_buffers())
    inside = contract["normalisation"]
    assert inside["mean"] == buffers["normalize.mean"].flatten().tolist()
    assert inside["std"] == buffers["normalize.std"].flatten().tolist()


def test_stepping_an_artifact_gives_what_stepping_the_run_gives(run: Run, artifact: Artifact):
    model, exported = run.load_model(), load_artifact(artifact.path, threads=1)
    assert isinstance(model, StreamingRecognizer)
    assert exported.streams
    assert exported.stream_frames == model.stream_frames
    frames, _ = random_clips(run, 3)
    state, own = exported.init_state(3), model.init_state(3)
    with torch.inference_mode():
        for frame in frames.unbind(1):
            given, state = exported.step(frame, state)
            expected, own = model.step(frame, own)
            torch.testing.assert_close(given.logits, expected.logits, rtol=0, atol=1e-5)
    # Four frames, stepped, are the clip.
    torch.testing.assert_close(given.logits, exported(frames).logits, rtol=0, atol=1e-5)


def test_parity_was_checked_on_real_clips_of_the_validation_split(
    artifact: Artifact, manifest: Path
) -> None:
    parity = artifact.parity
    assert parity["passed"]
    assert parity["logits_difference"] <= parity["tolerance"] == 1e-4
    assert parity["top1_agreement"] == 1
    assert parity["manifest"] == str(manifest)
    assert parity["split"] == "val"
    assert parity["logits_median"] <= parity["logits_difference"]
    assert parity["stream"]["passed"]
    assert parity["stream"]["frames"] == 256
    # Of three validation clips one is corrupt: counted and named, not replaced.
    assert parity["real_clips"] == 2
    assert [Path(entry["path"]).name for entry in parity["skipped"]] == ["4.mp4"]
    probes = [row["probe"] for row in parity["probes"]]
    assert {"real clips", "noise", "black", "one frame", "three lengths"} == {
        name.partition(",")[0] for name in probes
    }


def test_latency_lies_beside_it(run: Run, artifact: Artifact) -> None:
    latency = artifact.latency
    assert latency is not None
    assert latency["hardware"]
    first, *others = [row for row in latency["rows"] if row["threads"] == 1]
    assert (first["kind"], first["what"], first["ratio"]) == ("run", "clip", 1)
    assert first["file_bytes"] == run.checkpoint_path().stat().st_size
    for what, graph in (("clip", "clip"), ("frame", "step")):
        [row] = [one for one in others if (one["kind"], one["what"]) == ("artifact", what)]
        assert row["ratio"] == pytest.approx(row["median_ms"] / first["median_ms"])
        assert row["file_bytes"] == artifact.model_path(graph).stat().st_size


def test_an_export_that_differs_leaves_nothing(
    make_run: Callable[..., Run],
    artifact: Artifact,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retrained = make_run(tmp_path / "retrained", manifest)
    model = retrained.load_model()
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(1.5)
    save_weights(model, retrained.checkpoint_path())
    monkeypatch.setattr(onnx_format, "export", copying(artifact))
    with pytest.raises(ArtifactError, match="largest difference of logits") as caught:
        export_run(retrained)
    assert "allowed 0.0001" in str(caught.value)
    assert not retrained.export_path("onnx").parent.exists()


def test_an_exporter_that_fails_is_heard_and_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: Graph, path: Path) -> dict[str, Any]:
        path.write_bytes(b"half")
        raise ArithmeticError("the exporter's own words")

    monkeypatch.setattr(onnx_format, "export", broken)
    with pytest.raises(ArithmeticError, match="own words"):
        export_run(run, out=tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


class Brightness(Recognizer):
    """The smallest recogniser: the mean colour of the true frames."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 2)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor | None = None) -> Output:
        assert lengths is not None
        real = torch.arange(frames.shape[1]) < lengths[:, None]
        pooled = (frames.float().mean((3, 4)) * real[..., None]).sum(1) / lengths[:, None]
        return Output(self.head(pooled), pooled)


def test_exporting_prints_nothing(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    model = Brightness().eval()
    model.input_size = 32
    onnx_format.export(clip_graph(model, 4), tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_an_existing_artifact_is_kept_unless_told(
    run: Run, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="there already"):
        export_run(run)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="no artifact"):
        export_run(run, out=precious, overwrite=True)
    assert (precious / "thesis.txt").exists()

    # Replacing works, and a failed replacement keeps what was there.
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "contract.json").write_text(json.dumps({"old": True}))

    def failing(graph: Graph, path: Path) -> dict[str, Any]:
        raise ArithmeticError

    monkeypatch.setattr(onnx_format, "export", failing)
    with pytest.raises(ArithmeticError):
        export_run(run, out=copy, overwrite=True)
    assert json.loads((copy / "contract.json").read_text()) == {"old": True}
    monkeypatch.setattr(onnx_format, "export", copying(artifact))
    outside = export_run(run, out=copy, overwrite=True)
    assert outside.contract["run"] == run.name
    assert outside.latency is not None, "it lies beside an artifact that is not in its run, too"


def test_an_unknown_format_names_the_nearest(run: Run) -> None:
    with pytest.raises(UserError, match=r"Did you mean onnx\?") as caught:
        export_run(run, "onx")
    assert all(name in str(caught.value) for name in FORMATS)


def test_clips_out_of_reach_are_a_clear_error(
    make_run: Callable[..., Run], manifest: Path, tmp_path: Path
) -> None:
    moved = make_run(tmp_path / "moved", tmp_path / "gone.csv")
    with pytest.raises(UserError, match=r"manifest\.parquet is missing.*--data"):
        export_run(moved)
    assert not moved.export_path("onnx").exists()
    assert not moved.export_path("onnx").parent.exists()

    lost = tmp_path / "lost.csv"
    lost.write_text(manifest.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(UserError, match="could be read"):
        export_run(moved, manifest=lost)


ONE_FRAME = ["one frame asked for", "pictures of no duration"]


@pytest.mark.parametrize("how", swept(ONE_FRAME, ONE_FRAME[1:]))
def test_a_run_on_pictures_takes_one_frame(
    how: str, make_run: Callable[..., Run], manifest: Path, tmp_path: Path
) -> None:
    if how == "one frame asked for":
        pictures = make_run(tmp_path / "pictures", manifest, frames=1)
    else:
        pictures = make_run(tmp_path / "pictures", manifest)
        write_json(pictures.path / "data.json", pictures.data | {"clip_seconds": 0.0})
    exported = export_run(pictures)
    assert exported.contract["input"]["frames"] == 1
    frames = random_clips(pictures, 3)[0][:, :1]
    with torch.inference_mode():
        expected = pictures.load_model()(frames)
    given = load_artifact(exported.path, threads=1)(frames)
    torch.testing.assert_close(given.logits, expected.logits, rtol=0, atol=1e-5)
