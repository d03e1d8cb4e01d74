"""The run directory: whole files or none, exact weights or an error, nobody's work overwritten."""

import copy
import json
import os
import subprocess
import sys
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open

from faults import fill_the_disk
from made_runs import write_data
from understudy.data.fingerprint import fingerprint, fingerprints
from understudy.data.manifest import Manifest
from understudy.errors import UserError
from understudy.models import create_model
from understudy.recipe import parse_recipe
from understudy.run import (
    create_run,
    describe_environment,
    files,
    load_weights,
    new_run,
    open_run,
    read_json,
    save_weights,
    write_bytes,
    write_files,
    write_json,
)
from understudy.run.classifier import sampling_of_run
from understudy.types import Record

OPTIONS = {"backbone": "test_efficientnet", "embedding_dim": 32, "hidden_dim": 16, "heads": 2}
RECIPE = parse_recipe(
    {
        "name": "small",
        "data": {"manifest": "clips.csv", "size": 32},
        "model": {"name": "frames-attention", "options": OPTIONS},
    }
)

EPOCH = {"epoch": 1, "lr": 3e-4, "seconds": 1.0, "clips_per_second": 9.0, "best": True}
EPOCH |= {"train": {"loss": 1.0}, "val": {"loss": 1.0, "top1": 0.5, "n": 8}}


def model(name="frames-attention", classes=3, **options):
    return create_model(name, classes, **(OPTIONS | options))


def test_a_run_gives_back_what_was_put_into_it(tmp_path):
    run = create_run(tmp_path / "runs" / "small", RECIPE)
    assert open_run(str(run.path)) == run
    assert run.recipe == RECIPE
    assert run.name == "small"
    assert (run.teacher, run.metrics, run.history, run.checkpoints()) == (None, None, [], [])
    classes = ["a", "ö", "動"]
    write_data(run, tuple(classes), model_options=OPTIONS, clip_seconds=1.0)
    trained = model()
    save_weights(trained, run.checkpoint_path("epoch_010"), {"model": "frames-attention"})
    save_weights(trained, run.checkpoint_path())
    assert run.checkpoints() == ["best", "epoch_010"]
    assert run.classes == tuple(classes)
    loaded = run.load_model("epoch_010")
    assert not loaded.training
    frames = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(loaded(frames).logits, trained.eval()(frames).logits)
    with safe_open(run.checkpoint_path("epoch_010"), "pt") as file:
        assert file.metadata()["model"] == "frames-attention"


def test_nobodys_run_is_overwritten(tmp_path):
    run = create_run(tmp_path / "my run", RECIPE)
    with pytest.raises(
        UserError, match=r"already.*understudy train --resume '.*/my run'"
    ) as caught:
        create_run(run.path, RECIPE)
    assert "--out" in str(caught.value)


@pytest.mark.parametrize(
    "place", ["file", "file/run", "file/deep/run", "x" * 300, "loop/run", "nowhere", "line\nbreak"]
)
@pytest.mark.parametrize("make", [create_run, lambda *given: new_run(*given).__enter__()])
def test_a_folder_that_cannot_be_written_is_found_out_at_once(tmp_path, place, make):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    with pytest.raises(UserError, match=r"(cannot be written: |no file can name).*--out"):
        make(tmp_path / place, RECIPE)
    assert {entry.name for entry in tmp_path.iterdir()} == {"file", "loop", "nowhere"}
    assert (tmp_path / "file").read_text() == "mine"


def test_a_link_to_a_folder_is_that_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(KeyboardInterrupt), new_run(tmp_path / "link", RECIPE):
        raise KeyboardInterrupt
    assert {entry.name for entry in tmp_path.iterdir()} == {"real", "link"}
    with new_run(tmp_path / "link", RECIPE) as run:
        assert (tmp_path / "real" / "recipe.yaml").is_file()
    (run.path / "recipe.yaml").rename(run.path / "mine.yaml")
    with pytest.raises(UserError, match=r"link is not empty \(mine\.yaml\)"):
        create_run(tmp_path / "link", RECIPE)


