"""Quantising a draft: every scheme measured, the chosen file in place, nothing else left."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from understudy.errors import UserError
from understudy.run import Run, read_json
from understudy.ship.artifact import load_artifact, sha256
from understudy.ship.int8 import Job, Unsuitable, auto, measure, schemes_of

FILES = ["clip.onnx", "contract.json", "int8.json", "step.onnx"]


@pytest.fixture
def draft(float_draft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(measure, "ROUNDS", 3)
    monkeypatch.setattr(measure, "SECONDS", 0.0)
    return Path(shutil.copytree(float_draft, tmp_path / "onnx"))


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Offer these schemes in the place of the format's, each timed at a tenth of FP32's."""

    def use(**schemes: Any) -> None:
        def times(kind: str, working: list[measure.Candidate], pixels: Any) -> dict[str, Any]:
            found = {}
            for one in working:
                ratio = 1.0 if one.recipe == "fp32" else 0.1
                found[one.recipe] = dict.fromkeys(("ratio", "ratio_low", "ratio_high"), ratio)
            return found

        monkeypatch.setattr(measure, "_times", times)
        monkeypatch.setattr(auto, "schemes_of", lambda name, ask: schemes)

    return use


def copied(job: Job) -> dict:
    """The same file again, with a note."""
    shutil.copy(job.float_path, job.out_path)
    return {"note": "copied"}


def mirrored(job: Job) -> dict:
    """Every logit with the other sign: wrong wherever FP32 is right."""
    model = onnx.load(str(job.float_path))
    for node in model.graph.node:
        node.output[:] = ["upright" if name == "logits" else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("Neg", ["upright"], ["logits"]))
    onnx.save(model, str(job.out_path))
    return {}


def unsuitable(job: Job) -> dict:
    raise Unsuitable("there is nothing to do")


def broken(job: Job) -> dict:
    raise ArithmeticError("the converter's own words")


@pytest.mark.slow
def test_every_scheme_of_onnx_is_measured_and_reported(small_run: Run, draft: Path) -> None:
    told: list[str] = []
    report = auto.quantise(small_run, draft, progress=told.append)
    assert report == read_json(draft / "int8.json")
    assert sorted(file.name for file in draft.iterdir()) == FILES
    # Of three validation clips one is corrupt: counted and named.
    assert (report["n"], report["split_clips"], report["split"]) == (2, 3, "val")
    assert [Path(clip["path"]).name for clip in report["skipped"]] == ["4.mp4"]
    assert report["asked"] == "auto"
    assert report["date"]
    assert report["hardware"]
    contract = read_json(draft / "contract.json")
    assert list(report["graphs"]) == ["clip", "step"]
    for kind, table in report["graphs"].items():
        first, *rows = table["rows"]
        assert first["recipe"] == "fp32"
        assert first["top1"] == first["agreement"] == first["ratio"] == 1
        assert [row["recipe"] for row in rows] == list(schemes_of("onnx"))
        measured = [row for row in rows if row["failure"] is None]
        assert len(measured) == 2
        for row in measured:
            assert row["ratio"] == pytest.approx(row["median_ms"] / first["median_ms"])
            assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
            assert row["bytes_ratio"] == row["bytes"] / first["bytes"]
            assert row["difference_points"] == pytest.approx(100 * (row["top1"] - first["top1"]))
            assert row["low_points"] <= row["difference_points"] <= row["high_points"]
            assert row["cosine"] > 0.95
        assert table["sentence"] in " ".join(told)
        entry = contract["graphs"][kind]
        chosen = table["chosen"]
        assert entry["precision"] == ("fp32" if chosen == "fp32" else f"int8 ({chosen})")
        assert entry["sha256"] == sha256(draft / entry["file"])
        shipped = next(row for row in table["rows"] if row["recipe"] == chosen)
        assert entry["bytes"] == shipped["bytes"]


def test_one_scheme_asked_for_by_name_is_shipped_though_it_is_no_faster(
    small_run: Run, draft: Path, float_draft: Path
) -> None:
    report = auto.quantise(small_run, draft, ask="static min-max")
    contract = read_json(draft / "contract.json")
    assert contract["precision"] == "int8 (static min-max)"
    for kind in ("clip", "step"):
        assert [row["recipe"] for row in report["graphs"][kind]["rows"]] == [
            "fp32",
            "static min-max",
        ]
        file = f"{kind}.onnx"
        assert (draft / file).stat().st_size < (float_draft / file).stat().st_size
    assert load_artifact(draft, threads=1).streams  # which also checks the checksums


def test_a_scheme_that_loses_more_than_a_point_is_never_shipped(
    small_run: Run, draft: Path, float_draft: Path, offer: Callable[..., None]
) -> None:
    offer(mirrored=mirrored)
    for ask in ("auto", "mirrored"):
        report = auto.quantise(small_run, draft, ask=ask)
        for kind, table in report["graphs"].items():
            assert table["chosen"] == "fp32"
            assert table["rows"][1]["difference_points"] == -100
            assert table["rows"][1]["agreement"] == 0
            assert "--qat" in table["sentence"]
            assert sha256(draft / f"{kind}.onnx") == sha256(float_draft / f"{kind}.onnx")
        assert read_json(draft / "contract.json")["precision"] == "fp32"


def test_failures_are_told_and_leave_the_others_their_turn(
    small_run: Run, draft: Path, offer: Callable[..., None]
) -> None:
    offer(unsuitable=unsuitable, broken=broken, copied=copied)
    report = auto.quantise(small_run, draft)
    for kind in ("clip", "step"):
        table = report["graphs"][kind]
        failures = {row["recipe"]: row["failure"] for row in table["rows"]}
        assert failures["unsuitable"] == "there is nothing to do"
        assert failures["broken"].endswith("ArithmeticError: the converter's own words")
        assert failures["copied"] is None
        assert table["chosen"] == "copied"
        assert read_json(draft / "contract.json")["graphs"][kind]["note"] == "copied"


def test_a_graph_that_cannot_be_quantised_is_shipped_in_fp32(
    small_run: Run, draft: Path, offer: Callable[..., None]
) -> None:
    def clips_only(job: Job) -> dict:
        return copied(job) if job.graph.kind == "clip" else unsuitable(job)

    offer(clips=clips_only)
    auto.quantise(small_run, draft)
    contract = read_json(draft / "contract.json")
    assert contract["precision"] == "clip int8 (clips), step fp32"


def test_nothing_is_left_of_a_quantisation_that_was_broken_off(
    small_run: Run, draft: Path, offer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(job: Job) -> Any:
        raise KeyboardInterrupt

    offer(interrupted=interrupted)
    before = {file.name: sha256(file) for file in draft.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        auto.quantise(small_run, draft)
    assert {file.name: sha256(file) for file in draft.iterdir()} == before


def test_unknown_schemes_and_formats_without_any_are_refused() -> None:
    with pytest.raises(UserError, match=r"Did you mean dynamic\?") as caught:
        schemes_of("onnx", "dynamc")
    assert "auto; dynamic; static min-max" in str(caught.value)
    with pytest.raises(UserError, match="by measurement"):
        schemes_of("coreml", "auto")
    assert list(schemes_of("onnx", "dynamic")) == ["dynamic"]
