"""Recipes of strangers: one message, at once, whatever the file holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from understudy.errors import UserError
from understudy.recipe import load_recipe, parse_recipe, plain_yaml
from understudy.recipe.reading import MAX_BYTES
from understudy.run import create_run, open_run

DATA = "data: {manifest: clips.csv}\n"


def refusal(place: Path, text: str | bytes, **options) -> str:
    place.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        load_recipe(place, **options)
    assert str(place) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "no anchors"),
        ("train: {<<: {epochs: 3}}", "<<: no such key"),
        ("model: {options: {a: " + "[" * 10_000 + "]" * 10_000 + "}}", "deeper than 20 levels"),
        ("".join(" " * level + "a:\n" for level in range(1_000)), "deeper than 20 levels"),
        ("a:\n  " + "- " * 10_000, "deeper than 20 levels"),
        ("model: !!python/object/apply:os.getcwd []", "no tags"),
        ("name: !!timestamp never", "no tags"),
        ("data: {manifest: b}", "'data' is there twice"),
        ("train: {lr: 1, lr: 2}", "'lr' is there twice"),
        ("? [a]\n: 1", "unhashable"),
        ("name: a\0b", "#x0000"),
        ('model: {name: "a\\0b"}', "NUL"),
        ("---\n" + DATA, "another document"),
        ("train: {epochs: " + "9" * 5_000 + "}", "more digits"),
    ],
)
def test_yaml_that_no_recipe_needs(text, message, tmp_path):
    assert message in refusal(tmp_path / "recipe.yaml", DATA + text)


def test_the_number_of_values_has_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_yaml, "MAX_NODES", 100)
    text = DATA + "teacher: {kind: clip, prompts: [" + "a," * 100 + "]}"
    assert "more than 100 keys and values" in refusal(tmp_path / "recipe.yaml", text)


@pytest.mark.parametrize(
    "text", [b"name: \xe9", DATA.encode("utf-16"), b"#" * (MAX_BYTES + 1), b"", b"- 1", b"1"]
)
def test_files_that_are_none(text, tmp_path):
    refusal(tmp_path / "recipe.yaml", text)


def test_the_size_of_a_file_is_looked_at_before_its_content(tmp_path):
    place = tmp_path / "recipe.yaml"
    with place.open("wb") as file:
        os.truncate(file.fileno(), 10**12)  # no blocks are written
    with pytest.raises(UserError, match=r"larger than 1,000,000 bytes"):
        load_recipe(place)


@pytest.mark.parametrize("name", ["x" * 5_000, "a\0b", "/dev/zero", "/", "", "\x1b[31mdemo"])
def test_names_that_no_recipe_has(name):
    with pytest.raises(UserError, match="There is no recipe") as caught:
        load_recipe(name)
    assert str(caught.value).isprintable()


def test_keys_with_control_characters_are_shown_escaped(tmp_path):
    said = refusal(tmp_path / "recipe.yaml", DATA + '"\\e[31mred": 1\nname: "\\e[2Jgone"')
    assert "\\x1b[31mred: no such key" in said
    assert "\\x1b[2Jgone" in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[(f"train.{key}", value)
          for key in ("epochs", "batch_size", "lr", "accumulate", "max_grad_norm", "seed")
          for value in (float("nan"), float("inf"), -1, True, 10**400, "many", [1])],
        ("train.epochs", 1e12), ("train.epochs", 0), ("train.epochs", 1.5), ("train.batch_size", 0),
        ("train.lr", 0), ("train.seed", 2**32), ("data.size", 10**6), ("data.workers", 10**4),
        ("data.frames", 10**9), ("data.augment.brightness", float("inf")), ("eval.resamples", 1e9),
        ("model.options.dropout", float("nan")), ("model.options.dim", 10**12),
        ("model.options.dim", object()), ("model.options.weights", "\ud800"),
        ("data.manifest", "a\0"), ("data.manifest", "a" * 5_000), ("data.manifest", ""),
        ("data.manifest", "a\udcff"), ("name", "x" * 300), ("name", "\x1b[31m"), ("name", "a\nb"),
    ],
)  # fmt: skip
def test_absurd_values(key, value):
    content: dict = yaml.safe_load(DATA) | {"name": "small"}
    place = content
    *sections, last = key.split(".")
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    with pytest.raises(UserError) as caught:
        parse_recipe(content)
    assert len(str(caught.value)) < 1_000


def test_options_may_not_hold_themselves():
    endless: list = []
    endless.append(endless)
    with pytest.raises(UserError, match="nested deeper"):
        parse_recipe({"name": "a", "data": {"manifest": "a"}, "model": {"options": {"a": endless}}})


def test_a_thousand_mistakes_are_a_short_message(tmp_path):
    said = refusal(tmp_path / "r.yaml", DATA + "".join(f"k{n}: 1\n" for n in range(1_000)))
    assert said.count("\n") < 30
    assert "and 980 more" in said


def test_numbers_are_decimal(tmp_path):
    place = tmp_path / "r.yaml"
    place.write_text("\ufeff" + DATA + "train: {epochs: 010, batch_size: 1_0}", encoding="utf-8")
    recipe = load_recipe(place)
    assert (recipe.train.epochs, recipe.train.batch_size) == (10, 10)
    assert "unable to parse" in refusal(place, DATA + "train: {epochs: 1:30}")


@pytest.fixture
def run(tmp_path):
    recipe = parse_recipe({"name": "small", "data": {"manifest": "clips.csv"}})
    return create_run(tmp_path / "run", recipe)


@pytest.mark.parametrize("section", ["name", "data", "model", "train", "eval"])
def test_a_run_whose_recipe_lost_a_section_does_not_take_the_defaults(section, run):
    content = yaml.safe_load((run.path / "recipe.yaml").read_text(encoding="utf-8"))
    del content[section]
    (run.path / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(UserError, match=rf"recipe\.yaml is damaged: {section} is missing"):
        _ = open_run(run.path).recipe


def test_a_run_of_a_later_version_says_so(run):
    text = (run.path / "recipe.yaml").read_text(encoding="utf-8")
    (run.path / "recipe.yaml").write_text(text + "future: {a: 1}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"future: no such key(.|\n)*A later version"):
        _ = open_run(run.path).recipe


def test_a_run_of_an_earlier_version_has_fewer_keys(run):
    """Keys that came later have the default that means what was done before there were any."""
    content = yaml.safe_load((run.path / "recipe.yaml").read_text(encoding="utf-8"))
    for key in ("schedule", "schedule_epochs", "step_factor"):
        del content["train"][key]
    (run.path / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    recipe = open_run(run.path).recipe
    assert (recipe.train.schedule, recipe.distill.feature_loss) == ("cosine", "cosine")