def test_what_a_killed_process_left_half_written_goes_with_the_next_file(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from understudy.run import files\n"
        "os.replace = lambda *_: (print('half', flush=True), sys.stdin.read())\n"
        f"files.write_bytes(Path({str(tmp_path / 'a.bin')!r}), b'half')"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "half\n"
        [half] = tmp_path.iterdir()
        os.utime(half, (1, 1))
        (tmp_path / "theirs.partial").touch()
        write_bytes(tmp_path / "b.bin", b"whole")
        assert half.exists(), "its writer lives"
        writer.kill()
        writer.wait()
        write_bytes(tmp_path / "b.bin", b"whole")
        assert {file.name for file in tmp_path.iterdir()} == {"b.bin", "theirs.partial"}
    finally:
        writer.kill()
        writer.communicate()


def test_files_that_belong_together_change_together(tmp_path, monkeypatch):
    one, two = tmp_path / "predictions.parquet", tmp_path / "metrics.json"
    write_files({one: b"old", two: b"old"})
    with monkeypatch.context() as patch:
        fill_the_disk(patch, after=1)
        with pytest.raises(OSError, match="No space left on device") as caught:
            write_files({one: b"new", two: b"new"})
    assert caught.value.filename == str(two)
    assert (one.read_bytes(), two.read_bytes()) == (b"old", b"old")
    assert {file.name for file in tmp_path.iterdir()} == {one.name, two.name}


def test_a_run_that_fails_takes_nothing_of_others_along(tmp_path):
    class BrokenError(Exception):
        pass

    def fail(run, after):
        write_json(run.path / "data.json", {})
        after(run)
        raise BrokenError

    def replace(file):
        mine = file.with_name("mine")
        mine.write_text("keep me")
        mine.replace(file)

    def track(folder, *others):
        deep = folder / "tensorboard" / "1700000000.1"
        deep.mkdir(parents=True)
        for name in ("events.out.tfevents.1.host.2", "hparams.yml", *others):
            (deep / name).touch()

    def fail_in(place, *, after=lambda run: None):
        with pytest.raises(BrokenError), new_run(place, RECIPE) as run:
            fail(run, after)

    fail_in(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    fail_in(tmp_path / "deep" / "in" / "folders")
    assert not (tmp_path / "deep").exists()
    # The first checkpoint was written, and then the disk was full.
    fail_in(tmp_path / "full", after=lambda run: write_bytes(run.checkpoint_path("best"), b"best"))
    assert not (tmp_path / "full").exists()
    (tmp_path / "empty").mkdir()
    fail_in(tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
    # What somebody put there meanwhile stays, and so does the folder.
    fail_in(tmp_path / "kept", after=lambda run: (run.path / "notes.txt").write_text("keep me"))
    assert [entry.name for entry in (tmp_path / "kept").iterdir()] == ["notes.txt"]
    # Also under a name that training uses: beside what was made, or in its place.
    for name in ("start.json", "data.json"):
        place = tmp_path / f"kept {name}"
        fail_in(place, after=lambda run, name=name: replace(run.path / name))
        assert [entry.name for entry in place.iterdir()] == [name]
        assert (place / name).read_text() == "keep me"
    # A tracker's files go, and whatever else lies in its folder stays.
    fail_in(tmp_path / "tracked", after=lambda run: track(run.path))
    assert not (tmp_path / "tracked").exists()
    fail_in(tmp_path / "noted", after=lambda run: track(run.path, "notes.txt"))
    assert [file.name for file in (tmp_path / "noted").rglob("*") if file.is_file()] == [
        "notes.txt"
    ]
    # And a run in which something was learned.
    fail_in(tmp_path / "learned", after=lambda run: write_json(run.path / "history.json", [EPOCH]))
    assert open_run(tmp_path / "learned").history == [EPOCH]


def test_a_folder_that_holds_anything_else_is_refused(tmp_path):
    (tmp_path / "data.json").write_text("mine")
    for make in (create_run, lambda *given: new_run(*given).__enter__()):
        with pytest.raises(UserError, match=r"is not empty \(data\.json\) and no run.*--out"):
            make(tmp_path, RECIPE)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.json"]


def test_a_run_keeps_its_clips_with_what_their_bytes_were(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in "abc":
        (tmp_path / "clips" / f"{name}.mp4").write_bytes(name.encode() * 100_000)
    records = [
        Record("clips/a.mp4", "sit", "train", "ann", 0.5, 2.0),
        Record("clips/b.mp4", "stand", "val", "bob"),
        Record("clips/gone.mp4", "sit", "test", "cat"),
    ]
    manifest = Manifest.from_records(records, tmp_path, {"note": ["x", "", "z"]})
    paths = [manifest.path_of(row) for row in range(3)]
    run = create_run(tmp_path / "run", RECIPE)
    run.write_manifest(manifest.with_fingerprints(list(fingerprints(paths))))

    kept = run.manifest
    assert list(kept.records) == records
    assert list(kept.extras["note"]) == ["x", "", "z"]
    assert kept.path_of(0) == paths[0]
    assert kept.id_of(0) == "clips/a.mp4#t=0.5,2"
    assert kept.key_of(0) == f"{fingerprint(paths[0])}#t=0.5,2"
    assert [kept.is_unchanged(row, fingerprint(paths[row])) for row in range(3)] == [True] * 3
    paths[0].write_bytes(b"a" * 99_999)
    paths[1].write_bytes(b"b" * 50_000 + b"x" + b"b" * 49_999)  # in the middle
    paths[2].write_bytes(b"not there when the run began")
    assert [kept.is_unchanged(row, fingerprint(paths[row])) for row in range(3)] == [False] * 3
    columns = ["id", "path", "label", "split", "group", "start_s", "end_s", "note", "fingerprint"]
    assert pq.read_table(run.path / "manifest.parquet").column_names == columns


def test_a_fingerprint_is_of_bytes_and_not_of_names(tmp_path):
    one, two = tmp_path / "one.jpg", tmp_path / "other.jpg"
    one.write_bytes(b"picture")
    two.write_bytes(b"picture")
    assert fingerprint(one) == fingerprint(two)
    two.write_bytes(b"Picture")
    assert fingerprint(one) != fingerprint(two)
    assert fingerprint(tmp_path / "none.jpg") is None
    folder = tmp_path / "frames"
    folder.mkdir()
    empty = fingerprint(folder)
    for number in range(5):
        (folder / f"{number}.png").write_bytes(b"x" * number)
    known = fingerprint(folder)
    assert known != empty
    (folder / "3.png").rename(folder / "5.png")
    assert fingerprint(folder) != known, "frames in another order are another clip"


@pytest.mark.parametrize("content", [b"", b"rubbish"])
def test_a_damaged_manifest_is_named(tmp_path, content):
    run = create_run(tmp_path / "run", RECIPE)
    with pytest.raises(UserError, match=r"manifest\.parquet is missing.*--data"):
        _ = run.manifest
    (run.path / "manifest.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.parquet is damaged"):
        _ = run.manifest


def test_what_was_killed_before_its_recipe_stands_in_nobodys_way(tmp_path):
    path = tmp_path / "run"
    (path / "checkpoints").mkdir(parents=True)
    (path / ".understudy-0123456789abcdef.partial").write_bytes(b"na")
    with new_run(path, RECIPE) as run:
        write_json(run.path / "history.json", [])
    (tmp_path / "mine" / "checkpoints" / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match="is not empty"), new_run(tmp_path / "mine", RECIPE):
        pass


def test_a_manifest_without_clips_is_damaged(tmp_path):
    run = create_run(tmp_path / "run", RECIPE)
    run.write_manifest(Manifest.from_records([], tmp_path))
    with pytest.raises(UserError, match=r"manifest\.parquet is damaged: it holds no clip"):
        _ = run.manifest


def test_a_run_that_is_not_there_names_its_neighbour(tmp_path):
    run = create_run(tmp_path / "student", RECIPE)
    with pytest.raises(UserError, match=r"no run at .*studemt\. A run is"):  # it may be asking
        open_run(tmp_path / "studemt")
    write_json(run.path / "data.json", {})
    (tmp_path / "studeny").mkdir()
    with pytest.raises(UserError, match=r"no run at .*studemt\. Did you mean student\?"):
        open_run(tmp_path / "studemt")
    with pytest.raises(UserError, match=r"holds no recipe\.yaml"):
        open_run(tmp_path / "studeny")
    with pytest.raises(UserError, match="no run at"):
        open_run(tmp_path / "nowhere" / "deep")
    (tmp_path / "studeny" / "contract.json").write_text("{}")
    with pytest.raises(UserError, match="It is an export; name the run"):
        open_run(tmp_path / "studeny")


def test_a_checkpoint_that_is_missing_names_those_that_exist(tmp_path):
    run = create_run(tmp_path / "run", RECIPE)
    with pytest.raises(UserError, match=r"no checkpoint best\. There: none yet; was training"):
        run.load_model()
    save_weights(model(), run.checkpoint_path("final"))
    with pytest.raises(UserError, match=r"no checkpoint best\. There: final"):
        run.load_model()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: model(classes=4), r"head\.\S+ is \(4, 16\), the model has \(3, 16\)"),
        (lambda: model("frames-average"), r"temporal\.query is missing"),
        (lambda: model(hidden_dim=8), r"head\.\S+ is \(8, 32\), the model has \(16, 32\)"),
    ],
)
def test_weights_of_another_model_are_refused_and_change_nothing(tmp_path, other, message):
    save_weights(other(), tmp_path / "other.safetensors")
    mine = model()
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    with pytest.raises(UserError, match=f"other.safetensors is a checkpoint of another.*{message}"):
        load_weights(mine, tmp_path / "other.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in mine.state_dict().items())


def test_a_bigger_models_weights_name_what_is_too_much(tmp_path):
    save_weights(model(), tmp_path / "more.safetensors")
    with pytest.raises(
        UserError, match=r"temporal\.attention\.in_proj_bias is not part of this model"
    ):
        load_weights(model("frames-average"), tmp_path / "more.safetensors")


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\xff" * 100])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    (tmp_path / "best.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"best\.safetensors is not a readable safetensors file"):
        load_weights(model(), tmp_path / "best.safetensors")


def test_weights_are_kept_whatever_their_layout_in_memory(tmp_path):
    saved = model().to(memory_format=torch.channels_last)
    assert any(not tensor.is_contiguous() for tensor in saved.state_dict().values())
    save_weights(saved, tmp_path / "a.safetensors")
    loaded = model()
    load_weights(loaded, tmp_path / "a.safetensors")
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, saved.state_dict()[name]), name


