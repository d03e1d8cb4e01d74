"""The page: whole for any state of a run, honest about what is missing, safe, on its own."""

from __future__ import annotations

import base64
import io
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from made_runs import made_metrics
from understudy.data.loader import ClipDataset, Sample
from understudy.errors import UserError
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import read_predictions
from understudy.run import Run, read_json, write_json
from understudy.run.unfinished import unfinished_note
from understudy.ship.reading import read_checked
from understudy.study import sides
from understudy.study.artifact_report import write_report_of
from understudy.study.gallery import make_gallery
from understudy.study.report import duration, percent, render_report, write_report

NewRun = Callable[..., Run]
TAUGHT = {"teacher": {"kind": "clip"}, "distill": {"alpha": 2, "beta": 0.25, "gamma": 1}}
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Reads a page: its text, its tags with attributes, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "text"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def films(self) -> list[str]:
        found = [a for a in self.all("div") if a.get("class") == "film"]
        return [str(attributes["aria-label"]) for attributes in found]


def page_of(run: Run) -> Page:
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert page.open == [], "every tag is closed"
    return page


def test_a_run_just_made_has_a_page_that_names_the_next_commands(new_run: NewRun) -> None:
    run = new_run("start")
    page = page_of(run)
    assert "Training has not begun" in page.text
    for verb in ("evaluate", "export", "bench", "report"):
        assert f"understudy {verb} {run.path}" in page.text
    assert "batch_size: 32" in page.text
    assert page.films() == []


def test_a_trained_run_says_how_well_it_did_on_validation(new_run: NewRun) -> None:
    run = new_run("train")
    page = page_of(run)
    best = run.history[-2]["val"]["top1"]
    assert f"on the validation split it was right {percent(best)} of the time" in page.text
    assert f"Not evaluated yet: understudy evaluate {run.path}" in page.text
    assert len([a for a in page.all("svg") if a.get("class") == "curve"]) == 3
    assert "learned from labels alone" in page.text


def test_a_finished_run_shows_every_figure_with_its_interval(new_run: NewRun) -> None:
    run = new_run("ship", **TAUGHT)
    page, metrics = page_of(run), run.metrics
    assert metrics is not None
    for key in ("top1", "macro_f1", "calibration_error"):
        figure = metrics[key]
        shown = [percent(figure[part], 1) for part in ("value", "low", "high")]
        assert f"{shown[0]} {shown[1]} – {shown[2]}" in page.text
    for warning in metrics["warnings"]:
        assert page.text.count(warning) == 1
    whiskers = [a for a in page.all("svg") if a.get("class") == "interval"]
    assert len(whiskers) == 3 + len(metrics["per_class"]) + 1, "metrics, classes and comparison"
    assert len([a for a in page.all("svg") if a.get("class") == "confusion"]) == 1
    assert len([a for a in page.all("svg") if a.get("class") == "curve"]) == 6


def test_what_limits_a_figure_stands_beside_it(new_run: NewRun) -> None:
    """Not four screens below a huge 100%."""
    run = new_run("evaluate", **TAUGHT)
    predictions = read_predictions(run.predictions_path)
    predictions.logits[:] = 9 * torch.eye(4)[predictions.target]
    metrics = compute_metrics(predictions, resamples=100)
    write_json(run.path / "metrics.json", metrics)
    opening = opening_of(run)
    assert "right 100% of the time (95% interval 68% to 100%)" in opening
    assert "What limits these figures" in opening
    for warning in metrics["warnings"]:
        assert warning in opening
    assert any("No mistake in 8 clips" in warning for warning in metrics["warnings"])
    write_json(run.path / "metrics.json", metrics | {"weights_sha256": "0" * 64})
    assert "The checkpoint best has changed since it was evaluated" in opening_of(run)
    write_json(run.path / "metrics.json", metrics | {"warnings": []})
    assert "What limits" not in opening_of(run)
    (run.path / "metrics.json").unlink()
    assert "also chose this epoch" in opening_of(run)


def opening_of(run: Run) -> str:
    """The text before the first picture or figure."""
    html = render_report(run)
    return Page(html[: re.search(r"<figure|<dl", html).start()] + "</main>").text  # pyright: ignore


