"""The verbs by which a model is judged: evaluate, compare, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.options import Checkpoint, Device, Json, SourceArgument
from understudy.cli.say import print_, print_json, say_unfinished

judging_app = typer.Typer()

DataOption = Annotated[
    str | None, typer.Option(help="Another manifest or folder than the run's own clips.")
]
SplitOption = Annotated[str | None, typer.Option(help="train, val or test.")]


@judging_app.command()
def evaluate(
    source: SourceArgument,
    data: DataOption = None,
    split: SplitOption = None,
    checkpoint: Checkpoint = "best",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure a run or an artifact on clips it has not learned from, with an interval on every
    figure."""


@judging_app.command()
def compare(
    a: SourceArgument,
    b: SourceArgument,
    data: DataOption = None,
    split: SplitOption = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Compare two runs or artifacts on the same clips: is the difference more than chance?"""


@judging_app.command()
def report(
    source: SourceArgument,
    out: Annotated[
        Path | None, typer.Option(help="By default report.html in the run or the artifact.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Write one self-contained page about a run or an artifact."""
    from understudy.perform.loading import fetched, find_device
    from understudy.study.report import write_report_of

    print_(str(write_report_of(fetched(source), out, device=find_device(device))))