def test_a_file_is_old_or_new_and_never_half(tmp_path, monkeypatch):
    place = tmp_path / "history.json"
    write_json(place, [EPOCH])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            write_bytes(place, b"half")
    assert read_json(place) == [EPOCH]
    assert list(tmp_path.iterdir()) == [place], "no half of a file is left behind"


FIGURE = {"value": 0.5, "low": 0.2, "high": 0.8, "n": 8, "method": "wilson"}
OF_CLASS = {"n": 4, "accuracy": FIGURE, "precision": FIGURE, "f1": FIGURE}
FILES: dict[str, Any] = {
    "data": {
        "classes": ["a", "b"],
        "manifest": "clips.csv",
        "clip_seconds": 1.0,
        "model_options": {},
        "skipped": [{"row": 3, "path": "x.mp4", "reason": "torn", "split": "train"}],
        "counts": {"train": {"a": 2, "b": 2}},
    },
    "environment": {"command": ["understudy"], "libraries": {"torch": "2"}, "finished": "today"},
    "teacher": {"name": "ViT-B-32", "val": FIGURE, "parameters": 9},
    "start": {
        "source": "run",
        "layers": [{"layer": "x", "how": "exact", "source": "x", "energy": None, "note": ""}],
    },
    "history": [EPOCH],
    "metrics": {
        "split": "test",
        "n": 8,
        "top1": FIGURE,
        "macro_f1": FIGURE,
        "calibration_error": FIGURE,
        "per_class": {"a": OF_CLASS, "b": OF_CLASS},
        "confusion": [[3, 1], [1, 3]],
        "classes": ["a", "b"],
        "warnings": [],
    },
}


