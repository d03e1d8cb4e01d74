"""How the command line speaks: answers to stdout, everything else to stderr."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from understudy.run import Run
    from understudy.ship.artifact import Artifact


def print_(text: str) -> None:
    typer.echo(text)


def print_json(content: Any) -> None:
    import json

    typer.echo(json.dumps(content, indent=2))


def say(text: str) -> None:
    typer.echo(text, err=True)


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))


def say_unfinished(source: Run | Artifact) -> None:
    """Print a sentence where training of a run, or of an artifact's run, is not finished."""
    from understudy.run import Run
    from understudy.run.unfinished import unfinished_note

    if isinstance(source, Run):
        note = unfinished_note(source)
    else:  # as it was when it was exported
        note = source.contract.get("unfinished")
    if note is not None:
        say(note)
