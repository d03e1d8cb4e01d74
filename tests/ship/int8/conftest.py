"""A small streaming run, right on every validation clip, and its FP32 files with their contract."""

from pathlib import Path

import pytest
import torch

from understudy.models import create_model
from understudy.recipe import parse_recipe
from understudy.run import Run, create_run, save_weights, write_json
from understudy.ship.clips import open_split, readable
from understudy.ship.contract import build_contract, load_for_export
from understudy.ship.export import write_graphs
from understudy.ship.formats import FORMATS

CLASSES = ("left", "right", "still")
FRAMES, SIZE = 4, 32
OPTIONS = {"dim": 32, "heads": 2, "mlp_dim": 64, "layers": 1, "patch_size": 8, "dropout": 0.0}


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, manifest: Path) -> Run:
    """Random weights; the labels of validation are what it says, so that nothing can be better."""
    table = tmp_path_factory.mktemp("small") / "clips.csv"
    recipe = parse_recipe(
        {
            "name": "small",
            "data": {"manifest": str(table), "size": SIZE, "frames": FRAMES},
            "model": {"name": "rvit", "options": OPTIONS},
        }
    )
    run = create_run(tmp_path_factory.mktemp("runs") / "small", recipe)
    torch.manual_seed(0)
    model = create_model("rvit", len(CLASSES), input_size=SIZE, **OPTIONS)
    save_weights(model, run.checkpoint_path())
    data = {"classes": list(CLASSES), "manifest": str(table), "clip_seconds": 1.0}
    write_json(run.path / "data.json", data | {"model_options": OPTIONS | {"input_size": SIZE}})

    head, *lines = manifest.read_text(encoding="utf-8").split()
    lines = [f"{manifest.parent}/{line}" for line in lines]
    table.write_text("\n".join([head, *lines]), encoding="utf-8")
    split = open_split(run, None, frames=FRAMES, wanted=("val",))
    said = {}
    for sample in readable(split, len(split.rows))[0]:
        with torch.inference_mode():
            logits = model.eval()(sample.frames[None], torch.tensor([len(sample.frames)])).logits
        said[split.record(sample.row).path] = CLASSES[int(logits.argmax())]
    rows = [line.split(",") for line in lines]
    rows = [[path, said.get(path, label), *rest] for path, label, *rest in rows]
    table.write_text("\n".join([head, *map(",".join, rows)]), encoding="utf-8")
    return run


@pytest.fixture(scope="session")
def float_draft(tmp_path_factory: pytest.TempPathFactory, small_run: Run) -> Path:
    """Clip and step in FP32 with their contract: what `quantise` is given a copy of."""
    draft = tmp_path_factory.mktemp("draft") / "onnx"
    draft.mkdir()
    model = load_for_export(small_run, "best")
    entries = write_graphs(FORMATS["onnx"], model, FRAMES, draft)
    contract = build_contract(small_run, model, entries, runtime="onnx", checkpoint="best")
    write_json(draft / "contract.json", contract)
    return draft
