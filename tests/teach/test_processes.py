"""Several real processes that train one student, started by torchrun on the CPU."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from understudy.recipe import Recipe, dump_recipe
from understudy.run import open_run
from understudy.teach.train import train

from .conftest import make_recipe

pytestmark = pytest.mark.slow

# Without dropout and batch statistics, which each process has for its own part of a batch.
RVIT = {
    "name": "rvit",
    "options": {"dim": 16, "heads": 2, "mlp_dim": 32, "dropout": 0.0},
}


def together(
    recipe: Recipe, folder: Path, *words: str, processes: int = 2, patience_s: float = 200
) -> subprocess.CompletedProcess[str]:
    """`understudy train` in several processes; they end, or the test fails."""
    (folder / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", str(processes), "-m", "understudy.cli", "train",
        *(words or (str(folder / "recipe.yaml"), "--out", str(folder / "together"))),
    ]  # fmt: skip
    return subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )


def differences(one: Path, two: Path) -> float:
    a, b = (load_file(open_run(place).checkpoint_path("final")) for place in (one, two))
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.sweep)])
def test_they_do_what_one_process_does(clips, tmp_path, processes):
    """30 clips in batches of 8: the last batch has 6, and two clips a process."""
    recipe = make_recipe(clips, model=RVIT, train={"epochs": 2, "lr": 1e-3, "accumulate": 2})
    alone = train(recipe, tmp_path / "alone")
    done = together(recipe, tmp_path, processes=processes)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Next: understudy evaluate") == 1, "one of them speaks"
    run = open_run(tmp_path / "together")
    for ours, theirs in zip(run.history, alone.history, strict=True):
        for part in ("train", "val"):
            assert ours[part].keys() == theirs[part].keys()
            for name, value in ours[part].items():
                assert value == pytest.approx(theirs[part][name], abs=1e-4), (part, name)
        assert ours["val"]["n"] == 9, "every clip once, none padded"
    assert differences(run.path, alone.path) < 1e-4
    assert run.is_finished


def test_bad_clips_and_a_short_batch_end_nothing(clips, tmp_path):
    """Batches of two: where one clip cannot be read, one process has none."""
    folder = tmp_path / "copy"
    shutil.copytree(clips.parent, folder)
    for number in ("03", "20"):
        (folder / "clips" / number / "001.png").write_bytes(b"not a picture")
    recipe = make_recipe(
        folder / "clips.csv",
        model=RVIT,
        data={"max_bad_share": 0.2},
        train={"epochs": 2, "batch_size": 3, "lr": 1e-3},
    )
    alone = train(recipe, tmp_path / "alone")
    done = together(recipe, tmp_path)
    assert done.returncode == 0, done.stderr
    run = open_run(tmp_path / "together")
    assert [entry["path"] for entry in run.data["skipped"]] == ["clips/03", "clips/20"]
    assert run.data["skipped"] == alone.data["skipped"]
    assert differences(run.path, alone.path) < 1e-4


def test_a_teacher_is_asked_by_all_of_them_for_one_store(clips, tmp_path):
    teacher = train(make_recipe(clips, train={"epochs": 1}), tmp_path / "runs" / "teacher")
    views = {"augment": {"crop_scale": 0.5, "views": 1}}
    recipe = make_recipe(
        clips,
        model=RVIT,
        data=views,
        teacher={"kind": "run", "path": str(teacher.path)},
        train={"epochs": 2, "lr": 1e-3},
    )
    place = tmp_path / "runs" / "together"
    done = together(recipe, tmp_path, str(tmp_path / "recipe.yaml"), "--out", str(place))
    assert done.returncode == 0, done.stderr
    shards = list((tmp_path / "runs" / "teacher-store").rglob("*.safetensors"))
    assert sum(len(load_file(shard)["ids"]) for shard in shards) == 30 + 9
    alone = train(recipe, tmp_path / "elsewhere" / "alone")
    assert differences(place, alone.path) < 1e-4


@pytest.mark.parametrize("mistake", ["there already", "too many bad clips"])
def test_a_mistake_ends_all_of_them_and_is_said_once(clips, tmp_path, mistake):
    recipe = make_recipe(clips, model=RVIT, train={"epochs": 1})
    if mistake == "there already":
        train(recipe, tmp_path / "together")
        said = "There is a run in"
    else:
        folder = tmp_path / "copy"
        shutil.copytree(clips.parent, folder)
        for number in range(0, 30, 2):
            (folder / "clips" / f"{number:02d}" / "001.png").write_bytes(b"")
        recipe = make_recipe(folder / "clips.csv", model=RVIT, train={"epochs": 1})
        said = "clips could not be read, more than the share of 5%"
    done = together(recipe, tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
    if mistake != "too many bad clips":
        assert done.stderr.count(said) == 1


def test_a_process_that_dies_leaves_nobody_waiting(clips, tmp_path):
    recipe = make_recipe(clips, model=RVIT, train={"epochs": 400, "lr": 1e-3})
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "understudy.cli", "train", str(tmp_path / "recipe.yaml"),
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    crew = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )
    try:
        assert crew.stderr is not None
        for line in crew.stderr:
            if line.startswith("epoch   2"):
                break
        children = Path(f"/proc/{crew.pid}/task/{crew.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        crew.stderr.read()  # a full pipe would hold them
        assert crew.wait(60) != 0
    finally:
        crew.kill()
        crew.wait()
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert len(history) >= 2, "what was finished is kept, and can be gone on with"
    # Nobody holds the run any more: going on is possible at once, here with a finished look.
    resumed = open_run(tmp_path / "run")
    assert resumed.history == history
    assert torch.isfinite(torch.tensor([entry["val"]["loss"] for entry in history])).all()


def test_going_on_together_ends_where_they_would_have_ended(clips, tmp_path):
    recipe = make_recipe(clips, model=RVIT, train={"epochs": 2, "lr": 1e-3, "patience": 1})
    whole = together(recipe, tmp_path)
    assert whole.returncode == 0, whole.stderr
    shutil.copytree(tmp_path / "together", tmp_path / "again")
    done = together(recipe, tmp_path, "--resume", str(tmp_path / "again"))
    assert done.returncode == 0, done.stderr
    assert differences(tmp_path / "together", tmp_path / "again") == 0
