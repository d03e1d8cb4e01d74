"""Arguments and options that several verbs share, so that they are named and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN|ARTIFACT",
        help="A run directory, an exported artifact (RUN/exports/FORMAT) or hub:OWNER/NAME.",
    ),
]
Checkpoint = Annotated[str, typer.Option(help="Of a run: best, final or epoch_010.")]
Device = Annotated[str, typer.Option(help="Where a run computes: cpu, cuda, cuda:1, mps or auto.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of the CPU; by default every core.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
