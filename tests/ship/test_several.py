"""A run of several labels leaves with its task and its thresholds, and is used by them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from made_runs import make_run, tell_several
from understudy.errors import UserError
from understudy.judge.collect import predict_split
from understudy.judge.evaluate import evaluate
from understudy.judge.thresholds import choose_thresholds
from understudy.run import Run, write_json
from understudy.ship import Artifact, export_run
from understudy.ship.card import render_card
from understudy.ship.int8 import measure
from understudy.ship.int8.choice import FP32, choose
from understudy.ship.reading import read_checked
from understudy.ship.readme import render_readme
from understudy.task import MULTI_LABEL

from .conftest import FRAMES, OPTIONS, SIZE

CLASSES = ("left", "odd", "right", "still")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, manifest: Path) -> Run:
    return make_run(
        tmp_path_factory.mktemp("runs") / "several",
        tell_several(manifest),
        CLASSES,
        model="frames-attention",
        options=OPTIONS,
        data={"size": SIZE, "frames": FRAMES},
        clip_seconds=1.0,
        task=MULTI_LABEL,
    )


@pytest.fixture(scope="module")
def artifact(run: Run) -> Artifact:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("understudy.ship.bench.bench_run", lambda *args, **options: None)
        return export_run(run)


def test_the_contract_holds_task_and_thresholds_of_validation(run: Run, artifact: Artifact):
    said = predict_split(run.classifier(), run.manifest, "val")
    chosen = choose_thresholds(said.probabilities, said.holds)
    expected = [one.threshold for one in chosen]
    assert artifact.contract["task"] == "multi-label"
    assert artifact.contract["thresholds"] == pytest.approx(expected, abs=1e-6)
    loaded = artifact.classifier()
    assert loaded.task is MULTI_LABEL
    assert list(loaded.thresholds or ()) == artifact.contract["thresholds"]
    assert run.thresholds is not None, "they were chosen for the export, and kept"


def test_an_artifact_is_evaluated_as_its_run_is(run: Run, artifact: Artifact):
    theirs, ours = evaluate(artifact).metrics, evaluate(run).metrics
    for name in ("map", "micro_f1", "exact_match"):
        assert theirs[name]["value"] == pytest.approx(ours[name]["value"])
    assert theirs["per_class"]["odd"]["threshold"] == ours["per_class"]["odd"]["threshold"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": None}, "thresholds are missing"),
        ({"thresholds": [0.5, 0.5]}, "2 thresholds for 4 classes"),
        ({"thresholds": [0.5, 0.5, 0.5, 2]}, r"thresholds\.3"),
    ],
)
def test_a_contract_without_a_threshold_for_each_class_is_refused(
    artifact: Artifact, tmp_path: Path, change: dict, message: str
):
    write_json(tmp_path / "contract.json", artifact.contract | change)
    with pytest.raises(UserError, match=message):
        read_checked(tmp_path / "contract.json")


def test_the_code_of_the_readme_says_the_labels_that_hold(artifact: Artifact):
    readme = (artifact.path / "README.md").read_text(encoding="utf-8")
    [python] = [part for part in readme.split("```") if part.startswith("python\n")]
    given = subprocess.run(
        [sys.executable, "-c", python.removeprefix("python\n")],
        cwd=artifact.path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    last = eval(given.stdout.splitlines()[0])
    classifier = artifact.classifier()
    frames = torch.zeros(1, FRAMES, 3, SIZE, SIZE, dtype=torch.uint8)
    probabilities = torch.sigmoid(classifier(frames).logits)[0].tolist()
    expected = {
        name: pytest.approx(probability, abs=1e-5)
        for name, probability, least in zip(
            CLASSES, probabilities, classifier.thresholds or (), strict=True
        )
        if probability >= least
    }
    assert last == expected
    assert "softmax" not in readme


@pytest.mark.parametrize("runtime", ["onnx", "litert", "executorch", "coreml"])
def test_every_readme_has_code_from_logits_to_labels(artifact: Artifact, runtime: str):
    contract: dict[str, Any] = artifact.contract | {"runtime": runtime}
    for entry in contract["graphs"].values():
        entry["signature"] = "serving_default"
    text = render_readme(contract)
    assert "softmax" not in text
    assert "func labels(_ logits: [Float])" in text
    assert ("fun labels(logits: FloatArray)" in text) == (runtime != "coreml")
    if runtime == "coreml":
        return
    assert 'contract["thresholds"]' in text


def test_a_card_says_what_several_labels_are_judged_by(run: Run, artifact: Artifact):
    evaluate(run)
    card = render_card([artifact], name="me/several", run=run)
    assert "| mAP |" in card
    assert "average precision of odd" in card
    assert "says any number of its labels" in card


def test_int8_is_chosen_by_map(run: Run, artifact: Artifact, monkeypatch: pytest.MonkeyPatch):
    from understudy.ship.clips import own_split

    loaded = artifact.classifier(threads=1)
    entry = artifact.contract["graphs"]["clip"]

    class Worse:
        """The same model, that takes every clip for the opposite."""

        def __init__(self) -> None:
            self.task, self.thresholds, self.classes = MULTI_LABEL, loaded.thresholds, CLASSES

        def __call__(self, frames, lengths):
            output = loaded(frames, lengths)
            return output._replace(logits=-output.logits)

    times = {"ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.6}
    monkeypatch.setattr(measure, "_times", lambda kind, working, clip: {
        one.recipe: times for one in working
    })  # fmt: skip
    candidates = [
        measure.Candidate(FP32, entry, 100, loaded),
        measure.Candidate("backwards", entry, 25, Worse()),  # pyright: ignore[reportArgumentType]
    ]
    split = own_split(run, None, "val", sampling=loaded.sampling)
    rows, said = measure.measure_graph("clip", candidates, split, CLASSES)
    assert said.thresholds == loaded.thresholds
    assert "top1" not in rows[0]
    worse = measure._accuracy(replace(said, logits=-said.logits), said)
    assert rows[1]["map"] == worse["map"]
    assert rows[1]["difference_points"] == pytest.approx(100 * (worse["map"] - rows[0]["map"]))
    assert rows[0]["agreement"] == 1 > rows[1]["agreement"]
    _, sentence = choose(rows)
    assert "points of mAP" in sentence
    assert json.loads(json.dumps(rows)) == rows
    assert np.isfinite(rows[1]["map_low"])
