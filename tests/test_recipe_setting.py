"""Values from the command line: text is taken as it is, everything else as YAML."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import UserError
from understudy.recipe import dump_recipe, load_recipe, parse_recipe
from understudy.recipe.plain_yaml import read_yaml

AWKWARD = (
    "day #1", "a: b", "*star", "&anchor", "!important", "null", "~", "yes", "off", "1e3", "3e-4",
    "010", "1:30", "2026-01-01", "[a]", "{a: b}", "'quoted'", '"quoted"', "- dash", "a\tb",
    " room ", "C:\\data\\new", "%percent", "@at", "`tick`", "two\nlines", "# all", "...", "---",
    "é \U0001f3ac", "a=b", "", "\x85", "\u2028", "\ufeff", "\x1b[31m",
)  # fmt: skip

texts = st.text().filter(lambda text: "\0" not in text) | st.sampled_from(AWKWARD)


@settings(max_examples=50, deadline=None)
@given(texts, texts.filter(bool))
def test_any_text_that_is_set_is_the_text_read(text, place):
    taught = ["teacher.kind=clip", f"teacher.class_texts.walk={text}"]
    recipe = load_recipe("demo-teacher", [f"data.manifest={place}", *taught])
    assert recipe.teacher is not None
    assert recipe.data.manifest == place
    assert recipe.teacher.class_texts == {"walk": text}
    # And that of the run's own file too.
    assert parse_recipe(read_yaml(dump_recipe(recipe), "recipe.yaml")) == recipe


@pytest.mark.parametrize(
    "text", [one for one in AWKWARD if one.isprintable() and one.strip(". ") and "\\" not in one]
)
def test_a_name_may_look_like_anything(text):
    recipe = load_recipe("demo-teacher", [f"name={text}"])
    assert recipe.name == text
    assert parse_recipe(read_yaml(dump_recipe(recipe), "recipe.yaml")).name == text


def test_text_that_may_be_absent_is_absent_by_one_word():
    def weights(text):
        recipe = load_recipe("human-action-v3", [f"teacher.weights={text}"])
        assert recipe.teacher is not None
        return recipe.teacher.weights

    load_recipe("human-action-v3", ["teacher.weights_file=x", "teacher.weights=null"])
    with pytest.raises(UserError, match="weights_file"):
        weights("null")
    assert [weights(text) for text in ("none", "Null", "~")] == ["none", "Null", "~"]
    with pytest.raises(UserError, match=r"data\.manifest: String should have at least 1 character"):
        load_recipe("demo", ["data.manifest="])


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ("train.epochs=7", 7),
        ("train.lr=3e-4", 3e-4),
        ("train.lr=.5", 0.5),
        ("train.patience=null", None),
        ("train.compile=yes", True),
        ("train.epochs=010", 10),
        ("train.epochs=5 # enough", 5),
        ("train.device=cuda", "cuda"),
        ("data.sampling=first", "first"),
        ("data.augment={flip: 0.5}", None),
    ],
)
def test_values_that_are_no_text_are_yaml(setting, read):
    recipe = load_recipe("demo", [setting])
    section, _, key = setting.partition("=")[0].partition(".")
    if read is not None or key == "patience":
        assert getattr(getattr(recipe, section), key) == read
    else:
        assert recipe.data.augment.flip == 0.5


def test_lists_of_texts_are_yaml():
    setting = 'teacher.prompts=["a photo: {}", a clip of {}.]'
    with pytest.raises(UserError, match="not valid YAML"):
        load_recipe("ego4d", [setting])
    recipe = load_recipe("ego4d", ['teacher.prompts=["a photo: {}.", "{} # 1"]'])
    assert recipe.teacher is not None
    assert recipe.teacher.prompts == ("a photo: {}.", "{} # 1")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("day #1.safetensors", "day #1.safetensors"),
        ("a: b.safetensors", "a: b.safetensors"),
        ("*star", "*star"),
        ("2026-01-01", "2026-01-01"),
        ("hub", "hub"),
        ("64", 64),
        ("1e-3", 1e-3),
        ("false", False),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_options_of_a_model(text, read):
    recipe = load_recipe("demo", [f"model.options.weights={text}"])
    assert recipe.model.options["weights"] == read


def test_teachers_by_name_are_set_like_one():
    with pytest.raises(UserError, match="is no name for a teacher"):
        load_recipe("demo-teacher", ["teachers.a b.kind=run", "teachers.a b.path=x"])
    recipe = load_recipe("demo-teacher", ["teachers.one.kind=run", "teachers.one.path=day #1"])
    assert recipe.teachers["one"].path == "day #1"


@pytest.mark.parametrize(
    "setting", [".".join("a" * 10_000) + "=1", "..=1", "=1", "train=", "a.b=["]
)
def test_keys_that_are_none(setting):
    with pytest.raises(UserError):
        load_recipe("demo", [setting])
