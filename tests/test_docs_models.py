"""docs/models.md: written by the script, from figures that are those of the code."""

from __future__ import annotations

import contextlib
import csv
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from understudy.models import create_model, list_models, model_options
from understudy.ship.macs import count_macs
from understudy.types import StreamingRecognizer, parameter_count

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    place = ROOT / "docs" / "generate_models.py"
    spec = importlib.util.spec_from_file_location("generate_models", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_models_is_the_generated_one(docs: ModuleType):
    committed = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert committed == docs.page(), "models.md has fallen behind: run python docs/generate.py"


def test_every_option_of_every_model_has_a_meaning_and_none_is_left_over(docs: ModuleType):
    families = docs.families()
    assert sorted(name for members in families.values() for name in members) == list_models()
    assert all(families.values())
    for kind, members in families.items():
        known = {option for name in members for option in model_options(name)}
        meanings = set(docs.FAMILIES[kind].options)
        assert meanings <= known
        assert known <= meanings | set(docs.COMMON)
    assert set(docs.PAPERS) == set(list_models())


def test_the_figures_of_the_page_are_those_of_the_code(docs: ModuleType):
    rows = docs.measured(docs.newest_csv())
    assert len(rows) >= 16
    for name, row in rows.items():
        with torch.device("meta"):
            model = create_model(name, 10)
        assert int(row["parameters"]) == parameter_count(model), name
        assert int(row["size"]) == model.input_size
        assert int(row["frames"]) == (model.clip_frames or 8)
        assert bool(row["state"]) == isinstance(model, StreamingRecognizer)
        if isinstance(model, StreamingRecognizer):
            shapes = ["x".join(map(str, tensor.shape)) for tensor in model.init_state(1)]
            assert row["state"].split() == shapes, name
            assert row["stream_frames"] == str(model.stream_frames or "")


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_arithmetic_of_the_page_is_that_of_the_code(docs: ModuleType, name: str):
    row = docs.measured(docs.newest_csv())[name]
    with torch.device("meta"):
        model = create_model(name, 10).eval()
    shape = (1, int(row["frames"]), 3, model.input_size, model.input_size)
    clip = torch.empty(shape, dtype=torch.uint8, device="meta")
    assert float(row["gmacs_clip"]) == pytest.approx(count_macs(model, clip) / 1e9, abs=5e-5)


def test_the_tables_of_the_page_on_attention_are_those_of_the_newest_figures(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script = importlib.import_module("attention")
    path = max(place for place in (ROOT / "results").glob("attention_2*.csv"))
    with path.open(encoding="utf-8", newline="") as file:
        next(file)  # date and machine
        rows = [
            {name: number(value) for name, value in row.items()} for row in csv.DictReader(file)
        ]
    assert len(rows) == 10
    page = (ROOT / "docs" / "attention.md").read_text(encoding="utf-8")
    for line in script.table_of(rows):
        assert line in page, "docs/attention.md: paste the tables of benchmarks/attention.py"


def number(value: str) -> float | int | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value