def _changed(name, *place, to):
    """The content of a file with one value replaced; without a value, gone."""
    content = copy.deepcopy(FILES[name])
    part = content
    for key in place[:-1]:
        part = part[key]
    if to is None:
        del part[place[-1]]
    else:
        part[place[-1]] = to
    return name, json.dumps(content).encode()


@pytest.mark.parametrize("name", FILES)
def test_what_files_of_a_run_hold_is_read_as_it_was_written(tmp_path, name):
    run = create_run(tmp_path / "run", RECIPE)
    content = FILES[name]
    if isinstance(content, dict):
        content = content | {"of a later version": {"more": [1]}}
    write_json(run.path / f"{name}.json", content)
    assert getattr(run, name) == content


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"n": ', r"Expecting value: line 1"),
        (b"", "Expecting value"),
        (b"\xff\xfe{}", "codec can't decode"),
        (b"7", "Input should be a valid"),
        (b"[" * 10_000 + b"]" * 10_000, "nested too deeply"),
        (b'{"n": ' * 10_000, "nested too deeply"),
        (b'{"n": NaN}', "it holds NaN, which is no number"),
        (b"[-Infinity]", "it holds -Infinity, which is no number"),
        (b'{"n": ' + b"9" * 5_000 + b"}", r"limit \(4300 digits\)"),
    ],
)
def test_a_file_that_holds_nothing_of_its_kind_is_named(tmp_path, name, content, message):
    run = create_run(tmp_path / "run", RECIPE)
    (run.path / f"{name}.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}\.json is damaged: .*{message}") as caught:
        getattr(run, name)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (_changed("data", "classes", to=None), "classes is missing.*train a new run"),
        (_changed("data", "model_options", to=None), "model_options is missing"),
        (_changed("data", "classes", to="ab"), "classes: .*valid list"),
        (_changed("data", "classes", to=["a", 7]), r"classes\.1: .*valid string \(given: 7\)"),
        (_changed("data", "classes", to=["a", "a"]), "classes: a stands there twice"),
        (_changed("data", "classes", to=[]), "classes: .*at least 1 item"),
        (_changed("data", "classes", to=["x" * 2_000]), "classes.0: .*at most 1000 char"),
        (_changed("data", "classes", to=["\ud800"]), r"classes\.0: .*unicode"),
        (_changed("data", "clip_seconds", to="1.0"), "clip_seconds: .*valid number"),
        (_changed("data", "clip_seconds", to=True), "clip_seconds: .*valid number"),
        (_changed("data", "clip_seconds", to=-1.0), "clip_seconds: .*greater than or equal to 0"),
        (_changed("data", "skipped", 0, "row", to=[]), r"skipped\.0\.row: .*valid integer"),
        (_changed("data", "counts", "train", "a", to=-2), r"counts\.train\.a"),
        (_changed("environment", "command", to="train"), "command: .*valid list"),
        (_changed("environment", "finished", to={}), "finished: .*valid string"),
        (_changed("teacher", "val", to=0.9), r"val: .*valid dict"),
        (_changed("teacher", "val", "low", to="low"), r"val\.low"),
        (_changed("start", "layers", 0, "how", to="somehow"), r"layers\.0\.how"),
        (_changed("history", 0, "epoch", to=0), r"0\.epoch: .*greater than or equal to 1"),
        (_changed("history", 0, "val", "top1", to=None), None),
        (_changed("history", 0, "val", "top1", to="all"), r"0\.val\.top1: .*valid number"),
        (_changed("history", 0, "best", to=None), r"0\.best is missing"),
        (_changed("metrics", "confusion", to=[[1]]), "confusion is no table of 2 by 2.*evaluate"),
        (_changed("metrics", "per_class", "a", to=None), "per_class names other classes"),
        (_changed("metrics", "top1", "n", to=2**60), r"top1\.n"),
        (_changed("metrics", "n", to=1.5), "n: .*valid integer"),
    ],
)
def test_a_damaged_field_is_named_with_what_to_do(tmp_path, file, message):
    run = create_run(tmp_path / "run", RECIPE)
    name, content = file
    (run.path / f"{name}.json").write_bytes(content)
    if message is None:
        assert getattr(run, name)
        return
    with pytest.raises(UserError, match=rf"{name}\.json is damaged: .*{message}") as caught:
        getattr(run, name)
    assert len(str(caught.value)) < 500