def test_the_whole_time_of_training_is_told_in_parts(new_run: NewRun) -> None:
    run = new_run("train")
    assert (
        "of training, 6 epochs, without preparation and validation 3 min 6 s" in page_of(run).text
    )
    write_json(run.path / "environment.json", run.environment | {"prepare_seconds": 360.4})
    history = [entry | {"val_seconds": 2.0} for entry in run.history]
    write_json(run.path / "history.json", history)
    assert (
        "of training, 6 epochs: 6 min 0 s before the first epoch, 3 min 6 s in epochs, 12 s in "
        "validation 9 min 18 s"
    ) in page_of(run).text


def test_five_guesses_are_told_of_ten_classes_and_more(new_run: NewRun) -> None:
    run = new_run("evaluate")
    metrics = read_json(run.path / "metrics.json")
    write_json(run.path / "metrics.json", metrics | {"top5": metrics["top1"]})  # older versions
    assert "Top-5" not in page_of(run).text
    names = [f"class {number}" for number in range(10)]
    confusion = np.zeros((10, 10), int).tolist()
    ten = {"classes": names, "confusion": confusion, "top5": metrics["top1"]}
    ten["per_class"] = dict.fromkeys(names, metrics["per_class"]["walk_left"])
    write_json(run.path / "metrics.json", metrics | ten)
    assert "Top-5 accuracy" in page_of(run).text


def test_a_page_without_pictures_holds_no_pixel_of_anybody(new_run: NewRun) -> None:
    run = new_run("ship", **TAUGHT)
    with_them = render_report(run).encode()
    out = write_report_of(run, run.path / "plain.html", pictures=False)
    without = out.read_bytes()
    for trace in (b"data:image", b"<img", b"base64", b"/9j/", b"iVBOR", b"R0lGOD", b"UklGR"):
        assert trace not in without, trace
    for trace in (b"data:image/jpeg;base64,/9j/", b"<img"):
        assert trace in with_them, "or nothing was tested"
    assert max(map(len, re.findall(rb"[A-Za-z0-9+/=]+", without))) < 100, "nothing encoded"
    page = Page(without.decode())
    assert "written without pictures, as asked for" in page.text
    assert len([a for a in page.all("svg") if a.get("class") == "curve"]) == 6, "plots stay"
    assert len([a for a in page.all("svg") if a.get("class") == "confusion"]) == 1


def test_student_and_teacher_stand_side_by_side(new_run: NewRun) -> None:
    run = new_run("ship", **TAUGHT)
    page = page_of(run)
    assert "loss = 2 × feature + 0.25 × response + 1 × task" in page.text
    assert "ViT-B-32" in page.text
    assert "87,849,216 parameters" in page.text
    assert "15 times faster" in page.text, "246 ms over 16.4 ms"
    assert "35 times smaller" in page.text, "4 bytes for each parameter over 10 MB"
    assert "+8.8 points" in page.text
    assert "Here the teacher helped." in page.text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.1, 0.2, "These clips do not show whether the teacher helped."),
        (-0.2, -0.1, "Here the teacher harmed."),
    ],
)
def test_a_comparison_claims_only_what_its_interval_holds(
    new_run: NewRun, low: float, high: float, said: str
) -> None:
    run = new_run("ship", **TAUGHT)
    content = read_json(run.path / "comparison.json")
    write_json(run.path / "comparison.json", content | {"low": low, "high": high})
    page = page_of(run)
    assert said in page.text
    assert "Here the teacher helped." not in page.text


def test_the_parameters_of_the_student_are_counted_on_its_architecture(new_run: NewRun) -> None:
    from understudy.models import create_model
    from understudy.types import parameter_count

    run = new_run("train")
    expected = parameter_count(create_model("mobilenetv3", 4, weights="random"))
    assert f"{expected:,} parameters" in page_of(run).text


def test_the_teacher_of_kind_run_is_judged_on_the_same_split(
    new_run: NewRun, tmp_path: Path
) -> None:
    run = new_run("evaluate", teacher={"kind": "run", "path": str(tmp_path / "teacher")})
    facts = run.teacher
    assert facts is not None
    val = {"value": 0.5, "low": 0.2, "high": 0.8, "n": 9, "method": "wilson"}
    facts |= {"kind": "run", "name": "teacher", "run": str(tmp_path / "teacher"), "val": val}
    write_json(run.path / "teacher.json", facts)
    page = page_of(run)
    assert "Right on 50% of the val split" in page.text
    assert "The run of the teacher teacher could not be read. There is no run at" in page.text

    (tmp_path / "teacher" / "checkpoints").mkdir(parents=True)
    (tmp_path / "teacher" / "recipe.yaml").write_bytes((run.path / "recipe.yaml").read_bytes())
    (tmp_path / "teacher" / "checkpoints" / "best.safetensors").write_bytes(bytes(20_000_000))
    theirs = made_metrics(top1=val | {"value": 0.96875})
    write_json(tmp_path / "teacher" / "metrics.json", theirs)
    page = page_of(run)
    assert "Right on 97% of the test split" in page.text
    assert "teacher teacher could not be read" not in page.text.split("Who taught whom")[0]
    assert "2.0 times smaller" in page.text

    write_json(tmp_path / "teacher" / "metrics.json", theirs | {"split": "train"})
    assert "Right on 50% of the val split" in page_of(run).text, "another split is no comparison"


