"""A run and an export of it are one kind of thing once they are loaded: a `Classifier`."""

import inspect
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from understudy.errors import UserError
from understudy.judge import compare
from understudy.judge.compare import compare_sources
from understudy.judge.evaluate import evaluate, evaluation_path
from understudy.run import Run, RunClassifier, save_weights
from understudy.ship import Artifact, load_artifact
from understudy.ship.artifact import open_source
from understudy.ship.contract import build_contract
from understudy.ship.formats import onnx as onnx_format
from understudy.ship.recognizer import ArtifactRecognizer, sampling_of_contract
from understudy.types import Classifier, Sampling

KINDS = ("run", "artifact")
ATTRIBUTES = [*inspect.get_annotations(Classifier)]


@pytest.fixture
def own(run: Run, artifact: Artifact, tmp_path: Path) -> Run:
    """A copy of the run with its export, since evaluations are written."""
    assert artifact.run == run
    return Run(Path(shutil.copytree(run.path, tmp_path / run.name)))


@pytest.fixture
def export(own: Run) -> Artifact:
    return Artifact(own.export_path("onnx"))


@pytest.fixture
def load(own: Run, export: Artifact) -> Callable[..., RunClassifier | ArtifactRecognizer]:
    sources = {"run": own, "artifact": export}
    return lambda kind, **options: sources[kind].classifier(**options)


def clips(batch: int, frames: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    shape = (batch, frames, 3, 32, 32)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_both_say_the_same_of_themselves(load) -> None:
    run, artifact = (load(kind, threads=1) for kind in KINDS)
    assert len(ATTRIBUTES) >= 8
    for name in [*ATTRIBUTES, "clip_frames", "input_size"]:
        assert getattr(run, name) == getattr(artifact, name), name
    assert run.threads == 1
    assert run.classes == ("left", "right", "still")
    assert run.sampling == Sampling(size=32, frames=4, clip_seconds=1.0, step_s=0.25)


@pytest.mark.parametrize("frames", [1, 3, 4])
@pytest.mark.parametrize("with_lengths", [True, False])
def test_both_give_the_same_answers(load, frames: int, with_lengths: bool) -> None:
    """Also for clips that are shorter than those of training, with and without padding."""
    lengths = torch.tensor([frames, 1, (frames + 1) // 2]) if with_lengths else None
    expected, given = (load(kind)(clips(3, frames), lengths) for kind in KINDS)
    for one, other in zip(expected, given, strict=True):
        assert not one.requires_grad
        assert one.dtype == other.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_both_are_stepped_alike(load) -> None:
    run, artifact = (load(kind) for kind in KINDS)
    states = [one.init_state(2) for one in (run, artifact)]
    for frame in clips(2).unbind(1):
        expected, states[0] = run.step(frame, states[0])
        given, states[1] = artifact.step(frame, states[1])
        torch.testing.assert_close(given.logits, expected.logits, rtol=0, atol=1e-5)


def test_both_obey_threads(load, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    run = load("run", threads=2)
    run.model.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    run(clips(1))
    assert torch.get_num_threads() == before
    plain = onnx_format.open_session
    monkeypatch.setattr(
        onnx_format, "open_session", lambda *given: seen.append(given[2]) or plain(*given)
    )
    load("artifact", threads=2)(clips(1))
    assert seen == [2, 2]


def test_a_contract_gives_back_how_a_run_looks_at_clips(own: Run) -> None:
    """Every field of it, also those that this run does not use."""
    classifier = own.classifier()
    for look in (
        classifier.sampling,
        Sampling(48, 3, "dense", 0.1, hold_pictures=True, clip_seconds=2.5, step_s=None),
    ):
        classifier.sampling = look
        contract = json.loads(json.dumps(build_contract(classifier, {}, runtime="onnx")))
        assert sampling_of_contract(contract) == look
    del contract["sampling"]["hold_pictures"]  # of an earlier version
    assert sampling_of_contract(contract) == replace(look, hold_pictures=False)


def test_an_artifact_has_one_checkpoint_and_computes_on_the_cpu(load) -> None:
    with pytest.raises(UserError, match="from the checkpoint best and holds no other: final"):
        load("artifact", checkpoint="final")
    with pytest.raises(UserError, match="on the CPU here, not on cuda"):
        load("artifact", device="cuda")


def test_a_folder_is_opened_as_what_it_is(own: Run, export: Artifact, tmp_path: Path) -> None:
    assert open_source(own.path) == open_source(own) == own
    assert open_source(str(export.path)) == open_source(export) == export
    assert export.run == own
    with pytest.raises(UserError, match="no run at"):
        open_source(tmp_path / "nothing")


def test_an_export_is_evaluated_on_the_clips_of_its_run(own: Run, export: Artifact) -> None:
    theirs, exported = evaluate(own, split="val"), evaluate(export, split="val")
    assert exported.path == evaluation_path(export, split="val")
    assert exported.path == export.path / "evaluations" / "clips-val"
    assert exported.predictions.id == theirs.predictions.id == ["1.mp4", "7.mp4"]
    assert exported.predictions.skipped == theirs.predictions.skipped
    torch.testing.assert_close(
        exported.predictions.logits, theirs.predictions.logits, rtol=0, atol=1e-5
    )
    assert exported.metrics["top1"] == theirs.metrics["top1"]
    assert exported.metrics["checkpoint"] == "best"


def test_an_export_elsewhere_needs_clips(export: Artifact, own: Run, tmp_path: Path) -> None:
    alone = Artifact(Path(shutil.copytree(export.path, tmp_path / "alone")))
    assert alone.run is None
    with pytest.raises(UserError, match=r"alone does not lie in the run.*--data"):
        evaluate(alone)
    found = evaluate(alone, manifest=own.data["manifest"])
    assert "Nobody checked" in found.metrics["warnings"][0]
    assert found.metrics["split"] == "test"
    # In a run of another name it is nobody's export either.
    stranger = tmp_path / "stranger"
    shutil.copytree(export.path, stranger / "exports" / "onnx")
    shutil.copy(own.path / "recipe.yaml", stranger)
    assert Artifact(stranger / "exports" / "onnx").run is None


def test_a_run_and_its_export_are_compared_and_evaluated_once(
    own: Run, export: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    plain = compare.evaluate
    monkeypatch.setattr(
        compare, "evaluate", lambda source, **given: asked.append(source) or plain(source, **given)
    )
    evaluate(own)
    found = compare_sources(own, export)
    assert [source for source in asked if source == own] == [], "it was evaluated already"
    assert found.difference["difference"] == 0
    assert found.difference["n"] == len(found.a.predictions) == 3
    asked.clear()
    again = compare_sources(own, export)
    assert (asked, again.difference) == ([], found.difference)
    compare_sources(own, export, split="train")
    assert asked == [own, export]
    asked.clear()
    # Other weights under the same name were never evaluated.
    model = own.load_model()
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.neg_()
    save_weights(model, own.checkpoint_path())
    compare_sources(own, export)
    assert asked == [own]


def test_loading_gives_the_same_as_opening(export: Artifact) -> None:
    assert load_artifact(export.path).sampling == export.classifier().sampling
