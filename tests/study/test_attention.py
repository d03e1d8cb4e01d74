"""Overlays of attention on the report: the student's own maps on the student's own pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from understudy.models import create_model
from understudy.run import Run, read_json, save_weights, write_json
from understudy.study.attention import look_at, make_looks, overlay
from understudy.study.gallery import Gallery, make_gallery
from understudy.study.report import render_report

NewRun = Callable[..., Run]
OPTIONS = {"widths": [4, 6], "strides": [2, 2], "embedding_dim": 8}


def attentive(new_run: NewRun, attention: str, weights: bool = True) -> Run:
    model = {"name": "cnn-attention", "options": OPTIONS | {"attention": attention}}
    run = new_run("evaluate", model=model)
    options = OPTIONS | {"attention": attention, "input_size": 64}
    write_json(run.path / "data.json", run.data | {"model_options": options})
    torch.manual_seed(0)
    if weights:
        student = create_model("cnn-attention", len(run.classes), **options)
        save_weights(student, run.checkpoint_path("best"))
    else:
        run.checkpoint_path("best").unlink(missing_ok=True)
    return run


def picture_of(address: str) -> Tensor:
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(address.partition("base64,")[2]))) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def test_the_overlay_is_bright_where_the_map_is_and_keeps_the_picture():
    frame = torch.full((3, 16, 16), 100, dtype=torch.uint8)
    weights = torch.zeros(4, 4)
    weights[0, 3] = 1
    mixed = overlay(frame, weights)
    assert mixed.shape == frame.shape
    assert mixed.dtype == torch.uint8
    light = mixed.float().mean(0)
    assert light[:2, 14:].min() > light[8:].max() + 60
    darker = overlay(frame // 2, weights)
    assert (mixed.float() - darker.float()).mean().item() == pytest.approx(0.45 * 50, abs=1)


def test_each_stage_is_laid_over_the_frames_that_the_page_shows(new_run: NewRun):
    run = attentive(new_run, "spatial")
    gallery = make_gallery(run, run.data)
    looks = make_looks(run, run.data, gallery)
    shown = gallery.mistakes[:2] + gallery.right[:2]
    assert [look.clip for look in looks] == shown
    assert gallery.notes == []
    model: Any = run.load_model()
    for look in looks:
        saw, *stages = look.films
        assert saw.images == look.clip.images
        maps = model.attention_maps(look.clip.pixels[None])
        assert len(stages) == len(maps) == 2
        for film, stage in zip(stages, maps, strict=True):
            low, high = stage.min().item(), stage.max().item()
            assert film.title.endswith(f"{low:.2f} to {high:.2f}")
            # Frames 0, 2, 3 and 5 of six: the first and the last are shown.
            for image, place in ((film.images[0], 0), (film.images[-1], 5)):
                scaled = (stage[0, place] - low) / (high - low)
                expected = overlay(look.clip.pixels[place], scaled).float()
                assert (picture_of(image) - expected).abs().mean() < 8, "JPEG alone lies between"


def test_the_page_shows_where_it_looked_and_describes_it(new_run: NewRun):
    html = render_report(attentive(new_run, "both"))
    assert "Where it looked" in html
    assert "Where stage 2 looked in 4 frames of a clip of" in html
    assert "stage 1, 32 × 32: " in html


def test_a_page_without_pictures_lays_no_map_over_anybody(new_run: NewRun):
    html = render_report(attentive(new_run, "both"), pictures=False)
    assert "Where it looked" not in html
    assert "data:image" not in html


@pytest.mark.parametrize("attention", ["none", "channel"])
def test_models_without_maps_have_no_such_section(new_run: NewRun, attention: str):
    run = attentive(new_run, attention)
    assert "Where it looked" not in render_report(run)


def test_a_missing_checkpoint_is_said(new_run: NewRun):
    run = attentive(new_run, "linear", weights=False)
    gallery = make_gallery(run, run.data)
    assert make_looks(run, run.data, gallery) == []
    assert "does not show where the student looked" in gallery.notes[-1]
    assert make_looks(run, run.data, Gallery()) == [], "nothing was asked, so nothing is said"


def test_a_map_without_differences_is_all_dark(new_run: NewRun):
    class Even:
        has_maps = True

        def attention_maps(self, frames: Tensor, lengths: Tensor | None = None):
            return (torch.full((*frames.shape[:2], 3, 3), 0.5),)

    run = attentive(new_run, "spatial")
    clip = make_gallery(run, run.data).right[0]
    _, film = look_at(Even(), clip).films
    assert film.title == "stage 1, 3 × 3: 0.50 to 0.50"
    expected = overlay(clip.pixels[0], torch.zeros(3, 3)).float()
    assert (picture_of(film.images[0]) - expected).abs().mean() < 8


def test_the_checkpoint_that_was_evaluated_is_the_one_that_is_shown(new_run: NewRun):
    run = attentive(new_run, "spatial")
    metrics = read_json(run.path / "metrics.json")
    write_json(run.path / "metrics.json", metrics | {"checkpoint": "epoch_003"})
    assert "has no checkpoint epoch_003" in render_report(run)