def test_pictures_are_those_of_the_predictions(new_run: NewRun) -> None:
    run = new_run("evaluate")
    predictions = read_predictions(run.predictions_path)
    gallery = make_gallery(run, run.data)
    confidence = predictions.logits.softmax(1).max(1).values.tolist()
    said = predictions.logits.argmax(1).tolist()
    name = predictions.classes
    wrong = [i for i in range(len(predictions)) if not predictions.correct[i]]
    expected = [
        (predictions.record[i], name[int(predictions.target[i])], name[said[i]])
        for i in sorted(wrong, key=lambda i: -confidence[i])
    ]
    assert len(expected) == 2
    assert [(clip.row, clip.label, clip.said) for clip in gallery.mistakes] == expected
    sure = [clip.confidence or 0.0 for clip in gallery.right]
    assert sure == sorted(sure, reverse=True)
    assert len({clip.label for clip in gallery.right}) == len(gallery.right) > 1
    assert all(clip.label == clip.said for clip in gallery.right)
    assert {clip.label for clip in gallery.training} == set(name)
    assert all(len(clip.images) == 4 and clip.frames == 6 for clip in gallery.training)
    assert gallery.notes == []


def test_training_pictures_are_augmented_as_in_the_first_epoch(
    new_run: NewRun, clips: Path
) -> None:
    from PIL import Image

    augment = {"rotation_degrees": 90, "brightness": 0.5}
    run = new_run(
        "train", data={"manifest": str(clips), "size": 64, "frames": 6, "augment": augment}
    )
    clip = make_gallery(run, run.data).training[0]
    _, _, content = clip.images[0].partition("base64,")
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        shown = torch.from_numpy(np.array(picture.convert("RGB"))).float()

    def distance(view: int | None) -> float:
        sample = ClipDataset(run.manifest, run.recipe.data)[(clip.row, view)]
        assert isinstance(sample, Sample)
        return (sample.frames[0].permute(1, 2, 0) - shown).abs().mean().item()

    assert distance(0) < 6, "JPEG alone lies between"
    assert distance(None) > 12
    assert distance(1) > 12


def test_the_page_fetches_nothing_and_stays_small(new_run: NewRun) -> None:
    html = write_report(new_run("ship", **TAUGHT)).read_text(encoding="utf-8")
    page = Page(html)
    links = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "xlink:href", "data", "poster", "action")
    ]
    assert len(links) > 10
    assert all(link and link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"url\((?!#)|@import", html)
    assert not page.all("script")
    assert len(html.encode()) < 3e6


def test_names_from_the_data_are_never_markup(new_run: NewRun) -> None:
    run = new_run("ship", **TAUGHT)
    html = write_report(run).read_text(encoding="utf-8")
    assert "<script" not in html
    assert "torn <b>" not in html
    page = Page(html)
    assert "<script>alert(1)</script>" in page.text
    assert any("<script>" in label for label in page.films())


def test_what_was_skipped_is_listed_with_its_reason(new_run: NewRun) -> None:
    run = new_run("train")
    assert "clips/torn <b>.mp4 train moov atom not found" in page_of(run).text
    write_json(run.path / "data.json", run.data | {"skipped": []})
    assert "Nothing was skipped: every clip could be read." in page_of(run).text
    many = [{"row": i, "path": f"{i}.mp4", "split": "val", "reason": "torn"} for i in range(43)]
    write_json(run.path / "data.json", run.data | {"skipped": many})
    page = page_of(run)
    assert "43 clips could not be read" in page.text
    assert "And 3 more" in page.text


def test_a_run_without_its_clips_says_so_and_shows_no_pictures(new_run: NewRun) -> None:
    run = new_run("evaluate")
    (run.path / "manifest.parquet").unlink()
    page = page_of(run)
    assert "This page shows no pictures." in page.text
    assert "manifest.parquet is missing" in page.text
    assert page.films() == []
    assert "How good it is" in page.text


