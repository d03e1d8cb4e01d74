"""Several labels a clip, from a table to the page, as people type it."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from test_cli import COLOURS, Said, understudy

LABELS = ("amber", "blue", "amber|blue")
RECIPE = {
    "data": {"manifest": "clips.csv", "size": 32, "frames": 2},
    "model": {
        "name": "frames-attention",
        "options": {"backbone": "small-cnn", "embedding_dim": 16, "hidden_dim": 16, "heads": 2},
    },
    "train": {"epochs": 3, "batch_size": 8, "lr": 5e-3, "device": "cpu"},
    "eval": {"resamples": 100},
}


def film(path: Path, label: str, seed: int) -> None:
    """Half a second in the colours of the labels, side by side, under noise."""
    rng, colours = np.random.default_rng(seed), label.split("|")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(4):
            pixels = rng.integers(-30, 30, (32, 32, 3)) + np.array(COLOURS[colours[0]])
            pixels[:, 16:] += np.array(COLOURS[colours[-1]]) - np.array(COLOURS[colours[0]])
            frame = pixels.clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """What each command answered. 36 videos of 12 people; the table names no splits."""
    folder = tmp_path_factory.mktemp("work")
    lines = ["path,label,group"]
    for number in range(36):
        label = LABELS[number % 3]
        film(folder / f"{number:02d}.mp4", label, number)
        lines.append(f"{number:02d}.mp4,{label},p{number // 3:02d}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "several.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    run, export, clip = "runs/several", "runs/several/exports/onnx", "00.mp4"
    commands = {
        "check": ["data", "check", "clips.csv"],
        "train": ["train", "several.yaml"],
        "evaluate": ["evaluate", run],
        "final": ["evaluate", run, "--checkpoint", "final", "--json"],
        "predict": ["predict", run, clip, "02.mp4"],
        "predict json": ["predict", run, clip, "02.mp4", "--json"],
        "stream": ["stream", run, clip],
        "export": ["export", run],
        "predict export": ["predict", export, clip, "02.mp4", "--json"],
        "evaluate export": ["evaluate", export, "--json"],
        "compare": ["compare", run, export],
        "report": ["report", run],
        "resume": ["train", "--resume", run],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("understudy.ship.bench.bench_run", lambda *args, **options: None)
        done = {name: understudy(folder, *words) for name, words in commands.items()}
    return done | {"metrics": Said(0, (folder / run / "metrics.json").read_text(), "")}


def test_every_step_succeeds(said: dict[str, Said]) -> None:
    failed = {name: one.err for name, one in said.items() if name != "check" and one.code}
    assert failed == {}


def test_evaluation_tells_map_and_thresholds(said: dict[str, Said]) -> None:
    assert "\nmAP " in said["evaluate"].out
    assert "threshold  F1" in said["evaluate"].out
    metrics = json.loads(said["metrics"].out)
    assert metrics["task"] == "multi-label"
    assert metrics["map"]["value"] > 0.7, "colours are easy"
    assert json.loads(said["final"].out)["checkpoint"] == "final"


def test_predictions_are_those_of_the_export_and_name_every_label(said: dict[str, Said]) -> None:
    run, export = (
        [json.loads(line) for line in said[name].out.splitlines()]
        for name in ("predict json", "predict export")
    )
    thresholds = {
        name: one["threshold"] for name, one in json.loads(said["metrics"].out)["per_class"].items()
    }
    for ours, theirs in zip(run, export, strict=True):
        [segment], [other] = ours["segments"], theirs["segments"]
        assert segment["labels"] == pytest.approx(other["labels"], abs=1e-4)
        probabilities = segment["probabilities"]
        holding = [name for name in probabilities if probabilities[name] >= thresholds[name]]
        assert list(segment["labels"]) == holding
        assert segment["label"] == "|".join(holding)
    assert len(said["predict"].out.splitlines()) == 2


def test_the_export_is_as_good_as_its_run(said: dict[str, Said]) -> None:
    assert "mAP on split test" in said["compare"].out
    assert "difference +0.000" in said["compare"].out
    theirs = json.loads(said["evaluate export"].out)
    assert theirs["map"]["value"] == json.loads(said["metrics"].out)["map"]["value"]
