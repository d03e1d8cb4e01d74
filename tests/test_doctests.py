"""The examples in docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"


def modules_with_examples() -> list[str]:
    paths = sorted((SOURCE / "understudy").rglob("*.py"))
    found = [path for path in paths if ">>> " in path.read_text(encoding="utf-8")]
    return [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        for path in found
    ]


def test_examples_are_found():
    assert len(modules_with_examples()) >= 3
    assert "understudy.models" in modules_with_examples()


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_give_what_they_say(name):
    module = importlib.import_module(name)
    failed, attempted = doctest.testmod(module)
    assert attempted > 0, "what stands there is no example to doctest"
    assert failed == 0, "doctest printed what was expected and what came"