def test_a_source_that_moved_takes_no_pictures_away(new_run: NewRun, clips: Path) -> None:
    run = new_run("evaluate")
    write_json(run.path / "data.json", run.data | {"manifest": "gone.csv"})
    assert "shows no pictures" not in page_of(run).text
    assert page_of(run).films()


def test_clips_that_are_gone_changed_or_damaged_are_named_on_the_page(
    new_run: NewRun, clips: Path, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(clips.parent, copy)
    data = {"manifest": str(copy / "clips.csv"), "size": 64, "frames": 6}
    run = new_run("train", data=data)
    (copy / "clips" / "1_train_0.mp4").write_bytes(b"torn")
    (copy / "clips" / "2_train_1.mp4").unlink()
    page = page_of(run)
    assert "2 clips meant for this page could not be read." in page.text
    assert "clips/1_train_0.mp4: its bytes have changed since the run began" in page.text
    assert "clips/2_train_1.mp4: it is gone" in page.text
    for number in range(4):
        for i in range(2):
            (copy / "clips" / f"{number}_train_{i}.mp4").unlink(missing_ok=True)
    assert "8 clips meant for this page could not be read." in page_of(run).text
    assert "and 3 more." in page_of(run).text


def test_an_interrupted_run_says_so_at_the_top(new_run: NewRun) -> None:
    run = new_run("evaluate", finished=False)
    (said,) = re.findall(r'<p class="unfinished">(.*?)</p>', render_report(run))
    assert "Training of first stopped after 6 of 15 epochs" in said
    assert f"understudy train --resume {run.path}" in said
    assert said.split(".")[0] == str(unfinished_note(run)).split(".")[0]
    write_json(run.path / "environment.json", run.environment | {"finished": "today"})
    assert "first stopped after" not in render_report(run)
    assert unfinished_note(run) is None


def test_every_teacher_of_several_stands_on_the_page(new_run: NewRun) -> None:
    teachers = {"clip": {"kind": "clip"}, "big": {"kind": "clip", "alpha": 0}}
    run = new_run("ship", teachers=teachers, distill={"alpha": 2, "beta": 0.25, "gamma": 1})
    facts = run.teacher
    assert facts is not None
    second = facts | {"name": "ViT-L-14", "parameters": 303_966_208, "head": "probe"}
    write_json(run.path / "teacher.json", {"teachers": {"clip": facts, "big": second}})
    page = page_of(run)
    assert "with ViT-B-32 and ViT-L-14 as its teachers." in page.text
    assert "The teacher clip, frozen ViT-B-32" in page.text
    assert "The teacher big, frozen ViT-L-14" in page.text
    assert "Head: probe." in page.text
    equation = "loss = 2 × feature + 0.25 × response (clip) + 0 × feature + 0.25 × response (big)"
    assert f"{equation} + 1 × task" in page.text
    assert "35 times smaller (clip); 122 times smaller (big)" in page.text
    assert "15 times faster (clip)" in page.text, "the other was not timed"
    assert "than its teacher" not in page.text


def test_exports_benchmarks_and_other_evaluations_are_shown(new_run: NewRun) -> None:
    run = new_run("ship", **TAUGHT)
    other = run.path / "evaluations" / "street-test"
    other.mkdir(parents=True)
    metrics = run.metrics
    assert metrics is not None
    metrics["top1"] |= {"value": 0.4321, "low": 0.4, "high": 0.5}
    write_json(other / "metrics.json", metrics)
    page = page_of(run)
    assert "ONNX Runtime a clip 11.0 MB fp32 4.1e-07 100% of 24 7.10 ms" in page.text
    # What ships after quantising is what is compared, and nothing was timed.
    step = "ONNX Runtime a new frame 10.9 MB int8 (dynamic) 2.3e-02 98% of 256 not measured"
    assert step in page.text
    assert "INT8 in ONNX Runtime, a new frame: dynamic dynamic with 0.61" in page.text
    assert "dynamic -0.4 +0.0 – +0.0 0.61 1.00 – 1.00 0.30" in page.text
    assert "static min-max it holds nothing to quantise" in page.text
    assert "Not exported: LiteRT (" in page.text
    timed = "first (onnx) artifact clip 1 7.10 ms 7.90 ms 1.00 0.98 – 1.02 – 11.0 MB 0.47"
    assert timed in page.text
    assert "street-test 8 43.2% 40.0% – 50.0%" in page.text
    assert "Not exported yet" not in page.text
    assert "Not timed yet" not in page.text


def test_latency_beside_an_export_stands_in_for_a_missing_benchmark(new_run: NewRun) -> None:
    run = new_run("ship")
    rows = read_checked(run.path / "bench.json")
    (run.path / "bench.json").unlink()
    write_json(run.export_path("onnx") / "latency.json", {"date": "2026-01-02", "rows": rows[:2]})
    page = page_of(run)
    assert "7.10 ms" in page.text
    assert "Not timed yet" not in page.text


def test_damaged_files_are_named_and_the_rest_is_shown(new_run: NewRun) -> None:
    run = new_run("ship", **TAUGHT)
    (run.path / "metrics.json").write_text("{")
    run.predictions_path.write_bytes(b"not parquet")
    page = page_of(run)
    assert "metrics.json is damaged" in page.text
    assert "predictions.parquet is not a readable Parquet file" in page.text
    assert "Not evaluated yet" in page.text
    assert "ViT-B-32" in page.text


def test_the_exact_command_is_given_quoted(new_run: NewRun) -> None:
    page = page_of(new_run("train"))
    assert "understudy train 'my recipe.yaml' --set train.epochs=6" in page.text
    assert "libraries torch 2.14.1" in page.text


def test_the_page_can_be_read_without_seeing_it(new_run: NewRun) -> None:
    page = page_of(new_run("ship", **TAUGHT))
    assert all("alt" in attributes for attributes in page.all("img"))
    assert all(page.films())
    drawings = [a for a in page.all("svg") if a.get("class") in ("curve", "confusion")]
    assert len(drawings) == 7
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in drawings)
    heads = page.all("th")
    assert heads
    assert all("scope" in attributes for attributes in heads)
    assert len(page.all("h1")) == 1


