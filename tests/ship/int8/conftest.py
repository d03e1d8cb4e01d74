"""A small streaming run, right on every validation clip, and its FP32 files with their contract."""

from pathlib import Path

import pytest

from made_runs import make_run as made_run
from made_runs import own_clips
from understudy.judge.collect import predict_split
from understudy.run import Run, write_json
from understudy.ship.contract import build_contract
from understudy.ship.export import write_graphs
from understudy.ship.formats import FORMATS

CLASSES = ("left", "right", "still")
FRAMES, SIZE = 4, 32
OPTIONS = {"dim": 32, "heads": 2, "mlp_dim": 64, "layers": 1, "patch_size": 8, "dropout": 0.0}


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, manifest: Path) -> Run:
    """Random weights; the labels of validation are what it says, so that nothing can be better."""
    table = tmp_path_factory.mktemp("small") / "clips.csv"
    run = made_run(
        tmp_path_factory.mktemp("runs") / "small",
        table,
        CLASSES,
        model="rvit",
        options=OPTIONS,
        built_with=OPTIONS | {"input_size": SIZE},
        data={"size": SIZE, "frames": FRAMES},
        clip_seconds=1.0,
    )
    head, *lines = manifest.read_text(encoding="utf-8").split()
    lines = [f"{manifest.parent}/{line}" for line in lines]
    table.write_text("\n".join([head, *lines]), encoding="utf-8")
    answers = predict_split(run.classifier(), own_clips(run), "val")
    said = {
        path: CLASSES[best]
        for path, best in zip(answers.path, answers.logits.argmax(1).tolist(), strict=True)
    }
    rows = [line.split(",") for line in lines]
    rows = [[path, said.get(path, label), *rest] for path, label, *rest in rows]
    table.write_text("\n".join([head, *map(",".join, rows)]), encoding="utf-8")
    own_clips(run)
    return run


@pytest.fixture(scope="session")
def float_draft(tmp_path_factory: pytest.TempPathFactory, small_run: Run) -> Path:
    """Clip and step in FP32 with their contract: what `quantise` is given a copy of."""
    draft = tmp_path_factory.mktemp("draft") / "onnx"
    draft.mkdir()
    classifier = small_run.classifier()
    entries = write_graphs(FORMATS["onnx"], classifier.model, FRAMES, draft)
    write_json(draft / "contract.json", build_contract(classifier, entries, runtime="onnx"))
    return draft
