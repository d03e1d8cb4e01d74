"""Training from a pack gives the numbers of training from files, bit for bit."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from understudy.data import reader
from understudy.data.pack import making
from understudy.data.pack.making import make_pack
from understudy.data.pack.shards import Settings
from understudy.data.sources import read_manifest
from understudy.errors import UserError
from understudy.judge.evaluate import evaluate
from understudy.recipe import Data
from understudy.teach.progress import Quiet
from understudy.teach.targets import pixels_of
from understudy.teach.train import train

from .conftest import make_recipe

PIXELS = {
    "size": 24,
    "sampling": "random_segment",
    "frames": 3,
    "augment": {"crop_scale": 0.6, "flip": 0.5, "brightness": 0.2},
}


class Listening(Quiet):
    def __init__(self) -> None:
        self.said = []

    def note(self, text):
        self.said.append(text)


def test_training_from_a_pack_gives_the_numbers_of_files(clips, tmp_path, monkeypatch):
    """And evaluation too, when the pack is gone."""
    monkeypatch.setattr(
        making, "each", lambda work, items, count: ((i, work(i, lambda: None)) for i in items)
    )
    make_pack(read_manifest(clips), tmp_path / "pack", Settings(short_side=28))
    drawn = PIXELS | {"short_side": 28}
    files = train(make_recipe(clips, data=drawn, train={"epochs": 1}), tmp_path / "files")

    said, drawn = Listening(), PIXELS | {"pack": str(tmp_path / "pack")}
    with monkeypatch.context() as patch:
        patch.setattr(reader, "read_views", None)
        patch.setattr(reader, "read_timeline", None)
        recipe = make_recipe(clips, data=drawn, train={"epochs": 1})
        packed = train(recipe, tmp_path / "packed", reporter=said)
    assert not [sentence for sentence in said.said if "pack" in sentence]
    assert packed.recipe.data.short_side == 28, "the run says what its pixels are"
    one, other = (load_file(run.checkpoint_path("final")) for run in (files, packed))
    assert all(torch.equal(one[name], other[name]) for name in one)

    shutil.rmtree(tmp_path / "pack")
    expected, found = (evaluate(run, split="test").predictions for run in (files, packed))
    assert (found.logits == expected.logits).all()


def test_a_pack_that_is_none_stops_training_before_it_begins(clips, tmp_path):
    (tmp_path / "pack").mkdir()
    recipe = make_recipe(clips, data={"pack": str(tmp_path / "pack")})
    with pytest.raises(UserError, match=r"holds no pack: pack.json: No such file"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_frames_are_kept_apart_and_a_pack_of_the_same_is_not():
    def of(**changes) -> dict:
        return pixels_of(Data.model_validate({"manifest": "-", "size": 24, **changes}))

    assert of() == {}, "what was kept before keeps its name"
    assert of(short_side=32) == of(short_side=32, pack="somewhere")
    some = [{}, {"short_side": 32}, {"short_side": 40}, {"short_side": 32, "jpeg_quality": 90}]
    assert len({str(of(**one)) for one in some}) == 4
