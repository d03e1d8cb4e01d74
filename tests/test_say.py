"""What reaches a terminal or a program that reads: whole characters, and none that steers."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console
from tqdm import tqdm

from understudy import cli
from understudy.cli.say import Unbroken, print_, print_json, print_or_stop, say, visible
from understudy.errors import UserError
from understudy.judge.show import metric_lines
from understudy.teach.progress import Lines

HOSTILE = "wave\x1b]0;owned\x07\r\nsafe\x9b31m\u202egnp\u2066\u2028\ud800"
SHOWN = r"wave\u001b]0;owned\u0007\r\nsafe\u009b31m\u202egnp\u2066\u2028\ud800"


def test_no_character_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_(HOSTILE, "动作 café 👋🏽 می‌رود")
    say(f"a label: {HOSTILE}")
    out, err = capsys.readouterr()
    assert out == f"{SHOWN}\n动作 café 👋🏽 می‌رود\n", "a line break in a label is no other line"
    assert "\x1b" not in err
    assert SHOWN.split(r"\n")[0] in err


def test_json_is_real_characters_and_the_content_it_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = {"label": HOSTILE, "other": ["动作", "café"]}
    print_json(content)
    out = capsys.readouterr().out
    assert json.loads(out) == content
    assert "动作" in out
    assert not any(one in out for one in "\x1b\x07\x9b\u202e\u2066\u2028\ud800")


def test_labels_of_an_evaluation_stay_in_their_lines() -> None:
    figure = {"value": 1.0, "low": 0.5, "high": 1.0, "n": 3}
    metrics = {"n": 3, "split": "test", "top1": figure, "classes": [HOSTILE, "b"],
               "per_class": {name: {"accuracy": figure} for name in (HOSTILE, "b")},
               "confusion": [[1, 1], [0, 1]], "warnings": ["few\nclips"]}  # fmt: skip
    lines = list(map(visible, metric_lines(metrics)))
    assert not any(one in line for line in lines for one in "\x1b\n\r\u202e")
    assert lines[-3:] == ["", "! few", "clips"]


@contextmanager
def nobody_reads(name: str = "stdout") -> Iterator[None]:
    """A stream whose reader has gone, as after `| head -1`."""
    read, write = os.pipe()
    os.close(read)
    stream, before = os.fdopen(write, "w", encoding="utf-8"), getattr(sys, name)
    setattr(sys, name, Unbroken(stream))
    try:
        yield
    finally:
        setattr(sys, name, before)
        stream.close()


def test_work_goes_on_where_nobody_reads_its_answer() -> None:
    with nobody_reads():
        print_("a line", "another")
        print_("the next")


def test_training_goes_on_where_nobody_reads_its_progress() -> None:
    """As after `train 2>&1 | head -1`: whatever library draws it."""
    with nobody_reads("stderr"), Lines() as reporter:
        reporter.note("a line")
        reporter.note("another")
        Console(stderr=True).print("by another console")
        tqdm(range(3), file=sys.stderr).update(3)
        say("by the command line")


@pytest.mark.parametrize("module", ["understudy", "understudy.cli"])
def test_a_whole_process_that_nobody_reads_ends_with_0(module: str) -> None:
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", module, "models"]
    done = subprocess.run(words, stdout=write, stderr=write, check=False)
    os.close(write)
    assert done.returncode == 0


def test_a_pipe_that_is_not_ours_is_no_reader_that_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("understudy.models.list_models", broken)
    monkeypatch.setattr(sys, "argv", ["understudy", "models"])
    with pytest.raises(RuntimeError, match="A process that this one works with has ended"):
        cli.main()


def test_many_answers_end_where_nobody_reads_them() -> None:
    with nobody_reads(), pytest.raises(SystemExit) as stop:
        print_or_stop("a line")
    assert stop.value.code == 0


@pytest.mark.parametrize("words", ["--help", "--version", "bench --help", "data --help"])
def test_help_that_nobody_reads_is_no_fault(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["understudy", *words.split()])
    with nobody_reads(), pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_under_the_answer_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(full, write_through=True))
        with pytest.raises(UserError, match="The answer cannot be written: No space left"):
            print_("a line")


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_what_a_program_reads_is_utf8_in_every_locale(locale: dict[str, str]) -> None:
    code = (
        "from understudy.cli.say import prepare_streams, print_json; prepare_streams(); "
        r"print_json({'label': '\u52a8\u4f5c caf\u00e9'})"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LC_")}
    environment.pop("PYTHONUTF8", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | locale, capture_output=True, check=True
    )
    assert "动作 café" in done.stdout.decode("utf-8")
    assert json.loads(done.stdout) == {"label": "动作 café"}
