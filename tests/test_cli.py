"""The command as people type it: the main job on real files, and every mistake named once."""

import contextlib
import io
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

from understudy import cli
from understudy.ship.bench.first_use import FirstUse
from understudy.teach import progress

COLOURS = {"amber": (220, 150, 20), "blue": (30, 40, 200)}
CLIPS = "clips"
RECIPE = {
    "data": {"manifest": "clips.csv", "size": 32, "frames": 2},
    "model": {
        "name": "frames-attention",
        "options": {
            "backbone": "test_efficientnet",
            "embedding_dim": 32,
            "hidden_dim": 16,
            "heads": 2,
        },
    },
    "train": {"epochs": 6, "batch_size": 8, "lr": 5e-3, "device": "cpu"},
}
HEAVY = {"torch", "torchvision", "timm", "av", "numpy", "pydantic", "pyarrow", "matplotlib"}


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


def understudy(folder: Path, *words: str) -> Said:
    """Run the command in a folder, within this process."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    argv = sys.argv
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        sys.argv = ["understudy", *words]
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            sys.argv = argv
    return Said(code, out.getvalue(), err.getvalue())


def film(path: Path, label: str, seed: int) -> None:
    """A second of H.264 video whose colour tells its class, under noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for _ in range(8):
            noise = rng.integers(-30, 30, (4, 6, 3)).repeat(8, axis=0).repeat(8, axis=1)
            pixels = (np.array(COLOURS[label]) + noise).clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def song(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = np.zeros((1, 1024), dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_recipe(path: Path, **changes: Any) -> None:
    content = {key: RECIPE[key] | changes.get(key, {}) for key in RECIPE}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


class Job(NamedTuple):
    """A folder in which the main job was done, and what each command said."""

    folder: Path
    said: dict[str, Said]


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The main job: 100 videos of 50 people, from the folder to the report."""
    folder = tmp_path_factory.mktemp("a person's work, dvě 動画")
    for number in range(100):
        label = list(COLOURS)[number % 2]
        film(folder / CLIPS / label / f"p{number // 2:02d}_{label}.mp4", label, number)
    Image.new("RGB", (40, 60), COLOURS["blue"]).save(folder / "sky over Ö.png")
    write_recipe(folder / "my small.yaml")
    run, one = "runs/my small", f"{CLIPS}/amber/p00_amber.mp4"
    commands = {
        "folder": ["data", "folder", CLIPS, "clips.csv", "--group-by", r"(p\d+)_"],
        "check": ["data", "check", "clips.csv"],
        "train": ["train", "my small.yaml"],
        "evaluate": ["evaluate", run],
        "evaluate json": ["evaluate", run, "--json"],
        "predict": ["predict", run, one, "sky over Ö.png", f"{CLIPS}/blue"],
        "predict json": ["predict", run, one, "sky over Ö.png", "--json"],
        "export": ["export", run],
        "predict export": ["predict", f"{run}/exports/onnx", one, "sky over Ö.png", "--json"],
        "bench": ["bench", run, "--rounds", "3", "--csv", "tables/bench.csv"],
        "report": ["report", run],
        "resume": ["train", "--resume", run],
        "stream": ["stream", run, one, "--smoothing", "0"],
        "stream json": ["stream", run, one, "--json"],
        "stream export": ["stream", f"{run}/exports/onnx", one, "--json"],
        "evaluate export": ["evaluate", f"{run}/exports/onnx", "--json"],
        "compare": ["compare", run, f"{run}/exports/onnx"],
        "compare json": ["compare", run, f"{run}/exports/onnx", "--json"],
        "report export": ["report", f"{run}/exports/onnx", "--out", "pages/export.html"],
        "cache": ["cache"],
    }
    with pytest.MonkeyPatch.context() as patch:
        # Peak memory takes a process for each subject; the tests of bench start them.
        used = FirstUse(load_ms=12.5, first_call_ms=6.25, peak_rss_mb=1234.0)
        patch.setattr("understudy.ship.bench.measure.first_use", lambda *_, **__: used)
        patch.setattr("understudy.ship.bench.measure.cores", lambda: 1)
        said = {name: understudy(folder, *words) for name, words in commands.items()}
    return Job(folder, said)


@pytest.mark.parametrize(
    "name",
    ["folder", "check", "train", "evaluate", "predict", "export", "bench", "report", "resume"],
)
def test_every_step_of_the_main_job_succeeds(job: Job, name: str) -> None:
    assert job.said[name].code == 0, job.said[name].err
    assert job.said[name].out
    assert "Traceback" not in job.said[name].err


def test_a_folder_becomes_a_manifest_split_by_person(job: Job) -> None:
    for name in ("folder", "check"):
        out = job.said[name].out
        assert "100 clips, 2 classes" in out
        assert re.search(r"train +60 clips \(30 a class\), 30 groups", out)
        assert re.search(r"test +20 clips \(10 a class\), 10 groups", out)
    header, *rows = (job.folder / "clips.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("path,label,split,group")
    assert len(rows) == 100
    assert f"{CLIPS}/amber/p00_amber.mp4,amber," in rows[0], "a path starts at the manifest"


def test_training_tells_every_epoch_and_what_comes_next(job: Job) -> None:
    out, err = job.said["train"].out, job.said["train"].err
    assert re.findall(r"^epoch +(\d+)  loss", err, flags=re.MULTILINE) == list("123456")
    assert "clips/s" in err
    assert out.splitlines()[-1] == "Next: understudy evaluate 'runs/my small'"


def test_twenty_clips_are_said_to_be_few(job: Job) -> None:
    out = job.said["evaluate"].out
    assert re.search(r"top-1 accuracy +(0\.9\d\d|1\.000) \[0\.\d{3}, \d\.\d{3}\] n=20", out)
    assert re.search(r"Only 20 clips: the 95% interval spans 0\.\d\d to \d\.\d\d, too wide", out)
    metrics = json.loads(job.said["evaluate json"].out)
    assert (metrics["split"], metrics["n"], metrics["groups"]) == ("test", 20, 10)
    assert metrics["top1"]["low"] < metrics["top1"]["value"] <= metrics["top1"]["high"]
    assert any("Only 20 clips" in warning for warning in metrics["warnings"])


def test_predictions_of_a_video_a_picture_and_a_folder(job: Job) -> None:
    first, second, *rest = job.said["predict"].out.splitlines()
    assert re.fullmatch(r"clips/amber/p00_amber\.mp4  0\.0-1\.0 s  amber  [01]\.\d\d", first)
    assert re.fullmatch(r"sky over Ö\.png  blue  [01]\.\d\d", second), "a picture has no time"
    assert len(rest) == 50
    blue = [line for line in rest if re.search(r"  0\.0-1\.0 s  blue  \d\.\d\d$", line)]
    assert len(blue) >= 48


def test_predictions_as_json_are_those_of_the_export(job: Job) -> None:
    run = [json.loads(line) for line in job.said["predict json"].out.splitlines()]
    export = [json.loads(line) for line in job.said["predict export"].out.splitlines()]
    assert [(entry["path"], entry["kind"]) for entry in run] == [
        (f"{CLIPS}/amber/p00_amber.mp4", "video"),
        ("sky over Ö.png", "picture"),
    ]
    for ours, theirs in zip(run, export, strict=True):
        [mine], [other] = ours["segments"], theirs["segments"]
        assert mine["label"] == other["label"]
        assert mine["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)
        assert sum(mine["probabilities"].values()) == pytest.approx(1)


def test_a_stream_says_what_it_is_and_what_it_took(job: Job) -> None:
    said = job.said["stream"]
    assert said.code == 0, said.err
    assert re.search(r'^"unknown" below 0\.\d+: of 20 validation clips, that keeps \d+', said.err)
    first, second, last = said.out.splitlines()
    assert re.fullmatch(r" +0\.\d s  warming up  [01]\.\d\d  \d+\.\d ms", first), "half a clip"
    assert re.fullmatch(r" +0\.\d s  amber  [01]\.\d\d  \d+\.\d ms", second)
    assert re.match(r"2 frames of 0\.8 s; a frame takes \d+\.\d ms \(median; 95% within ", last)
    said = job.said["stream json"]
    assert (said.code, said.err) == (0, ""), "the threshold is known from the first time"
    entries = [json.loads(line) for line in said.out.splitlines()]
    assert [entry["event"] for entry in entries] == [
        "change",
        "stretch",
        "change",
        "stretch",
        "summary",
    ]
    assert entries[-1]["frames"] == 2


def test_a_stream_by_the_export_is_that_by_the_run(job: Job) -> None:
    said = job.said["stream export"]
    assert said.code == 0, said.err
    assert 'no threshold for "unknown"' in said.err, "it was exported before the run had one"
    entries = [json.loads(line) for line in said.out.splitlines()]
    assert [entry["event"] for entry in entries if entry["event"] != "stretch"][-1] == "summary"
    assert entries[-1]["frames"] == 2


def test_an_export_is_evaluated_and_compared_as_its_run_is(job: Job) -> None:
    run, export = (json.loads(job.said[name].out) for name in ("evaluate json", "evaluate export"))
    assert (export["n"], export["top1"]["value"]) == (run["n"], run["top1"]["value"])
    said = job.said["compare"]
    assert said.code == 0, said.err
    first, one, other, difference, verdict, *_ = said.out.splitlines()
    assert first == "top-1 accuracy on split test"
    assert re.match(r"  runs/my small +(0\.9\d\d|1\.000) \[", one)
    assert other.startswith("  runs/my small/exports/onnx  ")
    assert re.match(r"difference [+-]0\.000 \[-0\.\d{3}, \+0\.\d{3}\], n = 20 clips", difference)
    assert re.search(r"of 10 groups, p = 1\.000$", difference)
    assert verdict.startswith("No difference is shown: runs/my small may be up to")
    content = json.loads(job.said["compare json"].out)
    assert (content["difference"], content["n"], content["split"]) == (0, 20, "test")
    assert content["a"]["source"] == "runs/my small"


def test_the_page_of_an_export_is_that_of_its_run(job: Job) -> None:
    said = job.said["report export"]
    assert said.out.strip() == "pages/export.html", said.err
    page = (job.folder / "pages" / "export.html").read_text(encoding="utf-8")
    assert "run report" in page
    assert "my small" in page


def test_where_no_teacher_taught_nothing_is_kept(job: Job) -> None:
    assert job.said["cache"].out.startswith("No teacher's outputs are kept in runs/teacher-store")


def test_what_is_published_is_fetched_and_has_a_page(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_HUB", str(tmp_path))
    said = understudy(job.folder, "push", "runs/my small", "lab/small")
    assert (said.code, said.out.strip()) == (0, str(tmp_path / "lab/small")), said.err
    said = understudy(job.folder, "pull", "hub:lab/small")
    assert said.code == 0, said.err
    assert str(tmp_path / "lab" / "small" / "onnx") in said.out
    assert "2 classes: amber, blue" in said.out
    said = understudy(job.folder, "predict", "hub:lab/small", f"{CLIPS}/amber/p00_amber.mp4")
    assert re.search(r"0\.0-1\.0 s  amber  [01]\.\d\d$", said.out.strip())
    said = understudy(job.folder, "report", "hub:lab/small", "--out", "pages/alone.html")
    page = (job.folder / said.out.strip()).read_text(encoding="utf-8")
    for part in ("does not lie in the run", "amber, blue", "Not evaluated yet", "clip.onnx"):
        assert part in page or part == "clip.onnx", part
    assert "100% of" in page, "parity, as it was measured"


def test_export_tells_its_parity_and_bench_times_both(job: Job) -> None:
    path, files, parity = job.said["export"].out.splitlines()
    assert (job.folder / path / "clip.onnx").is_file()
    assert re.search(r"clip\.onnx \d+\.\d MB fp32, step\.onnx", files)
    assert re.search(r"largest difference of logits \S+e-0[5-9] .*allowed 0\.0001", parity)
    assert re.search(r"stream of 256 frames .*same best class for 100\.0%", parity)
    header, *rows = job.said["bench"].out.split("\n\n")[0].splitlines()
    expected = ["my small", "my small", "my small (onnx)", "my small (onnx)"]
    assert [re.split(r" {2,}", row)[0] for row in rows] == expected
    assert [re.split(r" {2,}", row)[1] for row in rows] == ["clip", "frame"] * 2
    assert "median ms" in header
    assert all("1234" in row and "6.2" in row for row in rows)
    assert "streaming is" in job.said["bench"].out
    assert len((job.folder / "tables" / "bench.csv").read_text().splitlines()) == 5
    assert len(json.loads((job.folder / "runs/my small/bench.json").read_text())) == 4


def test_the_report_is_a_page_about_this_run(job: Job) -> None:
    page = (job.folder / job.said["report"].out.strip()).read_text(encoding="utf-8")
    assert page.lstrip().startswith("<!doctype html>")
    for part in ("my small", "amber", "test_efficientnet", "Only 20 clips", "onnx"):
        assert part in page, part


def test_resuming_a_finished_run_says_what_comes_next(job: Job) -> None:
    assert job.said["resume"].out == job.said["train"].out
    assert "epoch" not in job.said["resume"].err


Row = dict[str, str]


def change_table(source: Path, target: Path, change: Callable[[Row, int], Row | None]) -> None:
    """Write a manifest with changed rows; None leaves one out."""
    header, *lines = source.read_text(encoding="utf-8").splitlines()
    names = header.split(",")
    rows = [
        change(dict(zip(names, line.split(","), strict=True)), number)
        for number, line in enumerate(lines)
    ]
    kept = [",".join(row.values()) for row in rows if row is not None]
    target.write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def workshop(job: Job) -> Path:
    """The same folder, with everything in it that can be wrong."""
    folder, clips = job.folder, job.folder / "clips.csv"
    (folder / "only" / "runs" / "precious").mkdir(parents=True)
    (folder / "broken.mp4").write_bytes(b"not a video at all" * 50)
    (folder / "nothing.mp4").write_bytes(b"")
    song(folder / "song.mp4")
    with wave.open(str(folder / "song.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    (folder / "notes.txt").write_text("hello")
    (folder / "empty folder").mkdir()

    def bad(path: str, count: int) -> Callable[[Row, int], Row]:
        return lambda row, n: row | {"path": f"{n}-{path}" if n < count else row["path"]}

    for name in ("broken.mp4", "nothing.mp4", "song.mp4"):
        for number in range(8):
            shutil.copy(folder / name, folder / f"{number}-{name}")
        change_table(clips, folder / f"{name[:-4]}.csv", bad(name, 8))
    change_table(clips, folder / "one bad.csv", bad("broken.mp4", 1))
    change_table(clips, folder / "gone.csv", bad("gone.mp4", 100))
    change_table(
        clips,
        folder / "unknown.csv",
        lambda row, n: row | {"label": "azure" if row["label"] == "blue" else row["label"]},
    )
    change_table(clips, folder / "one.csv", lambda row, n: row if row["label"] == "blue" else None)
    change_table(
        clips,
        folder / "shared.csv",
        lambda row, n: (
            row | {"split": ("train", "test")[n % 2] if n in (0, 50) else row["split"]}
            if row["group"] != "p00"
            else row | {"split": ("train", "val")[n // 50]}
        ),
    )
    text = clips.read_text(encoding="utf-8")
    (folder / "latin.csv").write_bytes(text.replace("clips/", "clíps/").encode("latin-1"))
    (folder / "semicolons.csv").write_text(text.replace(",", ";"))
    (folder / "header.csv").write_text(text.splitlines()[0] + "\n")
    (folder / "lable.csv").write_text(text.replace("label", "lable"))
    (folder / "trian.csv").write_text(text.replace(",train,", ",trian,"))
    (folder / "zero.csv").write_text("")

    write_recipe(folder / "typo.yaml", train={"epoch": 5})
    write_recipe(folder / "two.yaml", data={"sise": 32}, model={"name": "mobilevit"})
    (folder / "latin.yaml").write_bytes("data: {manifest: clíps.csv}".encode("latin-1"))
    (folder / "half.yaml").write_text("data: {manifest: clips.csv\ntrain:")

    run = folder / "runs" / "my small"
    write_recipe(folder / "average.yaml", train={"epochs": 1})
    said = understudy(folder, "train", "average.yaml", "--set", "model.name=frames-average")
    assert said.code == 0, said.err
    for name in ("other", "cut", "no recipe", "half recipe", "half data", "half state", "no data"):
        shutil.copytree(run, folder / "runs" / name)
    spoil = folder / "runs"
    shutil.copytree(run, spoil / "no clips", ignore=shutil.ignore_patterns("unknown.json"))
    (spoil / "no clips" / "manifest.parquet").unlink()
    shutil.copy(spoil / "average/checkpoints/best.safetensors", spoil / "other/checkpoints")
    for file in ("cut/checkpoints/best.safetensors", "half state/resume/state.safetensors"):
        (spoil / file).write_bytes((spoil / file).read_bytes()[:1000])
    (spoil / "no recipe" / "recipe.yaml").unlink()
    (spoil / "half recipe" / "recipe.yaml").write_text("data: {manifest: clips.csv\ntrain:")
    (spoil / "half data" / "data.json").write_text('{"classes": ["amber"')
    (spoil / "no data" / "data.json").unlink()
    return folder


SET = "--set data.manifest="
MISTAKES = [
    # what is typed: what the message must tell, in this order
    ("predict runs/average gone.mp4", "1 could not be read: gone.mp4: there is no such file"),
    ("predict runs/average 'empty folder'", "empty folder: this folder holds no video and no pic"),
    ("predict runs/average broken.mp4", r"broken.mp4: no readable video: Invalid data.*made anew"),
    ("predict runs/average nothing.mp4", "nothing.mp4: the file is empty"),
    ("predict runs/average song.mp4", "song.mp4: it holds no video stream, only audio"),
    ("predict runs/average song.wav", "song.wav: it holds no video stream, only audio"),
    ("predict runs/average notes.txt", "notes.txt: no readable video.*Give videos, pictures or"),
    ("predict runs/averge broken.mp4", r"no run at runs/averge\. Did you mean average\?"),
    ("predict clips broken.mp4", "clips is no run directory: it holds no recipe.yaml"),
    ("predict runs/average", "Give files to recognise.*A camera: understudy stream RUN --camera 0"),
    ("predict runs/average broken.mp4 --unknown 0.5", "No such option: --unknown"),
    (
        "predict runs/average --stream 'a b.mp4' --unknown 0.5",
        "is called stream now: understudy stream runs/average 'a b.mp4' --unknown 0.5",
    ),
    (
        "predict runs/average --camera=0",
        "--camera is called stream now: understudy stream runs/average --camera=0",
    ),
    ("load hub:a/b", "load is called pull now: understudy pull hub:a/b"),
    ("stream runs/average", "Give a video to read, or --camera 0 for a camera"),
    ("stream runs/average broken.mp4 song.mp4", "Got unexpected extra argument"),
    ("stream runs/average gone.mp4", "gone.mp4: there is no such file"),
    ("stream runs/average clips/blue", "clips/blue: a folder, not a video.*one video"),
    ("stream runs/average 'sky over Ö.png'", "sky over Ö.png: a picture, not a video"),
    ("stream runs/average broken.mp4", "broken.mp4: no readable video: Invalid data"),
    ("stream runs/average nothing.mp4", "nothing.mp4: the file is empty"),
    ("stream runs/average song.mp4", "song.mp4: it holds no video stream, only audio"),
    ("stream runs/average broken.mp4 --reconnect 3", "--reconnect belongs to --camera"),
    ("stream runs/average notes.txt --unknown 1", r"--unknown: 1\.0 is no threshold.*fr"),
    ("stream runs/average notes.txt --unknown=-0.1", r"--unknown: -0\.1 is no threshold"),
    ("stream runs/average notes.txt --unknown nan", "--unknown: nan is no threshold"),
    ("stream runs/average notes.txt --smoothing=-1", "--smoothing -1: give seconds, 0"),
    ("stream runs/average --camera 0 --reconnect inf", "--reconnect inf: give seconds, 0 or"),
    ("stream runs/average --camera 0 broken.mp4", "Give --camera 0 or a file, not both"),
    ("stream runs/average --camera 97", r"There is no camera 97\. (This machine|Cameras here)"),
    ("stream runs/average --camera x", "--camera x: give a number such as 0, a device such as"),
    ("stream runs/average --camera song.mp4", "song.mp4 is a file, no camera.*stream RUN song.mp4"),
    ("stream runs/average --camera lavfi:nosuch", "Camera lavfi:nosuch: .*"),
    ("stream 'runs/my small/exports/onnx' broken.mp4", "broken.mp4: no readable video"),
    ("stream runs/averge broken.mp4", r"no run at runs/averge\. Did you mean average\?"),
    (
        f"stream 'runs/no clips' {CLIPS}/blue/p01_blue.mp4",
        r"set by the run's validation clips.*manifest\.parquet is missing.*instead: --unknown 0\.5",
    ),
    ("predict runs/average broken.mp4 --checkpoint last", "no checkpoint last. There: best, final"),
    ("evaluate nowhere", "There is no run at nowhere.*understudy train"),
    ("evaluate runs/average --split tset", r"no clips in split 'tset'\. There: train.*mean test\?"),
    ("evaluate runs/average --data gone.cvs", "There is no manifest gone.cvs"),
    ("evaluate runs/average --data notes.txt", "notes.txt has no column path. There: hello"),
    (
        "evaluate runs/average --data unknown.csv",
        r"labels that the model does not know: azure\..*classes: amber, blue\. Rename the labels",
    ),
    ("evaluate runs/average --data gone.csv", r"None of the 20 clips .*\d+-gone.mp4: .*No such"),
    ("evaluate 'runs/my small/exports/onnx' --checkpoint final", "holds no other: final cannot be"),
    ("evaluate 'runs/my small/exports/onnx' --device cuda", "no device cuda that PyTorch can use"),
    ("evaluate runs/average --device gpu", r"There is no device gpu\. Give cpu, cuda, cuda:1, mps"),
    ("compare runs/average runs/nowhere", "There is no run at runs/nowhere"),
    ("compare runs/average 'runs/my small' --split tset", "no clips in split 'tset'"),
    ("push runs/average lab", "lab is no name of a model: give OWNER/NAME"),
    ("push runs/average lab/small", "has no export to publish.*understudy export runs/average"),
    ("bench runs/average --device cuda", "bench has no --device cuda: .*run on the CPU here"),
    ("cache runs/nowhere", "There is no folder runs/nowhere"),
    ("evaluate runs/other", "best.safetensors was written by another run"),
    ("evaluate runs/cut", "cut/checkpoints/best.safetensors is not a readable safetensors file"),
    ("evaluate 'runs/no recipe'", "no recipe is no run directory"),
    ("evaluate 'runs/half recipe'", "half recipe/recipe.yaml is not valid YAML, line 2, column"),
    ("evaluate 'runs/half data'", "half data/data.json is damaged: Expecting"),
    ("evaluate 'runs/no data'", "no data/data.json is missing: the run is not complete"),
    ("train", "Give a recipe to train, or --resume RUN"),
    ("train smal.yaml", r"no recipe smal.yaml: neither a file nor a recipe of the package.*demo"),
    ("train dmeo", r"Did you mean demo\?"),
    (
        "train typo.yaml",
        r"typo.yaml is not a valid.*train\.epoch: no such key\. Did you mean epochs",
    ),
    ("train two.yaml", r"data\.sise: no such key\. Did you mean size\?"),
    ("train latin.yaml", "latin.yaml is no readable text in UTF-8"),
    ("train half.yaml", "half.yaml is not valid YAML, line 2, column"),
    ("train clips.csv", "clips.csv holds no recipe: expected keys such as name, data and model"),
    ("train average.yaml --out runs/new --set train.epoch=1", "Did you mean epochs"),
    ("train average.yaml --out runs/new --set epochs", "section.key=value, e.g. train.epochs=5"),
    ("train average.yaml --out runs/new --set data.size=1", "data.size: .*greater than or equal"),
    (
        "train average.yaml --out runs/new --set model.name=mobilvit-xxs",
        r"There is no model mobilvit-xxs\. Did you mean mobilevit-xxs\?",
    ),
    (
        "train average.yaml --out runs/new --set model.options.backbone=test_eficientnet",
        r"timm knows no backbone test_eficientnet\. Did you mean test_efficientnet\?",
    ),
    (
        "train average.yaml --out runs/new --set train.lr=1e30",
        r"no longer a number.*Lower train.lr",
    ),
    ("train average.yaml --out notes.txt/run", "notes.txt/run cannot be written: .*--out"),
    ("train average.yaml --out notes.txt", "notes.txt cannot be written: .*--out"),
    ("train average.yaml", "a run in runs/average already.*--resume runs/average .*--out"),
    ("train --resume runs/average --set train.lr=1", "--set and --out do not belong with it"),
    (
        "train average.yaml --data clips",
        "--data says where the clips of a run lie now.*data.manifest",
    ),
    ("train average.yaml --resume runs/average", "or --resume RUN to go on with one, not both"),
    ("train --resume runs/nowhere", "There is no run at runs/nowhere"),
    ("train --resume 'runs/half state'", "state.safetensors is damaged.*checkpoints can still be"),
    (f"train average.yaml --out runs/new {SET}nix.csv", "There is no manifest nix.csv"),
    (f"train average.yaml --out runs/new {SET}'empty folder'", "holds no sub-folder with media"),
    (f"train average.yaml --out runs/new {SET}clips/blue", "Media lie directly in it: is"),
    (f"train average.yaml --out runs/new {SET}one.csv", "All 50 clips have the label 'blue'.*two"),
    (
        f"train average.yaml --out runs/new {SET}broken.csv",
        r"\d of 80 clips .*share of 5% that data.max_bad_share.*-broken.mp4: no readable video"
        ".*take them out of the manifest",
    ),
    (f"train average.yaml --out runs/new {SET}nothing.csv", "-nothing.mp4: the file is empty"),
    (f"train average.yaml --out runs/new {SET}song.csv", "-song.mp4: it holds no video stream, o"),
    (f"train average.yaml --out runs/new {SET}gone.csv", "-gone.mp4: .*No such file"),
    (
        f"train average.yaml --out runs/new {SET}shared.csv",
        r"shared.csv: Groups .* 1: p00 \(train, val\).*data\.allow_shared_groups=true",
    ),
    ("data check nix.csv", "There is no manifest nix.csv: neither a table nor a folder"),
    ("data csv shared.csv out.csv", r"p00 \(train, val\).*--allow-shared-groups"),
    ("data check latin.csv", "latin.csv is no readable CSV file in UTF-8.*Save it again as CSV"),
    ("data check header.csv", "header.csv: The manifest has no rows"),
    ("data check zero.csv", "zero.csv is empty; expected a header: path,label"),
    ("data check lable.csv", r"lable.csv has no column label\. .*Did you mean lable\?"),
    ("data csv trian.csv out.csv", r"trian.csv: .*in split 'trian'.*Did you mean train\?"),
    ("data check clips.csv --out clips.csv", "--out clips.csv: the page is HTML"),
    ("data check clips.csv --write-clean clips.csv", "clips.csv is there already"),
    ("data folder nowhere out.csv", "There is no folder .*nowhere"),
    ("data folder clips out.txt", "out.txt: a manifest is written as .csv or .parquet"),
    ("data folder clips out.csv --group-by '(p'", r"group_by '\(p' is no regular expression"),
    ("data folder clips out.csv --group-by '(x)'", r"group_by '\(x\)' finds no group in amber/p00"),
    ("data folder clips notes.txt/out.csv", "notes.txt/out.csv cannot be written"),
    ("data stage new --clips 3", "3 clips are too few.*Ask for"),
    (
        "export 'runs/my small' --to onxx",
        r"no export format onxx\. Did you mean onnx\? Known: onnx",
    ),
    ("export runs/average litert", "Formats come after --to: understudy export runs/average --to"),
    ("export runs/average --to onnx onxx", r"no export format onxx\. Did you mean onnx\?"),
    ("export runs/average --int8 atuo", r"atuo"),
    ("export 'runs/my small'", "exports/onnx is there already. Replace it with --overwrite"),
    (
        "export runs/average --out clips --overwrite",
        "clips is there already, is no artifact and will not be replaced",
    ),
    ("export runs/average --out notes.txt/onnx", "notes.txt/onnx.* cannot be written: .*--out"),
    ("bench 'runs/my small' --rounds 1", "A benchmark needs 3 rounds.*given: 1"),
    ("bench runs/nowhere", "runs/nowhere is nothing that can be timed"),
    ("report runs/nowhere", "There is no run at runs/nowhere"),
    ("report runs/average --out notes.txt/page.html", "notes.txt/page.html cannot be written"),
    ("demo --out clips", "clips is not empty .*amber.*--out"),
    ("demo --out only", r"only is not empty \(runs\).*--out"),
    ("demo --out notes.txt", "notes.txt is a file. Choose a folder with --out"),
    ("trian average.yaml", r"No such command 'trian'\. Did you mean 'train'\?"),
    ("evaluate runs/average --chekpoint best", "No such option: --chekpoint .*--checkpoint"),
]


@pytest.mark.parametrize(("typed", "message"), MISTAKES, ids=[typed for typed, _ in MISTAKES])
def test_a_mistake_is_named_once_and_plainly(workshop: Path, typed: str, message: str) -> None:
    said = understudy(workshop, *shlex.split(typed))
    told = " ".join(re.sub(r"[│╭╮╰╯─]", " ", said.err).split())
    assert said.code == 2, said.err
    assert re.search(message, told), told
    assert told.count("understudy: ") + told.count("Usage: ") == 1, "one message"
    assert said.out == "", "nothing that a program could take for a result"
    assert "Traceback" not in said.err
    assert not (workshop / "runs" / "new").exists(), "a mistake leaves nothing in the way"


def test_one_bad_file_does_not_spoil_the_others(workshop: Path) -> None:
    files = [f"{CLIPS}/blue/p01_blue.mp4", "broken.mp4", "sky over Ö.png"]
    said = understudy(workshop, "predict", "runs/my small", *files)
    assert said.code == 2
    assert [line.split("  ")[0] for line in said.out.splitlines()] == [files[0], files[2]]
    assert "1 could not be read:\n  broken.mp4: " in said.err
    said = understudy(workshop, "predict", "runs/my small", *files, "--json")
    entries = [json.loads(line) for line in said.out.splitlines()]
    assert (said.code, [entry["path"] for entry in entries]) == (2, files)
    assert [entry["error"] is None for entry in entries] == [True, False, True]
    assert "broken.mp4: " in said.err


def test_a_bad_clip_while_training_is_told_listed_and_reported(workshop: Path) -> None:
    place = "runs/one bad"
    said = understudy(
        workshop, "train", "average.yaml", "--out", place, "--set", "data.manifest=one bad.csv"
    )
    assert said.code == 0, said.err
    assert f"1 clips could not be read; they are listed in {place}/data.json" in said.err
    [entry] = json.loads((workshop / place / "data.json").read_text())["skipped"]
    assert entry["path"] == "0-broken.mp4"
    page = workshop / understudy(workshop, "report", place).out.strip()
    assert "0-broken.mp4" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["mark", "lines", "both", "semicolons", "parquet"])
def test_tables_as_spreadsheets_write_them(job: Job, name: str) -> None:
    content = (job.folder / "clips.csv").read_bytes()
    place = job.folder / f"{name} ŧable.csv"
    if name == "parquet":
        place = place.with_suffix(".parquet")
        assert understudy(job.folder, "data", "csv", "clips.csv", place.name).code == 0
    else:
        if name in ("lines", "both"):
            content = content.replace(b"\n", b"\r\n")
        if name == "semicolons":
            content = content.replace(b",", b";")
        place.write_bytes((b"\xef\xbb\xbf" if name in ("mark", "both") else b"") + content)
    said, expected = understudy(job.folder, "data", "check", place.name), job.said["check"]
    how = "  read as a table with semicolons between values\n" if name == "semicolons" else ""
    assert (said.code, said.out.replace(how, "", 1)) == (expected.code, expected.out)
    assert how in said.out


def test_shared_groups_are_accepted_when_asked(workshop: Path) -> None:
    said = understudy(workshop, "data", "check", "shared.csv", "--allow-shared-groups")
    assert (said.code, "100 clips, 2 classes" in said.out) == (0, True)


def test_damaged_metrics_are_told_on_the_page_and_made_again(workshop: Path) -> None:
    metrics = workshop / "runs" / "average" / "metrics.json"
    for content in ('{"split": "te', "[1]"):
        metrics.write_text(content)
        page = workshop / understudy(workshop, "report", "runs/average").out.strip()
        assert "metrics.json is damaged" in page.read_text(encoding="utf-8")
    assert understudy(workshop, "evaluate", "runs/average").code == 0
    assert json.loads(metrics.read_text())["n"] == 20


class Impatient(progress.Lines):
    """A person who presses Ctrl-C in the third epoch."""

    def advance(self, clips: int) -> None:
        if self._total - self._epochs_left == 2:
            raise KeyboardInterrupt


def test_an_interrupted_run_is_resumed_by_the_command_it_names(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(progress, "default_reporter", Impatient)
        said = understudy(job.folder, "train", "my small.yaml", "--out", "runs/cut short")
    assert said.code == 130
    [command] = re.findall(r"Go on with: understudy (.*)", said.err)
    assert "Traceback" not in said.err
    unfinished = "Training of cut short stopped after 2 of 6 epochs"
    for words in (["evaluate"], ["compare", "runs/my small"], ["report"]):
        said = understudy(job.folder, *words, "runs/cut short")
        assert said.code == 0, said.err
        shown = said.err
        if words == ["report"]:
            shown = (job.folder / said.out.strip()).read_text(encoding="utf-8")
        assert unfinished in shown
        assert "understudy train --resume" in shown
    resumed = understudy(job.folder, *shlex.split(command))
    assert resumed.code == 0, resumed.err
    assert re.findall(r"^epoch +(\d+)", resumed.err, flags=re.MULTILINE) == list("3456")
    assert "stopped after" not in understudy(job.folder, "evaluate", "runs/cut short").err
    runs = job.folder / "runs"
    whole = load_file(runs / "my small" / "checkpoints" / "final.safetensors")
    again = load_file(runs / "cut short" / "checkpoints" / "final.safetensors")
    assert all(whole[name].equal(again[name]) for name in whole)


@pytest.fixture
def started(job: Job, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    write_recipe(tmp_path / "long.yaml", train={"epochs": 10_000})
    manifest = f"data.manifest={job.folder / 'clips.csv'}"
    process = subprocess.Popen(
        [sys.executable, "-m", "understudy.cli", "train", "long.yaml", "--set", manifest],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # A shell that started these tests in the background has told them to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    yield process
    process.kill()
    process.wait()


def test_ctrl_c_ends_with_130_and_the_way_to_go_on(started: subprocess.Popen[str]) -> None:
    assert started.stderr is not None
    for line in started.stderr:
        if line.startswith("epoch   1"):
            break
    started.send_signal(signal.SIGINT)
    rest = started.stderr.read()
    assert started.wait(timeout=60) == 130
    assert "Go on with: understudy train --resume runs/long" in rest
    assert "Traceback" not in rest


def test_help_answers_at_once_and_names_every_verb() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "understudy.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert spent_s < 0.5
    verbs = (
        "demo data train evaluate compare report predict stream export bench push pull models "
        "cache doctor"
    )
    assert all(f" {verb} " in done.stdout for verb in verbs.split())


@pytest.mark.parametrize("module", ["understudy", "understudy.cli"])
def test_nothing_heavy_is_imported_before_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & HEAVY


def test_models_and_machine_are_described(tmp_path: Path) -> None:
    said = understudy(tmp_path, "models")
    line = r"^mobilevit-xxs +2,302,458 parameters  streams, the latest 64 frames$"
    assert re.search(line, said.out, flags=re.MULTILINE)
    said = understudy(tmp_path, "doctor")
    assert re.search(r"^torch +\d+\.\d+", said.out, flags=re.MULTILINE)
    assert list(tmp_path.iterdir()) == [], "asking changes nothing"
