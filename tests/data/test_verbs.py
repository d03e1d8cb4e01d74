"""The verbs of `understudy data`: they answer at once, say what is missing, and leave no halves."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from understudy.cli.data import data_app, data_csv, data_folds
from understudy.data.sources import read_manifest
from understudy.data.stage import film, film_stage
from understudy.data.stage.film import plan, write_video
from understudy.data.stage.studio import studio
from understudy.errors import UserError

QUICK = """
import sys
from understudy.cli.data import data_app, data_csv, data_folds
for words in (
    ["folder", "tree", "f.csv"],
    ["csv", "f.csv", "o.parquet"],
    ["check", "o.parquet", "--table-only"],
):
    data_app(words, standalone_mode=False)
slow = {"torch", "torchvision", "av", "scipy", "PIL"} & set(sys.modules)
assert not slow, slow
"""


def test_tables_are_read_without_loading_pytorch(tmp_path):
    for label in "ab":
        (tmp_path / "tree" / label).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "tree" / label / f"{number}.mp4").touch()
    done = subprocess.run(
        [sys.executable, "-c", QUICK], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("12 clips, 2 classes") == 3


def test_a_class_that_a_split_lacks_is_named(tmp_path):
    rows = [("a", "x", "train"), ("b", "y", "train"), ("c", "x", "val"), ("d", "y", "test")]
    text = "".join(f"{path},{label},{split}\n" for path, label, split in rows)
    (tmp_path / "t.csv").write_text(f"path,label,split\n{text}")
    for path, *_ in rows:
        (tmp_path / path).touch()
    said = CliRunner().invoke(data_app, ["check", str(tmp_path / "t.csv"), "--table-only"]).stdout
    assert "val has no clip of: y\n" in said
    assert "test has no clip of: x\n" in said
    assert "train has no" not in said


def test_what_was_left_out_is_named_whatever_it_is_called(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(6):
            (tmp_path / label / f"{number}.mp4").touch()
    with open(os.fsencode(tmp_path) + b"/a/\x1b[31m\xff.txt", "w"):
        pass
    done = CliRunner().invoke(data_app, ["folder", str(tmp_path), str(tmp_path / "t.csv")])
    assert done.exit_code == 0
    assert r"1 files are no media and were left out, e.g. 'a/\x1b[31m\udcff.txt'" in done.stdout


def filmed(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def short(monkeypatch):
    """A stage of eight clips, which takes a second and not ten."""
    monkeypatch.setattr(film, "plan", lambda clips, seed: plan(clips, seed)[:8])


def stopped(error: BaseException, after: int):
    """A writer of videos that fails, half a file written."""
    written = []

    def write(path: Path, frames, fps: int) -> None:
        written.append(path)
        if len(written) > after:
            Path(path).write_bytes(b"half")
            raise error
        write_video(path, frames, fps)

    return write


class Killed(BaseException):
    """What no program can catch."""


def test_a_stage_that_was_killed_is_finished_by_the_same_call(tmp_path, monkeypatch, short):
    whole, out = film_stage(tmp_path / "whole", clips=50, size=32), tmp_path / "stage"
    with monkeypatch.context() as patch:
        patch.setattr(film, "write_video", stopped(Killed(), 3))
        with pytest.raises(Killed):
            film_stage(out, clips=50, size=32)
    assert not (out / "manifest.csv").exists()
    with pytest.raises(UserError, match=r"an unfinished stage of clips 50, .* not of clips 60"):
        film_stage(out, clips=60, size=32)
    (out / "clips" / ".0123456789abcdef.partial").write_bytes(b"half of a clip")
    film_stage(out, clips=50, size=32)
    assert filmed(out) == filmed(whole)


@pytest.mark.parametrize("was_there", [False, True])
def test_a_full_disk_leaves_nothing_of_a_stage(tmp_path, monkeypatch, short, was_there):
    out = tmp_path / "stage"
    if was_there:
        out.mkdir()
    error = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(film, "write_video", stopped(error, 3))
    with pytest.raises(UserError, match="cannot be written: No space left"):
        film_stage(out, clips=50, size=32)
    assert list(tmp_path.iterdir()) == [out] * was_there
    assert not was_there or not list(out.iterdir())


def test_two_processes_film_no_stage(tmp_path):
    out = tmp_path / "stage"
    asked = {"clips": 50, "seed": 0, "size": 32, "pictures": True}
    with (
        studio(out, asked),
        pytest.raises(UserError, match="Another process films into"),
        studio(out, asked),
    ):
        pass
    with pytest.raises(UserError, match="is not empty"), studio(tmp_path, asked):
        pass


def test_folds_are_written_down_and_said(tmp_path, monkeypatch, capsys):
    lines = ["path,label,signer"]
    lines += [f"{n}.mp4,{'ab'[n % 2]},person {n // 4}" for n in range(24)]
    (tmp_path / "clips.csv").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    data_csv(Path("clips.csv"), Path("people.csv"), group_column="signer")
    data_folds("people.csv", Path("folds.csv"), folds=3)
    said = capsys.readouterr().out
    assert "fold 1: train 12 of 3, val 4 of 1, test 8 of 2" in said
    assert "does not look at the splits" in said
    found = read_manifest("folds.csv")
    assert sorted(set(found.extras["fold"])) == ["1", "2", "3"]
    data_folds("folds.csv", Path("each.csv"), leave_one_group_out=True)
    said = capsys.readouterr().out
    assert "fold 6: " in said
    assert "the folds that the table named are replaced" in said
    with pytest.raises(UserError, match=r"Give --folds K .* or --leave-one-group-out"):
        data_folds("people.csv", Path("x.csv"))
