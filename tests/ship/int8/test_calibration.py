"""Ranges come from training clips, and a step meets the states that a stream meets."""

from pathlib import Path

import numpy as np
import pytest
import torch

from understudy.data.loader import ClipDataset
from understudy.errors import UserError
from understudy.run import Run
from understudy.ship.contract import load_for_export
from understudy.ship.graphs import graphs_of
from understudy.ship.int8.calibration import calibration_inputs

FRAMES = 4


def entries(run: Run) -> dict:
    graphs = graphs_of(load_for_export(run, "best"), FRAMES)
    return {g.kind: (g, {"inputs": [spec.to_json() for spec in g.inputs]}) for g in graphs}


@pytest.mark.parametrize("kind", ["clip", "step"])
def test_only_training_clips_are_read(
    kind: str, small_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    plain = ClipDataset.__getitem__

    def watched(self: ClipDataset, key: tuple) -> object:
        read.append(self.manifest.records[key[0]].split)
        return plain(self, key)

    monkeypatch.setattr(ClipDataset, "__getitem__", watched)
    graph, entry = entries(small_run)[kind]
    found = calibration_inputs(small_run, graph, entry, frames=FRAMES)
    assert read == ["train"] * 3
    assert len(found) == (3 if kind == "clip" else 3 * FRAMES)
    for values in found:
        for value, spec in zip(values, entry["inputs"], strict=True):
            assert value.dtype == spec["dtype"]
            assert list(value.shape) == spec["shape"]


def test_steps_carry_the_state_of_the_stream(small_run: Run) -> None:
    model = load_for_export(small_run, "best")
    graph, entry = entries(small_run)["step"]
    clip = calibration_inputs(small_run, *entries(small_run)["clip"], frames=FRAMES)[0]
    steps = calibration_inputs(small_run, graph, entry, frames=FRAMES)[:FRAMES]
    assert all(not np.any(value) for value in steps[0][1:])
    assert all(
        np.array_equal(step[0][0], frame) for step, frame in zip(steps, clip[0], strict=True)
    )
    with torch.inference_mode():
        expected = model(torch.from_numpy(clip[0])[None]).logits
        given = graph.module(*map(torch.from_numpy, steps[-1]))[0]
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)


def test_data_without_training_clips_cannot_calibrate(small_run: Run, tmp_path: Path) -> None:
    own = Path(small_run.data["manifest"]).read_text(encoding="utf-8").splitlines()
    table = tmp_path / "rest.csv"
    table.write_text("\n".join(line for line in own if ",train," not in line), encoding="utf-8")
    graph, entry = entries(small_run)["clip"]
    with pytest.raises(UserError, match="no clips in split train"):
        calibration_inputs(small_run, graph, entry, manifest=table, frames=FRAMES)
