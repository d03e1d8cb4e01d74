"""The threshold for "unknown": the rule by brute force, its file, and when it cannot be set."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import UserError
from understudy.judge.predictions import Predictions
from understudy.judge.statistics import wilson
from understudy.judge.unknown import (
    KEEP,
    choose_threshold,
    explain,
    unknown_threshold,
)
from understudy.run import Run, RunClassifier, save_weights
from understudy.run.classifier import checked_threshold


def predictions(logits: torch.Tensor, target: torch.Tensor) -> Predictions:
    n = len(target)
    names = [str(number) for number in range(n)]
    return Predictions(list(range(n)), names, names, names, target, logits, ("a", "b", "c"), "val")


def random_predictions(n: int, seed: int, sharpness: float = 2.0) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(3, (n,), generator=generator)
    logits = sharpness * torch.randn(n, 3, generator=generator)
    logits[torch.arange(n), target] += sharpness
    return predictions(logits, target)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 200), st.integers(0, 99), st.floats(0.5, 20))
def test_the_highest_threshold_that_keeps_enough(n, seed, sharpness):
    said = random_predictions(n, seed, sharpness)
    probability = said.logits.double().softmax(1).amax(1).numpy()
    right = probability[said.correct]
    if not len(right):
        return
    chosen = choose_threshold(said)
    assert 0 <= chosen.threshold < 1
    assert (right >= chosen.threshold).mean() >= KEEP
    higher = chosen.threshold + 2e-4  # it is rounded down to a ten-thousandth
    assert (right >= higher).mean() < KEEP or higher >= 1
    wrong = probability[~said.correct]
    assert (chosen.correct, chosen.wrong) == (len(right), len(wrong))
    assert chosen.kept_correct == pytest.approx((right >= chosen.threshold).mean())
    kept = int((right >= chosen.threshold).sum())
    assert (chosen.kept_correct_low, chosen.kept_correct_high) == wilson(kept, len(right))
    if len(wrong):
        assert chosen.kept_wrong == pytest.approx((wrong >= chosen.threshold).mean())
    else:
        assert chosen.kept_wrong is None


def test_exactly_five_of_a_hundred_may_go():
    logits = torch.zeros(100, 3)
    logits[:, 0] = torch.linspace(1, 4, 100)
    chosen = choose_threshold(predictions(logits, torch.zeros(100, dtype=torch.int64)))
    sixth = logits[5].double().softmax(0)[0].item()
    assert chosen.threshold == np.floor(sixth * 10_000) / 10_000
    assert chosen.kept_correct == 0.95
    assert explain(chosen).endswith("that keeps 95.0% of the 100 recognised correctly.")


def test_nothing_is_certain_enough_for_a_threshold_of_one():
    logits = torch.tensor([[1000.0, 0, 0]] * 30)
    chosen = choose_threshold(predictions(logits, torch.zeros(30, dtype=torch.int64)))
    assert chosen.threshold == 0.9999
    assert chosen.kept_correct == 1


def test_what_is_no_number_sets_no_threshold_and_is_named():
    broken = random_predictions(20, 0)
    broken.logits[3, 1] = float("nan")
    with pytest.raises(UserError, match=r"number for 1 of 20 clips, the first .* 3\."):
        choose_threshold(broken)


def test_clips_that_are_all_wrong_set_nothing():
    wrong = predictions(torch.eye(3), torch.tensor([1, 2, 0]))
    with pytest.raises(UserError, match=r"None of 3 validation clips.*--unknown 0\.5"):
        choose_threshold(wrong)


def always(run: Run) -> RunClassifier:
    """The run's model, made to say what is right for a third of the pictures."""
    classifier = run.classifier()
    with torch.no_grad():
        classifier.model.head[-1].weight.zero_()
        classifier.model.head[-1].bias.copy_(torch.tensor([2.0, 0.0, 0.0]))
    return classifier


def test_it_is_made_once_and_kept_with_its_figures(run: Run, monkeypatch: pytest.MonkeyPatch):
    told: list[str] = []
    model = always(run)
    threshold = unknown_threshold(model, note=told.append)
    content = json.loads((run.path / "unknown.json").read_text())
    assert threshold == content["threshold"] == pytest.approx(0.7869, abs=2e-4)
    assert (content["n"], content["correct"], content["wrong"]) == (9, 3, 6)
    assert (content["kept_correct"], content["kept_wrong"]) == (1, 1)
    assert (content["split"], content["checkpoint"], content["skipped"]) == ("val", "best", [])
    assert (content["keep"], "keeps 95%" in content["rule"]) == (KEEP, True)
    assert len(told) == 1
    monkeypatch.setattr("understudy.judge.unknown.predict_split", None)
    assert unknown_threshold(model, note=told.append) == threshold
    assert len(told) == 1, "known, and nothing was recognised again"


def test_other_weights_set_another_threshold(run: Run):
    unknown_threshold(always(run))
    place = run.path / "unknown.json"
    before = json.loads(place.read_text())
    changed = always(run)
    with torch.no_grad():
        changed.model.head[-1].bias[0] = 1.0
    save_weights(changed.model, run.checkpoint_path())
    assert unknown_threshold(changed) != before["threshold"]
    assert json.loads(place.read_text())["checkpoint_sha256"] != before["checkpoint_sha256"]


def test_a_table_that_changes_after_training_sets_no_threshold(run: Run):
    """Only the clips that the run has kept for validation do, with the labels they had."""
    place = run.path / "unknown.json"
    unknown_threshold(always(run))
    before = json.loads(place.read_text())
    place.unlink()
    table = Path(run.data["manifest"])
    changed = (
        table.read_text().replace(",right,val", ",left,val").replace(",still,val", ",left,val")
    )
    table.write_text(changed)
    unknown_threshold(always(run))
    assert json.loads(place.read_text()) == before


def test_without_its_clips_it_says_what_to_do(run: Run):
    for number in range(27):
        (Path(run.data["manifest"]).parent / f"{number}.png").unlink()
    with pytest.raises(UserError, match=r"(?s)none of 9.*Give one instead: --unknown 0\.5"):
        unknown_threshold(run.classifier())
    (run.path / "manifest.parquet").unlink()
    with pytest.raises(
        UserError, match=r"(?s)manifest\.parquet is missing.*Give one instead: --unknown 0\.5"
    ):
        unknown_threshold(run.classifier())
    assert not (run.path / "unknown.json").exists()


@pytest.mark.parametrize("value", [-0.1, 1, 1.0, 7, float("nan"), float("inf"), "0.5", None, True])
def test_what_is_no_threshold_is_refused(value):
    with pytest.raises(UserError, match=r"--unknown: .* is no threshold"):
        checked_threshold(value, "--unknown")


def test_a_damaged_file_is_told(run: Run):
    unknown_threshold(always(run))
    place = run.path / "unknown.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"threshold": 2}))
    with pytest.raises(UserError, match=r"unknown\.json is damaged: threshold: .*given: 2"):
        unknown_threshold(always(run))
