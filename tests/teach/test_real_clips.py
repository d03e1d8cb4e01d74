"""What the toolkit is for, on real clips: time positions, and features computed once."""

from pathlib import Path
from typing import Any

import pytest

from understudy.judge.evaluate import evaluate_run
from understudy.recipe import parse_recipe
from understudy.teach.train import train

pytestmark = pytest.mark.real


def accuracy_on_test_clips(
    real_data: Path, tmp_path: Path, name: str, options: dict[str, Any]
) -> float:
    frozen = {
        "backbone": "mobilenetv2_100",
        "weights": str(real_data / "backbones" / "mobilenetv2_100_imagenet_fp16.safetensors"),
        "freeze_backbone": True,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    recipe = parse_recipe(
        {
            "name": "run",
            "data": {"manifest": str(real_data / "sign_words" / "labels.csv"), "size": 128},
            "model": {"name": name, "options": frozen | options},
            "train": {"epochs": 30, "lr": 1e-3, "device": "cpu"},
        }
    )
    run = train(recipe, tmp_path / "run")
    assert not run.data["skipped"]
    metrics = evaluate_run(run)
    assert metrics["n"] == 80
    return metrics["top1"]["value"]


@pytest.mark.parametrize("name", ["frames-attention", "frames-tcn", "frames-gru"])
def test_order_of_frames_tells_a_word_from_its_mirror_image(real_data, tmp_path, name):
    assert accuracy_on_test_clips(real_data, tmp_path, name, {}) >= 0.90


@pytest.mark.parametrize(
    ("name", "options"), [("frames-attention", {"positions": False}), ("frames-average", {})]
)
def test_heads_that_are_blind_to_time_can_only_guess(real_data, tmp_path, name, options):
    assert 0.35 <= accuracy_on_test_clips(real_data, tmp_path, name, options) < 0.60
