from typing import cast

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import UserError
from understudy.models import create_model
from understudy.models.rvit import RViT
from understudy.recipe import dump_recipe, load_recipe, parse_recipe, recipe_names

SMALL = {"name": "small", "data": {"manifest": "clips.csv"}}


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_is_valid_and_survives_a_round_trip(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert parse_recipe(yaml.safe_load(dump_recipe(recipe))) == recipe


def test_there_are_recipes_to_sweep():
    assert {"demo", "human-action-v2", "human-action-v3", "ego4d"} <= set(recipe_names())


def test_published_settings_of_the_named_recipes():
    def settings(name):
        recipe = load_recipe(name)
        train, distill = recipe.train, recipe.distill
        weights = (distill.alpha, distill.beta, distill.gamma, distill.temperature)
        return train.epochs, train.lr, *weights

    assert settings("human-action-v2") == (15, 3e-4, 1, 1, 0.5, 4)
    assert settings("human-action-v3") == (20, 5e-5, 0.5, 1, 1, 3)
    assert settings("ego4d") == (30, 5e-5, 0.5, 1, 1, 3)
    for name in ("human-action-v2", "human-action-v3", "ego4d"):
        recipe = load_recipe(name)
        assert recipe.distill.feature_loss == "mse"
        assert recipe.model.options == {
            "weights": "hub",
            "positions": False,
            "dropout": 0.2,
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        }
        train = recipe.train
        assert (train.weight_decay, train.max_grad_norm, train.min_lr) == (0.01, 1, 1e-6)
        assert (train.schedule, train.schedule_epochs) == ("cosine", 100)
    ego4d = load_recipe("ego4d")
    assert (ego4d.train.batch_size, ego4d.data.frames) == (16, 8)
    assert load_recipe("clip-to-mobilevit").distill == ego4d.distill.model_copy(
        update={"feature_loss": "cosine"}
    )


def test_settings_of_the_authors_of_rvit():
    recipe = load_recipe("rvit-jester")
    data, train = recipe.data, recipe.train
    assert (data.frames, data.size, data.sampling) == (36, 112, "first")
    assert not data.augment.active
    assert (train.epochs, train.batch_size, train.lr, train.warmup_epochs) == (1000, 32, 1e-4, 0)
    assert (train.schedule, train.schedule_epochs, train.step_factor) == ("step", 10, 0.8)
    assert (train.weight_decay, train.max_grad_norm, train.min_lr) == (0.01, None, 0)
    assert train.label_smoothing == 0.1
    options = recipe.model.options
    assert (options["mean"], options["std"], options["dropout"]) == ([0.5] * 3, [0.5] * 3, 0.1)
    model = cast(RViT, create_model("rvit", 27, **options))
    black, white = torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.full((1, 3, 8, 8), 255)
    assert (model.normalize(black).unique(), model.normalize(white).unique()) == (-1, 1)


@pytest.mark.parametrize(
    "train",
    [
        {"schedule": "step"},
        {"schedule": "step", "schedule_epochs": 10},
        {"schedule": "step", "step_factor": 0.5},
        {"step_factor": 0.5},
    ],
)
def test_a_schedule_in_steps_says_how_long_and_how_deep_they_are(train):
    with pytest.raises(UserError, match="go together"):
        parse_recipe(SMALL | {"train": train})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trian": {}}, "trian: no such key. Did you mean train?"),
        ({"train": {"epoch": 5}}, r"train\.epoch: no such key\. Did you mean epochs\?"),
        ({"data": {"manifest": "a", "augment": {"flop": 1}}}, "Did you mean flip?"),
        ({"train": {"epochs": 0}}, r"train\.epochs: .*greater than or equal to 1 \(given: 0\)"),
        ({"train": {"lr": "fast"}}, r"train\.lr: .*\(given: 'fast'\)"),
        ({"data": {}}, r"data\.manifest: Field required"),
        ({"data": {"manifest": "a", "sampling": "dense"}}, "stride_s and sampling: dense go"),
        ({"train": {"lr": 1e-7}}, r"min_lr \(1e-06\) is above lr \(1e-07\)"),
        ({"train": {"epochs": 2, "warmup_epochs": 2}}, "leaves nothing of 2 epochs"),
        ({"name": "../elsewhere"}, "a name is that of one folder"),
        ({"name": ""}, "a name is that of one folder"),
        ({"eval": {"split": "tset"}}, "eval.split: Input should be 'train', 'val' or 'test'"),
        ({"distill": {"alpha": 1}}, "there is no teacher"),
        ({"teacher": {"kind": "run"}}, "kind: run needs it"),
        ({"teacher": {"kind": "clip", "weights": None}}, "weights_file"),
        (
            {"teacher": {"kind": "clip"}, "distill": {"alpha": 0, "beta": 0}},
            "would teach nothing",
        ),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(UserError, match=message):
        parse_recipe(SMALL | change)


def test_all_mistakes_are_listed_at_once():
    with pytest.raises(UserError) as caught:
        parse_recipe(SMALL | {"train": {"epoch": 5, "lr": -1}, "evil": {}})
    assert all(part in str(caught.value) for part in ("train.epoch", "train.lr", "evil"))


def test_overrides_and_numbers_as_people_write_them(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("data: {manifest: clips.csv}\ntrain: {lr: 3e-4}\n", encoding="utf-8")
    recipe = load_recipe(file, ["train.epochs=7", "data.augment.crop_scale=.5", "train.lr=1e-3"])
    assert recipe.name == "mine"
    assert (recipe.train.epochs, recipe.data.augment.crop_scale, recipe.train.lr) == (7, 0.5, 1e-3)
    for wrong, message in (
        ("train.epochs", "write it as section.key=value"),
        ("train.epoch=5", "Did you mean epochs"),
        ("train.lr.x=1", "lr is a value"),
        ("train.lr=[", "not valid YAML"),
    ):
        with pytest.raises(UserError, match=message):
            load_recipe(file, [wrong])


def test_teacher_taken_away_takes_its_weights_along():
    untaught = load_recipe("demo", ["teacher=null"])
    assert untaught.teacher is None
    taught = load_recipe("demo")
    assert taught.teacher is not None
    assert taught.train == untaught.train


def test_files_that_hold_no_recipe(tmp_path):
    with pytest.raises(UserError, match=r"Did you mean demo\?"):
        load_recipe("demp")
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds no recipe"):
        load_recipe(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(UserError, match="not valid YAML"):
        load_recipe(tmp_path / "bad.yaml")


@given(
    st.builds(
        dict,
        epochs=st.integers(1, 1000),
        lr=st.floats(1e-6, 10),
        accumulate=st.integers(1, 64),
        label_smoothing=st.floats(0, 0.99),
        patience=st.none() | st.integers(1, 100),
    )
)
def test_any_valid_recipe_is_written_and_read_back_unchanged(train):
    recipe = parse_recipe(SMALL | {"train": train})
    assert parse_recipe(yaml.safe_load(dump_recipe(recipe))) == recipe