def test_the_page_goes_where_it_is_asked_for(new_run: NewRun, tmp_path: Path) -> None:
    run = new_run("start")
    out = tmp_path / "pages" / "one.html"
    assert write_report(run, out) == out
    assert not run.report_path.exists()
    assert write_report(run) == run.report_path
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_report(run, blocked / "page.html")


def test_the_same_run_gives_the_same_page(new_run: NewRun) -> None:
    run = new_run("ship", **TAUGHT)

    def timeless() -> str:
        return re.sub(r"<time.*?</time>", "", render_report(run), flags=re.DOTALL)

    state = torch.random.get_rng_state()
    first = timeless()
    torch.manual_seed(5)
    assert first == timeless()
    torch.random.set_rng_state(state)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0, 0, "0%"), (1, 1, "100.0%"), (0.999, 0, ">99%"), (0.0004, 1, "<0.1%"), (0.5, 0, "50%")],
)
def test_percent_never_rounds_to_certainty(value: float, digits: int, text: str) -> None:
    assert percent(value, digits) == text


def test_numbers_have_three_figures_and_a_unit() -> None:
    def plain(text: str) -> str:
        return text.replace("\N{NO-BREAK SPACE}", " ")

    numbers = (999, 951_024, 999_600, 2_303_743, 27_655_936, 87_849_216, 151_277_313)
    written = [plain(sides.big_number(number)) for number in numbers]
    assert written == ["999", "951 k", "1.00 M", "2.30 M", "27.7 M", "87.8 M", "151 M"]
    assert plain(sides.file_size(9_310_000)) == "9.31 MB"
    assert [duration(s) for s in (41.7, 185, 7800)] == ["42 s", "3 min 5 s", "2 h 10 min"]


def test_answers_that_are_no_numbers_are_told_and_not_shown_as_mistakes(new_run: NewRun) -> None:
    run = new_run("evaluate")
    predictions = read_predictions(run.predictions_path)
    predictions.logits[2] = float("nan")
    predictions.write(run.predictions_path)
    gallery = make_gallery(run, run.data)
    assert any("not a finite number for 1 of 8 clips" in note for note in gallery.notes)
    assert (gallery.mistakes, gallery.right, gallery.mistakes_total) == ([], [], 0)


def test_commands_on_the_page_can_be_pasted_whatever_the_run_is_called(new_run: NewRun) -> None:
    run = new_run("start")
    named = run.path.rename(run.path.with_name("12:30 #1's"))
    page = page_of(Run(named))
    quoted = shlex.quote(str(named))
    for verb in ("evaluate", "export", "bench", "report"):
        assert f"understudy {verb} {quoted}" in page.text
        assert f"understudy {verb} {named}" not in page.text
