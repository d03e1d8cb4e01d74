"""A run directory in the making: refused where anything else is, taken back with what was made.

Only what this process made is ever deleted: files are known by what they are, not by their names.
"""

from __future__ import annotations

import contextlib
import shlex
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import UNWRITABLE, UserError
from understudy.recipe import Recipe, dump_recipe
from understudy.run.directory import Run
from understudy.run.files import is_partial, noting_files, remove_made, write_text
from understudy.run.lock import LOCK_FILES, writing

_FOLDERS = ("checkpoints", "resume")
TRACKED = "tensorboard"
"""The folder of a run's tracker, which writes files of its own into it."""
_TRACKED = ("events.out.tfevents.*", "hparams.yml")


@contextmanager
def new_run(path: Path, recipe: Recipe) -> Iterator[Run]:
    """Make a run directory and hold it for writing; one that fails before its first epoch is
    taken back, with nothing but what was made here.

    Raises UserError when a run is there already, when the folder holds anything else, when it
    cannot be written, or when another process is writing it.
    """
    with _unwritable(path):
        is_held = (path / LOCK_FILES[0]).exists()
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    if is_held:
        with writing(path):  # told who holds it, if anybody does
            pass
    refuse_others(path)
    try:
        with _unwritable(path):
            path.mkdir(parents=True, exist_ok=True)
        with writing(path), noting_files() as made:
            try:
                yield create_run(path, recipe)
            except BaseException as error:
                if (path / "history.json").exists():
                    raise
                _discard(path, made)
                if isinstance(error, OSError) and error.errno in UNWRITABLE:
                    raise UserError(
                        f"{path} cannot be written any more ({error.strerror}). No epoch was "
                        "finished, so nothing is kept. Make room, or choose another with --out."
                    ) from error
                raise
    finally:
        for folder in missing:  # the innermost first; not where anything is in it
            with contextlib.suppress(OSError):
                folder.rmdir()


def create_run(path: Path, recipe: Recipe) -> Run:
    """Make a run directory, proving that it can be written before hours are spent.

    Raises UserError when a run is there already, when the folder holds anything else, or when it
    cannot be written.
    """
    refuse_others(path)
    with _unwritable(path):
        for folder in _FOLDERS:
            (path / folder).mkdir(parents=True, exist_ok=True)
        write_text(path / "recipe.yaml", dump_recipe(recipe))
    return Run(path)


def _is_of_a_beginning(entry: Path) -> bool:
    """Whether a run that was killed before its recipe was written has left this: nothing of
    anybody's."""
    if entry.name in _FOLDERS and entry.is_dir():
        return not any(entry.iterdir())
    return entry.name in LOCK_FILES or is_partial(entry)


def refuse_others(path: Path) -> None:
    """Raises UserError where anything is that a new run would write into, and for a name
    that cannot be written down."""
    if {unicodedata.category(letter) for letter in str(path)} & {"Cc", "Cs"}:
        raise UserError(
            f"{str(path)!r} holds characters that no command and no file can name. Choose another "
            "with --out."
        )
    with _unwritable(path):
        is_run = (path / "recipe.yaml").exists()
        entries = path.iterdir() if path.is_dir() else ()
        others = sorted(entry.name for entry in entries if not _is_of_a_beginning(entry))
    if is_run:
        raise UserError(
            f"There is a run in {path} already. Continue it with: understudy train --resume "
            f"{shlex.quote(str(path))}\nOr name another with --out, or delete that folder."
        )
    if others:
        raise UserError(
            f"{path} is not empty ({', '.join(others[:3])}) and no run. Nothing in it is touched; "
            "name another folder with --out."
        )


@contextmanager
def _unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"The run directory {path} cannot be written: {error.strerror}. Choose another with "
            "--out."
        ) from error


def _discard(path: Path, made: dict[Path, tuple[int, int]]) -> None:
    """Take back what was made of a run in which nothing was learned: the files that were written,
    unless somebody has put others in their place, and no folder that holds anything else."""
    remove_made(made, path)
    for pattern in _TRACKED:
        for file in (path / TRACKED).rglob(pattern):
            file.unlink()
    folders = sorted((path / TRACKED).rglob("*/"), reverse=True)
    for folder in (*folders, *(path / name for name in (TRACKED, *_FOLDERS))):
        with contextlib.suppress(OSError):  # somebody keeps files of their own there
            folder.rmdir()
