"""The verbs by which a model is used: predict, stream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.options import Checkpoint, Device, SourceArgument, Threads
from understudy.cli.say import print_or_stop, say, say_unfinished
from understudy.errors import UserError
from understudy.progress import Heartbeat

using_app = typer.Typer()


@using_app.command()
def predict(
    source: SourceArgument,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Videos, pictures or folders of them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, one object a file.")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Recognise what happens when in videos of any length, in pictures and in folders.

    A long video is read in overlapping windows as long as the clips of training.
    """
    from understudy.perform.loading import load, open_place
    from understudy.perform.predict_command import predict_files

    if not files:
        raise UserError(
            "Give files to recognise: videos, pictures or folders. A camera: understudy stream "
            "RUN --camera 0"
        )
    with Heartbeat(say, "recognising"):
        opened = open_place(source)
        say_unfinished(opened)
        classifier = load(opened, device=device, threads=threads, checkpoint=checkpoint)
        predict_files(classifier, files, as_json=as_json, show=print_or_stop, note=say)


@using_app.command()
def stream(
    source: SourceArgument,
    file: Annotated[Path | None, typer.Argument(help="A video.")] = None,
    camera: Annotated[
        str | None, typer.Option(help="Read a camera: a number, a device or an address.")
    ] = None,
    unknown: Annotated[
        float | None,
        typer.Option(
            help="Probability below which the label is 'unknown'; by default set on the "
            "validation clips."
        ),
    ] = None,
    smoothing: Annotated[
        float | None,
        typer.Option(help="Time constant of averaging, in seconds; by default one frame's step."),
    ] = None,
    reconnect: Annotated[
        float | None,
        typer.Option(help="Seconds for which a lost camera is tried again; by default 10."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, one object an event.")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Recognise a video or a camera frame by frame, and print every change of the label."""
    from understudy.perform.loading import open_place
    from understudy.perform.stream_command import Options, recognise_stream

    options = Options(camera, unknown, smoothing, reconnect)
    opened = open_place(source)
    say_unfinished(opened)
    try:
        recognise_stream(opened, file, options, checkpoint=checkpoint, device=device,
                         threads=threads, as_json=as_json, show=print_or_stop,
                         note=say)  # fmt: skip
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
