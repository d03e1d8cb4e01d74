"""The page of a run of several labels: average precisions and thresholds, and no confusion."""

import re
from pathlib import Path

import pytest

from made_runs import make_run, tell_several
from understudy.judge.compare import compare_sources
from understudy.judge.evaluate import evaluate
from understudy.run import Run, write_json
from understudy.study.artifact_report import write_report_of
from understudy.study.report import percent, write_report
from understudy.study.versus import versus_content, versus_lines
from understudy.task import MULTI_LABEL

from .conftest import CLASSES
from .test_report import Page

OPTIONS = {"backbone": "small-cnn", "embedding_dim": 16, "hidden_dim": 8, "heads": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Run:
    """Evaluated, of two epochs; every other clip has a second label."""
    made = make_run(
        tmp_path_factory.mktemp("runs") / "several",
        tell_several(clips),
        tuple(sorted([*CLASSES, "odd"])),
        model="frames-attention",
        options=OPTIONS,
        built_with=OPTIONS | {"input_size": 32},
        data={"size": 32, "frames": 4},
        clip_seconds=1.0,
        task=MULTI_LABEL,
        eval={"resamples": 100},
    )
    val = {"loss": 0.6, "map": 0.5, "exact_match": 0.25, "n": 4}
    epochs = [
        {"epoch": epoch, "lr": 1e-3, "seconds": 1.0, "clips_per_second": 8.0, "best": epoch == 2,
         "train": {"loss": 0.7, "task": 0.7, "exact_match": 0.1}, "val": val}
        for epoch in (1, 2)
    ]  # fmt: skip
    write_json(made.path / "history.json", epochs)
    return made


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    before = Page(write_report(run).read_text(encoding="utf-8"))
    assert before.open == []
    assert "on the validation split its mAP was 50%" in before.text
    assert "binary cross-entropy" not in before.text, "nobody taught"
    evaluate(run)
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_it_opens_with_the_map_and_says_what_is_asked(run: Run, page: Page):
    assert page.open == []
    assert run.metrics is not None
    figure = run.metrics["map"]
    assert f"of the test split its mAP is {percent(figure['value'])} (95%" in page.text
    assert "to say which of 5 labels hold" in page.text
    assert "highest validation mAP" in page.text
    for title in ("mAP", "Micro F1", "Macro F1", "All labels right"):
        assert f"{title} " in page.text


def test_classes_have_average_precision_and_threshold_and_nothing_is_mixed_up(run: Run, page: Page):
    metrics = run.metrics
    assert metrics is not None
    assert "Average precision" in page.text
    assert "Holds from" in page.text
    for of_class in metrics["per_class"].values():
        assert f"{of_class['threshold']:.3f}" in page.text
    assert "What it mixes up" not in page.text
    assert "dashed mark is chance" not in page.text
    # 8 training clips, although half of them have two labels
    assert re.search(r"train 8 ", page.text)


def test_answers_are_shown_as_sets_of_labels(run: Run, page: Page):
    shown = [text for text in page.films() if "taken for" in text or "recognised as" in text]
    assert shown
    assert any(", " in text.partition(" of ")[2] for text in page.films())


def test_two_runs_are_compared_by_map(run: Run, page: Page):
    found = compare_sources(run, run)
    lines = versus_lines(found, "a", "b")
    assert lines[0] == "mAP on split test"
    content = versus_content(found, "a", "b")
    assert content["a"]["map"] == found.a.metrics["map"]
    assert "No difference is shown" in lines[4]


def test_an_export_that_lies_alone_has_a_page_with_its_thresholds(tmp_path: Path, run: Run):
    from made_artifacts import made_contract
    from understudy.ship import Artifact

    folder = tmp_path / "alone"
    folder.mkdir()
    classes = run.classes
    contract = made_contract(classes, frames=4, size=32)
    contract |= {"task": "multi-label", "thresholds": [0.1, 0.2, 0.3, 0.4, 0.5]}
    del contract["unknown_below"]
    write_json(folder / "contract.json", contract | {"unknown_below": None})
    text = Page(write_report_of(Artifact(folder)).read_text(encoding="utf-8")).text
    assert "says which of 5 labels hold" in text
    assert "odd 0.200" in text or f"{classes[1]} 0.200" in text
