"""Who is timed: names of runs, artifacts and peers, and what is said to any other."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from understudy.errors import UserError
from understudy.run import Run
from understudy.ship import Artifact
from understudy.ship.bench import bench
from understudy.ship.bench.lineup import FRAMES, SIZE, lineup
from understudy.ship.bench.peers import create_peer
from understudy.ship.bench.subjects import natural_clips

PEER = "timm:test_efficientnet"


def test_a_run_alone_brings_its_exports(run: Run, artifact: Artifact) -> None:
    with lineup([str(run.path)]) as named:
        names = [(one.name, one.kind) for one in named.subjects]
        assert names == [("small", "run"), ("small (onnx)", "artifact")]
    with lineup([str(run.path), str(run.path)]) as named:
        assert [one.kind for one in named.subjects] == ["run", "run"]


def test_an_export_that_cannot_run_is_left_out_with_its_reason(
    make_run: Callable[..., Run], manifest: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "runs" / "broken", manifest)
    (run.export_path("onnx")).mkdir(parents=True)
    (run.export_path("onnx") / "contract.json").write_text("{}")
    with lineup([str(run.path)]) as named:
        assert [one.kind for one in named.subjects] == ["run"]
        assert ["contract of an artifact" in reason for reason in named.left_out] == [True]
    with pytest.raises(UserError, match="contract of an artifact"):
        lineup([str(run.export_path("onnx"))]).__enter__()


def test_peers_see_what_the_first_run_sees_unless_told_otherwise(run: Run) -> None:
    with lineup([PEER, str(run.path)]) as named:
        assert [(one.frames, one.size) for one in named.subjects] == [(4, 32), (4, 32)]
        assert named.subjects[0].accuracy is None
    with lineup([PEER, str(run.path)], frames=2, size=64) as named:
        assert [(one.frames, one.size) for one in named.subjects] == [(2, 64), (4, 32)]
    with lineup([PEER]) as named:
        assert (named.subjects[0].frames, named.subjects[0].size) == (FRAMES, SIZE)


def test_an_exported_peer_gives_what_it_gives_in_pytorch_and_leaves_nothing(run: Run) -> None:
    clips = natural_clips(2, 3, 64)
    with lineup([f"{PEER}@onnx", PEER], frames=3, size=64) as named:
        exported, eager = named.subjects
        assert (exported.name, exported.kind, exported.runtime) == (f"{PEER}@onnx", "peer", "onnx")
        assert exported.reads["clip"].macs == eager.reads["clip"].macs
        folder = exported.path
        assert folder is not None
        assert (folder / "clip.onnx").stat().st_size == exported.reads["clip"].file_bytes
        with torch.inference_mode():
            expected = create_peer(PEER, frames=3, size=64)(clips)
            torch.testing.assert_close(
                exported.load(1)(clips).logits, expected.logits, rtol=1e-4, atol=1e-4
            )
    assert not folder.exists()


@pytest.mark.slow
def test_peers_are_timed_through_the_same_door(run: Run, artifact: Artifact) -> None:
    names = [str(run.path), PEER, f"{PEER}@onnx", "model:rvit@onnx"]
    with lineup(names, frames=3, size=32) as named:
        rows = bench(named.subjects, threads=(1,), rounds=3, seconds=0)
    assert [(row.subject, row.what) for row in rows] == [
        ("small", "clip"),
        ("small", "frame"),
        (PEER, "clip"),
        (f"{PEER}@onnx", "clip"),
        ("model:rvit@onnx", "clip"),
        ("model:rvit@onnx", "frame"),
    ]
    assert all(row.peak_rss_mb and row.first_call_ms for row in rows)
    # Random weights made in memory are not loaded from anywhere.
    assert [row.load_ms is None for row in rows] == [False, False, True, False, False, False]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("runs/smal", r"nothing that can be timed\. Did you mean \S*runs/small\?"),
        ("runs", r"neither a run nor an artifact\. In it: \S*runs/small\b"),
        ("notes.txt", r"is a file\."),
        ("clp:ViT-B-32@onnx", r"Did you mean clip:ViT-B-32@onnx\?"),
        ("mobilevit-xxs@onnx", r"Did you mean model:mobilevit-xxs@onnx\?"),
        ("timm:resnet18@onx", r"Did you mean onnx\?"),
        ("timm:resnet1", r"Did you mean \S*resnet"),
    ],
)
def test_nonsense_is_answered_with_what_is_nearest(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "small").mkdir(parents=True)
    (tmp_path / "runs" / "small" / "recipe.yaml").write_text("")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=said), lineup([name]):
        pass


def test_nothing_at_all_is_answered_with_what_is_accepted() -> None:
    with pytest.raises(UserError, match="clip:NAME"), lineup([]):
        pass
