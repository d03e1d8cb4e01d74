"""The docs are true: modules, keys, commands, recipes, links and Python code in them."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import typer.main
import yaml

from understudy.cli import app
from understudy.data.decode import probe, read_frames, read_timeline
from understudy.data.sampling import sample_times
from understudy.data.transforms import prepare
from understudy.judge.evaluate import evaluate_run
from understudy.perform.predict import predict
from understudy.recipe import load_recipe, recipe_names
from understudy.run import open_run
from understudy.ship import export_run, load_artifact
from understudy.teach.train import train

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "understudy"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


class Block(NamedTuple):
    """A fenced block of a page: its language, its text and whether `<!-- run -->` precedes it."""

    language: str
    text: str
    run: bool


def blocks(page: Path, language: str) -> list[Block]:
    found = re.findall(
        r"(<!-- run -->\s*\n)?^```(\w+)\n(.*?)^```$",
        page.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    return [Block(name, text, bool(mark)) for mark, name, text in found if name == language]


def commands() -> list[tuple[str, str]]:
    """Every line of a bash block that begins with understudy, and the page it is on."""
    return [
        (page.name, line)
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.text.replace("\\\n", " ").splitlines()
        if line.startswith("understudy ")
    ]


def recipes() -> list[tuple[str, str]]:
    return [(page.name, block.text) for page in PAGES for block in blocks(page, "yaml")]


def python_blocks(*, run: bool) -> list[tuple[str, str]]:
    return [
        (page.name, block.text)
        for page in PAGES
        for block in blocks(page, "python")
        if block.run == run
    ]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_hold_something_to_check():
    assert {"architecture.md", "data.md", "teaching.md", "evaluation.md", "export.md"} <= {
        page.name for page in PAGES
    }
    assert len(commands()) >= 15
    assert len(recipes()) >= 2
    assert len(python_blocks(run=True)) >= 6


def test_architecture_names_every_module_and_no_other():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    there = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    silent = {name for name in there if name.endswith("__init__.py") and not has_code(name)}
    assert len(there) > 40
    assert named - there == set()
    assert there - silent - named == set()


def has_code(module: str) -> bool:
    """Whether there is more in a module than its docstring."""
    body = ast.parse((PACKAGE / module).read_text(encoding="utf-8")).body
    return any(not isinstance(node, ast.Expr) for node in body)


def test_architecture_gives_each_module_one_line():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- `([\w/]+\.py)`: ", text, flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    mentioned = set(re.findall(r"`([\w/]+\.py)`", text))
    assert mentioned == set(listed)


def test_architecture_shows_the_layers_of_the_contract():
    import tomllib

    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = content["tool"]["importlinter"]["contracts"]
    order = " < ".join(reversed(contract["layers"]))
    assert order in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_page_of_recipe_keys_is_the_generated_one():
    page = generator().page()
    committed = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert committed == page, "recipes.md has fallen behind: run python docs/generate.py"


def test_every_recipe_key_has_exactly_one_meaning():
    docs = generator()
    keys, written = set(docs.keys()), set(docs.docstrings())
    assert len(keys) > 50
    assert written & set(docs.MEANINGS) == set()
    assert keys <= written | set(docs.MEANINGS)
    assert set(docs.MEANINGS) <= keys


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_of_the_docs_exists_with_its_options(page: str, line: str):
    parse(line)


def parse(line: str) -> None:
    """Parse a command as the command line would, and run nothing."""
    words = shlex.split(line, comments=True)[1:]
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        verb = words.pop(0)
        assert verb in command.commands, f"there is no verb {verb}"
        command = command.commands[verb]
    context = command.make_context(command.name, list(words))
    overrides = context.params.get("set_") or []
    known = set(generator().keys())
    for override in overrides:
        key = override.partition("=")[0]
        assert key in known, f"there is no key {key}"
    if context.params.get("recipe") in recipe_names():
        load_recipe(context.params["recipe"], overrides)


def test_a_wrong_command_would_be_noticed():
    with pytest.raises(AssertionError, match="trian"):
        parse("understudy trian student.yaml")
    with pytest.raises(Exception, match="No such option"):
        parse("understudy train student.yaml --epochs 5")
    with pytest.raises(AssertionError, match=r"train\.epoch"):
        parse("understudy train student.yaml --set train.epoch=5")


@pytest.mark.parametrize(("page", "text"), recipes())
def test_every_recipe_of_the_docs_is_valid(page: str, text: str, tmp_path: Path):
    place = tmp_path / "recipe.yaml"
    place.write_text(text, encoding="utf-8")
    assert load_recipe(place).name in text, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(place), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def test_python_of_the_docs_imports_what_exists():
    imported = 0
    for page, code in [*python_blocks(run=True), *python_blocks(run=False)]:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), page
                imported += 1
    assert imported > 5


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the docs suppose it: a stage, a recipe, a student and one that learned alone."""
    from understudy.data.stage import film_stage

    folder = tmp_path_factory.mktemp("theatre")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr("understudy.ship.bench.bench_run", lambda *_, **__: [])  # no time is shown
        film_stage(Path("stage"), clips=50, size=48, pictures=False)
        recipe = {
            "name": "student",
            "data": {"manifest": "stage/manifest.csv", "size": 32, "frames": 4},
            "model": {
                "name": "frames-attention",
                "options": {"backbone": "test_efficientnet", "embedding_dim": 32},
            },
            "train": {"epochs": 2, "batch_size": 8, "lr": 0.01, "device": "cpu"},
        }
        Path("student.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        for name, seed in (("student", 0), ("alone", 1)):
            run = train(load_recipe("student.yaml", [f"train.seed={seed}"]), f"runs/{name}")
            evaluate_run(run)
        export_run(open_run("runs/student"))
    return folder


def execute(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__docs__"}
    exec(compile(code, "docs", "exec"), names)
    return names


@pytest.mark.parametrize(("page", "code"), python_blocks(run=True))
def test_marked_python_runs(page: str, code: str, theatre: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(theatre)
    execute(code)


def test_the_script_without_this_package_does_what_predict_does(
    theatre: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(theatre)
    (code,) = [code for _, code in python_blocks(run=True) if "import onnxruntime" in code]
    assert "understudy" not in code
    names = execute(code)
    said = capsys.readouterr().out

    clip, count, size = names["video"], names["count"], names["size"]
    times_s = sample_times("uniform", count, read_timeline(clip))
    pixels = prepare(read_frames(clip, times_s, short_side=size), size).numpy()
    difference = np.abs(names["frames"].astype(int) - pixels)
    assert min(pixels.shape[-2:]) < probe(clip).height  # so that there was a resize to differ in
    assert difference.max() <= 1
    assert difference.mean() < 0.5

    (prediction,) = predict(load_artifact(Path(names["folder"])), [clip])
    (segment,) = prediction.segments
    label, probability = said.split()
    assert label == segment.label
    assert float(probability) == pytest.approx(segment.probability, abs=1e-3)
