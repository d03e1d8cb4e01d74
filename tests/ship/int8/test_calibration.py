"""Ranges come from training clips, and a step meets the states that a stream meets."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from understudy.data.loader import ClipDataset
from understudy.errors import UserError
from understudy.run import Run
from understudy.ship.clips import own_split
from understudy.ship.graphs import Graph, graphs_of
from understudy.ship.int8.calibration import calibration_inputs
from understudy.types import Sampling

FRAMES = 4


def look(run: Run) -> Sampling:
    return run.classifier().sampling


def graph_of(run: Run, kind: str) -> Graph:
    return next(one for one in graphs_of(run.classifier().model, FRAMES) if one.kind == kind)


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
    graph = graph_of(small_run, kind)
    found = calibration_inputs(small_run, graph, sampling=look(small_run))
    assert read == ["train"] * 3
    assert len(found) == (3 if kind == "clip" else 3 * FRAMES)
    for values in found:
        for value, spec in zip(values, graph.inputs, strict=True):
            assert value.dtype == spec.dtype
            assert value.shape == spec.shape


def test_steps_carry_the_state_of_the_stream(small_run: Run) -> None:
    model = small_run.classifier().model
    graph = graph_of(small_run, "step")
    clip = calibration_inputs(small_run, graph_of(small_run, "clip"), sampling=look(small_run))[0]
    steps = calibration_inputs(small_run, graph, sampling=look(small_run))[:FRAMES]
    assert all(not np.any(value) for value in steps[0][1:])
    assert all(
        np.array_equal(step[0][0], frame) for step, frame in zip(steps, clip[0], strict=True)
    )
    with torch.inference_mode():
        expected = model(torch.from_numpy(clip[0])[None]).logits
        given = graph.module(*map(torch.from_numpy, steps[-1]))[0]
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def moved(small_run: Run, manifest: Path, tmp_path: Path) -> Path:
    """The run's clips in another folder, under other names, and one that it never saw; its table
    gives every clip to training."""
    lines = ["path,label,split,group"]
    for row in range(len(small_run.manifest)):
        shutil.copy(small_run.manifest.path_of(row), tmp_path / f"moved {row}.mp4")
        lines.append(f"moved {row}.mp4,left,train,{row}")
    stranger = small_run.manifest.path_of(0).read_bytes() + b"more"
    (tmp_path / "stranger.mp4").write_bytes(stranger)
    table = tmp_path / "moved.csv"
    table.write_text(
        "\n".join([*lines, "stranger.mp4,left,train,x", ""]).replace(",left", ",right", 1)
    )
    return table


def test_where_clips_lie_now_changes_none_of_them(small_run: Run, moved: Path) -> None:
    """A clip belongs to the run's training by its bytes, whatever the table there calls it."""
    graph = graph_of(small_run, "clip")
    expected = calibration_inputs(small_run, graph, sampling=look(small_run))
    given = calibration_inputs(small_run, graph, manifest=moved, sampling=look(small_run))
    assert len(given) == len(expected) == 3
    for a, b in zip(given, expected, strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))
    for split in ("train", "val"):
        own = own_split(small_run, None, split, sampling=look(small_run))
        found = own_split(small_run, moved, split, sampling=look(small_run))
        assert found.rows == own.rows  # in the order in which they were copied


def test_other_clips_neither_calibrate_nor_choose(small_run: Run, moved: Path) -> None:
    lines = moved.read_text().splitlines()
    moved.write_text(
        "\n".join([lines[0], "stranger.mp4,left,train,x", "moved 2.mp4,right,train,y"])
    )
    graph = graph_of(small_run, "clip")
    with pytest.raises(UserError, match=r"None of the 2 clips of .*--data"):
        calibration_inputs(small_run, graph, manifest=moved, sampling=look(small_run))


def test_rows_that_the_table_gets_after_training_change_nothing(
    small_run: Run, manifest: Path
) -> None:
    table = Path(small_run.data["manifest"])
    before = table.read_text(encoding="utf-8")
    graph = graph_of(small_run, "clip")
    expected = calibration_inputs(small_run, graph, sampling=look(small_run))
    judging = own_split(small_run, None, "val", sampling=look(small_run)).rows
    extra = manifest.parent / "new.mp4"
    shutil.copy(manifest.parent / "2.mp4", extra)
    try:
        changed = before.replace(",test,", ",train,") + f"\n{extra},left,val,someone"
        table.write_text(changed, encoding="utf-8")
        given = calibration_inputs(small_run, graph, sampling=look(small_run))
        assert own_split(small_run, None, "val", sampling=look(small_run)).rows == judging
    finally:
        table.write_text(before, encoding="utf-8")
        extra.unlink()
    assert len(given) == len(expected) == 3
    for a, b in zip(given, expected, strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))
