"""Data sets as their authors publish them, tiny and with empty media: nothing here is decoded."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from understudy.cli.data import data_app
from understudy.data.manifest import Manifest
from understudy.data.sources import read_manifest
from understudy.errors import UserError


@pytest.fixture
def lay(tmp_path: Path) -> Callable[..., Path]:
    """Lays out a data set: texts as they are, other things as JSON, and empty media."""

    def lay(files: Mapping[str, Any], media: Iterable[str] = ()) -> Path:
        contents = dict.fromkeys(media, "") | dict(files)
        for name, content in contents.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = content if isinstance(content, str) else json.dumps(content)
            path.write_text(text, encoding="utf-8")
        return tmp_path / "set"

    return lay


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., tuple[Manifest, str]]:
    """Reads a data set by the verb: the manifest that it wrote, and what it said."""

    def ask(name: str, place: Path, *options: str) -> tuple[Manifest, str]:
        out = tmp_path / "out.parquet"
        out.unlink(missing_ok=True)
        words = ["from", name, str(place), str(out), "--overwrite", *options]
        done = CliRunner().invoke(data_app, words)
        if isinstance(done.exception, UserError):
            raise done.exception
        assert done.exit_code == 0, done.output
        shared = "--allow-shared-groups" in options
        return read_manifest(out, allow_shared_groups=shared), done.output

    return ask
