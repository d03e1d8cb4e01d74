"""A disk that is full, or may not be written, at every file that training and evaluation write."""

import errno
import os
from pathlib import Path

import pytest

from faults import fill_the_disk
from understudy.errors import UserError
from understudy.judge.evaluate import evaluate_run
from understudy.run import Run, files
from understudy.teach.train import resume, train

from .conftest import make_recipe


@pytest.fixture(scope="module")
def trained(clips, tmp_path_factory) -> Run:
    return train(make_recipe(clips, train={"epochs": 1}), tmp_path_factory.mktemp("full") / "run")


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("files_before", range(8))
def test_training_leaves_nothing_or_what_it_learned(
    clips, tmp_path, monkeypatch, files_before, error
):
    """The files: who writes, recipe, clips, environment, data, best weights, history, data."""
    with monkeypatch.context() as patch:
        fill_the_disk(patch, after=files_before, error=error, where=".partial")
        with pytest.raises(UserError, match=os.strerror(error)) as caught:
            train(make_recipe(clips, train={"epochs": 1}), tmp_path / "deep" / "run")
    assert not list(tmp_path.rglob("*.partial"))
    if "--resume" in str(caught.value):
        assert len(resume(tmp_path / "deep" / "run").history) == 1
    else:
        assert not list(tmp_path.iterdir())


def test_the_end_of_training_may_be_written_later(clips, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fill_the_disk(patch, after=9, where=".partial")  # all of its only epoch is kept
        with pytest.raises(UserError, match=r"No space.*every epoch is kept.*--resume"):
            train(make_recipe(clips, train={"epochs": 1}), tmp_path / "run")
    assert not list(tmp_path.rglob("*.partial"))
    assert resume(tmp_path / "run").is_finished


@pytest.mark.parametrize("files_before", [0, 1])
@pytest.mark.parametrize("split", ["test", "val"])
def test_an_evaluation_is_kept_whole_or_not_at_all(trained, monkeypatch, files_before, split):
    evaluate_run(trained)
    before = tree(trained.path)
    folders = {folder for folder in trained.path.rglob("*") if folder.is_dir()}
    with monkeypatch.context() as patch:
        fill_the_disk(patch, after=files_before, where=".partial")
        with pytest.raises(UserError, match=r"No space left.*Nothing of this evaluation is kept"):
            evaluate_run(trained, split=split)
    assert tree(trained.path) == before
    assert {folder for folder in trained.path.rglob("*") if folder.is_dir()} == folders


def test_a_disk_that_fills_while_a_file_is_written_leaves_no_half(tmp_path):
    """The system itself refuses: no file may grow beyond 1000 bytes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            files.write_bytes(tmp_path / "best.safetensors", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(tmp_path / "best.safetensors")
    assert not list(tmp_path.iterdir())