def test_what_is_no_file_is_not_read(tmp_path, monkeypatch):
    run = create_run(tmp_path / "run", RECIPE)
    with pytest.raises(UserError, match=r"data\.json is missing: the run is not complete"):
        _ = run.data
    (run.path / "data.json").mkdir()
    with pytest.raises(UserError, match=r"data\.json is no file"):
        _ = run.data
    os.mkfifo(run.path / "history.json")  # reading it would wait for ever
    with pytest.raises(UserError, match=r"history\.json is no file"):
        _ = run.history
    monkeypatch.setattr(files, "MOST_BYTES", 10)
    (run.path / "metrics.json").write_text("[" * 11)
    with pytest.raises(UserError, match=r"metrics\.json is damaged: it is larger than any"):
        _ = run.metrics


@pytest.mark.parametrize(
    ("method", "step_s"), [("first", None), ("centre", None), ("uniform", 0.25)]
)
def test_a_stream_of_a_run_that_took_neighbouring_frames_passes_none_over(tmp_path, method, step_s):
    recipe = parse_recipe(
        {"name": "a", "data": {"manifest": "a", "sampling": method, "size": 32}, "model":
         {"name": "frames-attention", "options": OPTIONS}}
    )  # fmt: skip
    run = create_run(tmp_path / "run", recipe)
    write_data(run, ("a",), model_options={}, clip_seconds=2.0)
    assert sampling_of_run(run, model()).step_s == step_s


def test_the_record_of_a_machine_is_json_and_names_the_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/understudy", "train", "my recipe.yaml"])
    environment = json.loads(json.dumps(describe_environment()))
    assert environment["command"] == ["understudy", "train", "my recipe.yaml"]
    assert environment["libraries"]["torch"] == torch.__version__.split("+")[0]
    assert environment["cores"] == os.cpu_count()
