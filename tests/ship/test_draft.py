"""All or nothing, also when the disk is full."""

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from made_artifacts import make_artifact
from understudy.errors import UserError
from understudy.ship.artifact import open_artifact, open_source
from understudy.ship.bench.lineup import refuse_nonsense
from understudy.ship.draft import draft_of, finished, refuse_to_lose


def test_a_draft_appears_when_it_is_done(tmp_path: Path) -> None:
    target = tmp_path / "a" / "artifact"
    with draft_of(target) as draft:
        (draft / "file").write_text("new")
        assert not target.exists()
    assert [entry.name for entry in target.parent.iterdir()] == ["artifact"]
    assert (target / "file").read_text() == "new"


def test_a_draft_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "artifact"
    target.mkdir()
    (target / "file").write_text("old")

    def write() -> None:
        with draft_of(target) as draft:
            (draft / "file").write_text("new")
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        write()
    assert [entry.name for entry in tmp_path.iterdir()] == ["artifact"]
    assert (target / "file").read_text() == "old"


def test_folders_made_for_a_draft_that_fails_are_gone_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), draft_of(tmp_path / "a" / "b" / "artifact"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("depth", [0, 2])
def test_a_full_disk_is_said_however_deep_it_was_noticed(tmp_path: Path, depth: int) -> None:
    def write(depth: int) -> None:
        if depth == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            write(depth - 1)
        except Exception as error:
            raise RuntimeError("the exporter failed") from error

    with (
        pytest.raises(UserError, match=r"No space left.*Make room.*--out"),
        draft_of(tmp_path / "artifact"),
    ):
        write(depth)
    assert list(tmp_path.iterdir()) == []


def test_other_errors_come_through_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), draft_of(tmp_path / "artifact"):
        (tmp_path / "missing").read_text()


def test_a_file_in_the_way_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), draft_of(tmp_path / "file" / "x"):
        pass


def test_only_artifacts_are_replaced_and_only_when_asked(tmp_path: Path) -> None:
    refuse_to_lose(tmp_path / "new", overwrite=False)
    (tmp_path / "contract.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match="--overwrite"):
        refuse_to_lose(tmp_path, overwrite=False)
    refuse_to_lose(tmp_path, overwrite=True)
    (tmp_path / "contract.json").rename(tmp_path / "thesis.txt")
    with pytest.raises(UserError, match="no artifact"):
        refuse_to_lose(tmp_path, overwrite=True)


@pytest.mark.slow
def test_an_export_without_room_leaves_nothing(run, tmp_path: Path) -> None:
    """A limit on the size of files refuses to write as a full disk does, in every library."""
    code = (
        "import sys; from understudy.cli import main; "
        f"sys.argv[1:] = ['export', {str(run.path)!r}, '--out', {str(tmp_path / 'onnx')!r}]; main()"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be written: File too large. Nothing of it was kept." in done.stderr
    assert list(tmp_path.iterdir()) == []


def interrupted(folder: Path, names: tuple[str, ...]) -> Path:
    """What a process leaves that is killed between two renames of a swap; gives the target."""
    for name in names:
        make_artifact(folder / name)
    return folder / "onnx"


@pytest.mark.parametrize("left", [".onnx.earlier", "onnx.earlier"])
def test_a_swap_that_was_killed_is_mended_by_whoever_comes_by(tmp_path: Path, left: str) -> None:
    users: list[Callable[[Path], object]] = [
        open_artifact,
        open_source,
        lambda target: finished(target.parent),
        lambda target: refuse_to_lose(target, overwrite=True),
        lambda target: refuse_nonsense([str(target)]),
    ]
    for number, use in enumerate(users):
        folder = tmp_path / str(number)
        target = interrupted(folder, (left, ".onnx.0a1b2c3d.partial"))
        use(target)
        assert (target / "contract.json").is_file()
        assert not (folder / left).exists()


def test_the_next_draft_takes_away_what_a_killed_one_left(tmp_path: Path) -> None:
    left = (".onnx.0a1b2c3d.partial", ".onnx.earlier", "onnx", ".onnx.v2.0a1b2c3d.partial")
    target = interrupted(tmp_path, left)
    (tmp_path / "onnx.partial").mkdir()
    (tmp_path / "onnx.partial" / "thesis.txt").write_text("nobody made this but the user")
    with draft_of(target) as draft:
        (draft / "file").write_text("new")
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names == {"onnx", "onnx.partial", ".onnx.v2.0a1b2c3d.partial"}
    assert [entry.name for entry in target.iterdir()] == ["file"]


def test_two_processes_do_not_write_one_artifact(tmp_path: Path) -> None:
    with draft_of(tmp_path / "onnx") as first:
        with (
            pytest.raises(UserError, match="is being written by another process"),
            draft_of(tmp_path / "onnx"),
        ):
            pass
        (first / "file").write_text("new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["onnx"]


def test_a_swap_that_fails_puts_back_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = make_artifact(tmp_path / "onnx")
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if self.suffix == ".partial":
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match="Permission denied"), draft_of(target):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["onnx"]
    assert (target / "contract.json").is_file()


def test_what_is_being_written_is_no_export(tmp_path: Path) -> None:
    for name in ("onnx", "litert", ".onnx.0a1b2c3d.partial", "onnx.partial", "litert.earlier"):
        make_artifact(tmp_path / name)
    assert [path.name for path in finished(tmp_path)] == ["litert", "onnx"]
    assert finished(tmp_path / "nowhere") == []


def test_a_link_is_not_replaced(tmp_path: Path) -> None:
    target = make_artifact(tmp_path / "elsewhere")
    (tmp_path / "onnx").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("onnx", "dangling"):
        with pytest.raises(UserError, match="will not be replaced"):
            refuse_to_lose(tmp_path / name, overwrite=True)
