"""Nothing that takes long is silent: what is done is said again, with the time left where known."""

import re
import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from understudy import progress as progress_module
from understudy.progress import Heartbeat, untold
from understudy.teach.progress import Bar, Lines


def test_a_single_long_call_is_told_with_the_time_it_took():
    told: list[str] = []
    with Heartbeat(told.append, first_s=0.02) as beat:
        beat("quantising")
        time.sleep(0.2)
    assert told[0] == "quantising"
    assert told[1] == "quantising: 0 s so far"
    assert 3 <= len(told) <= 6, "each silence is twice as long as the one before"
    time.sleep(0.05)
    assert len(told) <= 6, "and nothing is said after the end"


def test_counted_clips_are_told_with_the_time_left():
    told: list[str] = []
    parts = [[0] * 4] * 5
    with Heartbeat(told.append, "preparing", first_s=0.02) as beat:
        for number, _ in enumerate(beat.track(parts, "features", 20, len)):
            time.sleep(0.15 if number == 3 else 0)
        time.sleep(0.4)
    assert told[0].startswith("features: 12 of 20 clips, ")
    assert told[0].endswith(" s left")
    assert told[-1].startswith("preparing: "), "what was done before goes on"


def test_what_is_short_is_not_told():
    told: list[str] = []
    with Heartbeat(told.append, "reading") as beat:
        assert list(beat.track([1, 2], "x", 2)) == [1, 2]
    assert told == []
    assert list(untold([1, 2], "x", 2)) == [1, 2]


@pytest.mark.parametrize("kind", [Lines, Bar])
def test_training_in_a_log_or_a_terminal_speaks_within_epochs(kind, monkeypatch, capsys):
    monkeypatch.setattr(progress_module, "FIRST_S", 0.02)
    reporter = kind()
    reporter._beat._first_s = reporter._beat._patience_s = 0.02
    with reporter:
        reporter.note("teacher: ViT-B-32")
        time.sleep(0.1)
        assert list(reporter.track([[1], [2]], "features", 2, len)) == [[1], [2]]
        reporter.start(2, 10)
        reporter.advance(5)
        time.sleep(0.1)
    said = capsys.readouterr().err
    assert re.search(r"teacher: ViT-B-32: \d+ s so far", said)
    assert bool(re.search(r"training: 5 of 20 clips, \d+ s left", said)) == (kind is Lines)


@dataclass
class Thresholded:
    thresholds: None = None


def test_a_run_is_validated_and_evaluated_in_view(monkeypatch):
    """Whoever reads clips for long takes a tracker and gives every batch through it."""
    from understudy.judge import collect

    seen: list[tuple[str, int]] = []

    def track(parts, title, total, size):
        seen.append((title, total))
        return iter(parts)

    manifest = SimpleNamespace(rows=lambda split: [0, 1, 2])
    classifier = SimpleNamespace(sampling=None, classes=("a",), task=None, thresholds=None)
    monkeypatch.setattr(collect, "split_loader", lambda *args, **options: [])

    def predict_loader(classifier, loader, *args, **options):
        assert not list(loader)
        return Thresholded()

    monkeypatch.setattr(collect, "predict_loader", predict_loader)
    collect.predict_split(classifier, manifest, "test", track=track)  # pyright: ignore
    assert seen == [("recognising the test split", 3)]
