"""What the tests of annotation tools share: a few videos, and the verb that reads an export."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from understudy.cli.data import data_app
from understudy.errors import UserError

FPS, SECONDS = 10, 8


@pytest.fixture(scope="session")
def one_video(tmp_path_factory, film_to) -> Path:
    """Eight seconds of ten frames each."""
    return film_to(tmp_path_factory.mktemp("video") / "v.mp4", FPS * SECONDS, fps=FPS)


@pytest.fixture
def videos(tmp_path, one_video) -> Callable[..., Path]:
    """Copies of the video under names in a folder of the test, by default the test's own."""

    def write(*names: str, folder: Path = tmp_path) -> Path:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(one_video, folder / name)
        return folder

    return write


class Answer:
    """What the verb said, and the rows that it wrote: (path, label, start_s, end_s)."""

    def __init__(self, said: str, out: Path) -> None:
        self.said = said
        with out.open(newline="", encoding="utf-8") as file:
            self.table = list(csv.DictReader(file))
        self.rows = sorted(
            (row["path"], row["label"], *(_second(row[key]) for key in ("start_s", "end_s")))
            for row in self.table
        )


def _second(text: str) -> float | None:
    return round(float(text), 6) if text else None


@pytest.fixture
def data_from(tmp_path) -> Callable[..., Answer]:
    """Calls `understudy data from`; UserError is what the command line would say."""

    def call(source: str, place: Path, *words: str) -> Answer:
        out = tmp_path / "out.csv"
        given = ["from", source, str(place), str(out), "--overwrite", *words]
        done = CliRunner().invoke(data_app, given)
        if done.exception is not None:
            assert isinstance(done.exception, UserError), done.exc_info
            raise done.exception
        return Answer(done.stdout, out)

    return call
