"""The verbs by which a model is judged: evaluate, compare, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.options import Checkpoint, Device, Json, SourceArgument, Threads
from understudy.cli.say import print_, print_json, say, say_unfinished
from understudy.errors import UserError
from understudy.progress import Heartbeat

if TYPE_CHECKING:
    from understudy.judge.compare import Comparison

judging_app = typer.Typer()

DataOption = Annotated[
    str | None, typer.Option(help="A manifest or a folder; by default the clips that the run owns.")
]
SplitOption = Annotated[
    str | None, typer.Option(help="train, val or test; by default as the recipe says.")
]


@judging_app.command()
def evaluate(
    source: SourceArgument,
    data: DataOption = None,
    split: SplitOption = None,
    checkpoint: Checkpoint = "best",
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure a run or an artifact on clips it has not learned from, with intervals."""
    from understudy.judge.evaluate import evaluate as evaluate_source
    from understudy.judge.show import metric_lines
    from understudy.perform.loading import device_for, find_device, open_place
    from understudy.run.folds import holds_folds, open_folds

    with Heartbeat(say, "reading") as beat:
        if holds_folds(source):
            from understudy.judge.folds import evaluate_folds

            _refuse_for_folds(data, split)
            found = evaluate_folds(open_folds(source), checkpoint=checkpoint, threads=threads,
                                   device=find_device(device), track=beat.track)  # fmt: skip
        else:
            opened = open_place(source)
            say_unfinished(opened)
            found = evaluate_source(opened, manifest=data, split=split, checkpoint=checkpoint,
                                device=device_for(opened, device), threads=threads,
                                track=beat.track)  # fmt: skip
    if as_json:
        print_json(found.metrics)
        return
    for line in metric_lines(found.metrics):
        print_(line)


@judging_app.command()
def compare(
    a: SourceArgument,
    b: SourceArgument,
    data: DataOption = None,
    split: SplitOption = None,
    checkpoint: Checkpoint = "best",
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Compare two runs or artifacts on the same clips: how far apart are they, beyond chance?

    Either is evaluated first, unless that was done before.
    """
    from understudy.judge.compare import compare_sources
    from understudy.perform.loading import device_for, find_device, open_place
    from understudy.run import Run
    from understudy.run.folds import holds_folds, open_folds

    if holds_folds(a) and holds_folds(b):
        from understudy.judge.folds import compare_folds

        _refuse_for_folds(data, split)
        with Heartbeat(say, "comparing") as beat:
            found = compare_folds(open_folds(a), open_folds(b), checkpoint=checkpoint,
                                  device=find_device(device), threads=threads,
                                  track=beat.track)  # fmt: skip
        _print_versus(found, a, b, as_json)
        return
    first, second = open_place(a), open_place(b)
    for opened in (first, second):
        say_unfinished(opened)
    # One device for both; an artifact computes on the CPU alone.
    with Heartbeat(say, "comparing") as beat:
        found = compare_sources(first, second, manifest=data, split=split, checkpoint=checkpoint,
                                device=device_for(second if isinstance(first, Run) else first,
                                                  device),
                                threads=threads, track=beat.track)  # fmt: skip
    _print_versus(found, a, b, as_json)


def _print_versus(found: Comparison, a: str, b: str, as_json: bool) -> None:
    from understudy.study.versus import versus_content, versus_lines

    if as_json:
        print_json(versus_content(found, a, b))
    else:
        print_(*versus_lines(found, a, b))


def _refuse_for_folds(data: str | None, split: str | None) -> None:
    if data is not None or split not in (None, "test"):
        raise UserError(
            "All folds together are judged by the clips that each of them tests. --data and "
            "--split go with one of them, as fold-1."
        )


@judging_app.command()
def report(
    source: SourceArgument,
    out: Annotated[
        Path | None, typer.Option(help="By default report.html in the run or the artifact.")
    ] = None,
    device: Device = "cpu",
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Frames of the clips in the page; without them where the people in them must not "
            "be shown. Figures and plots stay.",
        ),
    ] = True,
) -> None:
    """Write one self-contained page about a run or an artifact."""
    from understudy.perform.loading import find_device, open_place
    from understudy.run.folds import holds_folds, open_folds
    from understudy.study.artifact_report import write_report_of
    from understudy.study.folds_report import write_report_of_folds

    with Heartbeat(say, "writing the page"):
        if holds_folds(source):
            page = write_report_of_folds(open_folds(source), out)
        else:
            opened = open_place(source)
            say_unfinished(opened)
            page = write_report_of(opened, out, device=find_device(device), pictures=pictures)
    print_(str(page))
