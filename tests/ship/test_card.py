"""The model card: what the hub reads of it, and that every figure has its interval and n."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from understudy.run import Run, write_json
from understudy.ship import Artifact
from understudy.ship.card import render_card


def measured(low: float, value: float, high: float, n: int) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": n, "method": "wilson"}


@pytest.fixture
def known(run: Run, tmp_path: Path) -> Run:
    """The run with figures and a teacher, as evaluation and training leave them."""
    copy = Run(Path(shutil.copytree(run.path, tmp_path / "known")))
    parts = ("accuracy", "precision", "f1")
    metrics = {
        "split": "test",
        "n": 40,
        "groups": 6,
        "confidence": 0.95,
        "top1": measured(0.71, 0.85, 0.93, 40),
        "macro_f1": measured(0.6, 0.7, 0.8, 40),
        "classes": ["left", "right", "still"],
        "per_class": {
            name: {"n": n} | dict.fromkeys(parts, measured(0.3, 0.6, 0.8, n))
            for name, n in (("left", 20), ("right", 20), ("still", 0))
        },
        "calibration_error": measured(0.1, 0.2, 0.3, 0),
        "confusion": [[0] * 3] * 3,
        "warnings": ["Only 40 clips."],
        "manifest": "/home/someone/secret/gestures.csv",
    }
    teacher = {
        "kind": "clip",
        "model": "ViT-B-32",
        "head": "text prompts",
        "source": "/home/someone/secret/weights.bin",
        "val": measured(0.5, 0.6, 0.7, 30),
    }
    write_json(copy.path / "metrics.json", metrics)
    write_json(copy.path / "teacher.json", teacher)
    skipped = {"row": 1, "path": "x", "reason": "torn"}
    counts = {"train": {"left": 3, "right": 4}, "test": {"left": 1}}
    data = copy.data | {
        "counts": counts,
        "clips": {"train": 7, "test": 1},
        "groups": {"train": 2},
        "skipped": [skipped],
    }
    write_json(copy.path / "data.json", data)
    return copy


def test_the_hub_can_read_its_header(artifact: Artifact, known: Run) -> None:
    card = ModelCard(render_card([artifact], name="lab/small", run=known))
    assert card.data.library_name == "understudy"
    assert card.data.pipeline_tag == "video-classification"
    assert card.data.license is None
    assert {"action-recognition", "onnx", "knowledge-distillation"} <= set(card.data.tags or [])
    results = {one.metric_name: one.metric_value for one in card.data.eval_results or []}
    assert results == {"top-1 accuracy": 0.85, "macro F1": 0.7}
    assert {one.dataset_name for one in card.data.eval_results or []} == {"gestures"}


def test_every_figure_has_its_interval_and_n(artifact: Artifact, known: Run) -> None:
    text = render_card([artifact], name="lab/small", run=known)
    assert "| top-1 accuracy | 0.850 [0.710, 0.930] n=40 |" in text
    assert "| macro F1 | 0.700 [0.600, 0.800] n=40 |" in text
    assert "| accuracy on left | 0.600 [0.300, 0.800] n=20 |" in text
    assert "| accuracy on still | - |" in text
    assert "accuracy on validation 0.600 [0.500, 0.700] n=30" in text
    assert "ViT-B-32" in text
    assert "7 clips of 2 groups in train, 1 clips in test" in text
    assert "1 clips could not be read" in text
    assert "Only 40 clips." in text
    assert 'understudy.load("hub:lab/small")' in text
    assert "secret" not in text


def test_parity_and_latency_come_from_the_artifact(artifact: Artifact, known: Run) -> None:
    text = render_card([artifact], name="lab/small", run=known)
    parity, latency = artifact.parity, artifact.latency
    assert latency is not None
    assert f"largest difference of logits {parity['logits_difference']:.2g}" in text
    assert latency["hardware"] in text
    rows = [row for row in latency["rows"] if row["kind"] == "artifact"]
    assert text.count("- Latency:") == len(rows) > 0
    assert all(f"{row['median_ms']:.1f} ms a {row['what']}" in text for row in rows)


def test_what_is_not_known_is_said(artifact: Artifact, run: Run) -> None:
    text = render_card([artifact], name="lab/small", run=None)
    assert text.count("Not recorded with the files") == 2
    assert "Not measured" in text
    assert ModelCard(text).data.eval_results is None
    alone = render_card([artifact], name="lab/small", run=run)
    assert "None: it learned from the labels alone." in alone
    assert "knowledge-distillation" not in alone


def test_every_teacher_of_several_is_named(artifact: Artifact, known: Run) -> None:
    facts = known.teacher
    assert facts is not None
    several = {"clip": facts, "big": facts | {"model": "ViT-L-14", "val": None}}
    write_json(known.path / "teacher.json", {"teachers": several})
    text = render_card([artifact], name="lab/small", run=known)
    assert "## Teachers" in text
    assert "- ViT-B-32, head: text prompts; accuracy on validation 0.600" in text
    assert "- ViT-L-14, head: text prompts.\n" in text
    assert "secret" not in text


def test_one_picture_is_another_task_than_a_clip(artifact: Artifact, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(artifact.path, tmp_path / "picture"))
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    size = contract["input"]["size"]
    contract["input"]["frames"] = 1
    contract["graphs"]["clip"]["inputs"] = [
        {"name": "frames", "dtype": "uint8", "shape": [1, 3, size, size]}
    ]
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    card = ModelCard(render_card([Artifact(folder)], name="lab/small", run=None))
    assert card.data.pipeline_tag == "image-classification"


def test_what_was_only_converted_claims_no_parity(artifact: Artifact, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(artifact.path, tmp_path / "apple"))
    write_json(
        folder / "parity.json",
        {"passed": None, "executed": False, "reason": "Core ML is converted to, not executed",
         "checked": {"clip": {"spec": True, "exported_program_difference": 3e-7,
                              "executed": False}}},
    )  # fmt: skip
    (folder / "latency.json").unlink()
    text = render_card([Artifact(folder)], name="lab/small", run=None)
    assert "converted to, not executed; before conversion the program differs by 3e-07" in text
    assert "- Latency: not measured." in text
