"""Where a user asks for a file, a file goes: whole, and in no other thing's place."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.errors import UserError
from understudy.run import output, write_output
from understudy.ship.bench.table import write_bench_csv
from understudy.study.curves import save_curves
from understudy.study.pareto import check_plot_path, save_plot
from understudy.study.report import write_page


def test_a_file_is_new_or_takes_the_place_of_a_file(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        write_output(tmp_path / "a" / "page.html", content)
        assert (tmp_path / "a" / "page.html").read_bytes() == content
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["page.html"]


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_what_is_no_file_stays_what_it_is(tmp_path: Path, kind: str) -> None:
    target, thesis = tmp_path / "out.png", tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    if kind == "pipe":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(thesis if kind == "link" else tmp_path / "nowhere")
    before = target.lstat()
    writers: list[Callable[[Path], object]] = [
        lambda path: write_output(path, b""),
        lambda path: write_page(path, ""),
        lambda path: check_plot_path(path),
        lambda path: write_bench_csv([], path),
    ]
    for write in writers:
        with pytest.raises(UserError, match=r"which a file would replace\. Name a file"):
            write(target)
    assert target.lstat() == before
    assert thesis.read_text() == "years of work"


def test_a_device_is_no_file() -> None:
    for device in ("/dev/null", "/dev/full"):
        with pytest.raises(UserError, match="is a device"):
            write_page(Path(device), "page")


def test_drawings_go_the_same_way(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    (tmp_path / "out.png").symlink_to(tmp_path / "elsewhere")
    for save in (save_plot, save_curves):
        with pytest.raises(UserError, match="a link"):
            save(Figure(), tmp_path / "out.png")
        save(Figure(), tmp_path / "new.png")
        assert (tmp_path / "new.png").read_bytes().startswith(b"\x89PNG")


def test_a_full_disk_is_one_message_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(output, "write_bytes", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        write_output(tmp_path / "a" / "b" / "page.html", b"page")
    assert list(tmp_path.iterdir()) == []
