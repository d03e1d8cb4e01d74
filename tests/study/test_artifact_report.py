"""The page of an artifact that lies alone: what there is, and what is missing, named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from understudy.run import Run, read_json, write_json
from understudy.ship import Artifact
from understudy.study.artifact_report import render_artifact, write_report_of

NewRun = Callable[..., Run]


def alone(run: Run, folder: Path) -> Artifact:
    """The run's export, copied away from it, with a whole contract."""
    shutil.copytree(run.export_path("onnx"), folder)
    contract = read_json(folder / "contract.json")
    contract |= {
        "unknown_below": 0.4321,
        "sampling": {"method": "uniform", "stride_s": None, "clip_seconds": 1.8, "step_s": 0.3},
        "versions": {"torch": "2.14.1"},
    }
    write_json(folder / "contract.json", contract)
    return Artifact(folder)


def test_the_page_has_contract_parity_latency_and_evaluation(
    new_run: NewRun, tmp_path: Path
) -> None:
    run = new_run("ship")
    artifact = alone(run, tmp_path / "onnx")
    metrics = run.metrics
    assert metrics is not None
    place = artifact.path / "evaluations" / "clips-test"
    place.mkdir(parents=True)
    write_json(place / "metrics.json", metrics)
    path = write_report_of(artifact)
    assert path == artifact.path / "report.html"
    html = path.read_text(encoding="utf-8")
    for part in (
        "walk_left, walk_right",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "below a probability of 0.4321",
        "frame by frame, one every 0.3 s",
        "1.8 s (median)",
        "100% of 24",
        "dynamic with 0.61",
        "What it mixes up",
        "does not lie in the run that it was made from",
    ):
        assert part in html, part
    assert f"On {metrics['n']} clips of the test split" in html
    assert "Not evaluated yet" not in html
    assert "<script" not in html


def test_what_is_missing_is_named_and_the_rest_is_shown(new_run: NewRun, tmp_path: Path) -> None:
    artifact = alone(new_run("ship"), tmp_path / "onnx")
    for name in ("parity.json", "int8.json"):
        (artifact.path / name).unlink()
    (artifact.path / "latency.json").write_text("{")
    html = render_artifact(artifact)
    for part in (
        "latency.json is damaged",
        "parity.json) does not lie with its files",
        "comparison not recorded",
        f"Not timed, or not recorded: <code>understudy bench {artifact.path}</code>",
        f"Not evaluated yet: <code>understudy evaluate {artifact.path} --data CLIPS</code>",
        "How good it is does not lie with its files",
        "walk_left",
    ):
        assert part in html, part


def test_an_export_inside_its_run_has_the_page_of_the_run(new_run: NewRun) -> None:
    run = new_run("ship")
    path = write_report_of(Artifact(run.export_path("onnx")))
    assert path == run.report_path.resolve()
    assert "run report" in path.read_text(encoding="utf-8")
