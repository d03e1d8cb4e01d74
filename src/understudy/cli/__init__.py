"""Verbs only: each brings what it needs when it is called, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.data import data_app
from understudy.cli.say import print_, print_json, quoted, say
from understudy.cli.shipping import shipping_app
from understudy.errors import UserError

app = typer.Typer(
    name="understudy",
    help="Teach small action recognisers from big frozen models, compare them honestly, ship them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
app.add_typer(shipping_app)

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
Checkpoint = Annotated[str, typer.Option(help="best, final or epoch_010.")]


def _print_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        print_(metadata.version("understudy"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say it.")
    ] = False,
) -> None:
    """Teach small action recognisers from big frozen models, compare them honestly, ship them."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where films, runs and the page go.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    clips: Annotated[int, typer.Option(help="Number of clips to film.")] = 400,
) -> None:
    """The main job on clips made here: teach, evaluate, export, time, report. Works offline."""
    from understudy.study.demo import run_demo

    run_demo(out, seed=seed, clips=clips)


@app.command()
def train(
    recipe: Annotated[
        str | None, typer.Argument(help="A YAML file or the name of a recipe of the package.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change one value: train.epochs=5")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run directory; by default runs/NAME.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")
    ] = None,
    qat: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Teach a finished run to bear 8 bits.")
    ] = None,
) -> None:
    """Teach a student as a recipe says."""
    if sum(given is not None for given in (recipe, resume, qat)) != 1:
        raise UserError("Give a recipe to train, or --resume RUN to go on with one, not both; or "
                        "--qat RUN alone, to prepare a finished one for INT8.")  # fmt: skip
    if resume is not None and (set_ or out):
        raise UserError("--resume goes on exactly as the run was started; --set and --out do not "
                        "belong with it.")  # fmt: skip
    from understudy.recipe import load_recipe
    from understudy.run import open_run
    from understudy.teach.progress import default_reporter
    from understudy.teach.qat import qat_recipe
    from understudy.teach.train import resume as resume_run
    from understudy.teach.train import train as train_run

    place = resume
    try:
        if resume is not None:
            run = resume_run(resume, reporter=default_reporter())
        else:
            if qat is not None:
                checked = qat_recipe(open_run(qat), set_ or [])
            else:
                assert recipe is not None
                checked = load_recipe(recipe, set_ or [])
            # Beside the run that it goes on from, where the teacher's cache lies too.
            place = out or (qat.resolve().parent if qat else Path("runs")) / checked.name
            run = train_run(checked, place, reporter=default_reporter())
    except KeyboardInterrupt:
        if place is None or not (place / "recipe.yaml").exists():
            say("\nStopped before the first epoch was finished; nothing is kept.")
        else:
            say(f"\nStopped. Go on with: understudy train --resume {quoted(place)}")
        raise typer.Exit(130) from None
    skipped = run.data["skipped"]
    if skipped:
        say(f"{len(skipped)} clips could not be read; they are listed in {run.path}/data.json.")
    if int(os.environ.get("RANK", "0")) == 0:  # of several processes one speaks
        print_(f"{run.path}\nNext: understudy evaluate {quoted(run.path)}")


@app.command()
def evaluate(
    run: RunArgument,
    data: Annotated[str | None, typer.Option(help="Another manifest than the run's own.")] = None,
    split: Annotated[str | None, typer.Option(help="train, val or test.")] = None,
    checkpoint: Checkpoint = "best",
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Measure a run on clips it has not learned from, with an interval on every figure."""
    from understudy.judge.evaluate import evaluate_run
    from understudy.judge.show import metric_lines
    from understudy.run import open_run

    metrics = evaluate_run(open_run(run), manifest=data, split=split, checkpoint=checkpoint)
    if as_json:
        print_json(metrics)
        return
    for line in metric_lines(metrics):
        print_(line)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or an exported artifact.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Videos, pictures or folders of them.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON, one object per file or event of a stream.")
    ] = False,
    checkpoint: Checkpoint = "best",
    stream: Annotated[
        bool, typer.Option("--stream", help="Read one video frame by frame, say what changes.")
    ] = False,
    camera: Annotated[
        str | None, typer.Option(help="Watch a camera: a number, a device or an address.")
    ] = None,
    unknown: Annotated[
        float | None, typer.Option(help="Stream: 'unknown' below it; by default set by validation.")
    ] = None,
    smoothing: Annotated[
        float | None, typer.Option(help="Stream: time constant of averaging, in seconds.")
    ] = None,
    reconnect: Annotated[
        float | None, typer.Option(help="Camera: try a lost one for so many seconds; 10.")
    ] = None,
) -> None:
    """Say what happens in videos of any length, pictures and folders, or in a live stream."""
    from understudy.perform.command import predict_files, predict_stream

    shown: dict[str, Any] = {"checkpoint": checkpoint, "as_json": as_json, "show": print_}
    if not stream and camera is None:
        if {unknown, smoothing, reconnect} != {None}:
            raise UserError("--unknown, --smoothing and --reconnect need --stream or --camera.")
        predict_files(run, files or [], **shown)
        return
    try:
        predict_stream(run, files or [], camera=camera, unknown=unknown, smoothing_s=smoothing,
                       reconnect_s=reconnect, tell=say, **shown)  # fmt: skip
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def report(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option(help="By default RUN/report.html.")] = None,
) -> None:
    """Write one self-contained page about a run."""
    from understudy.run import open_run
    from understudy.study.report import write_report

    print_(str(write_report(open_run(run), out)))


@app.command()
def models() -> None:
    """List the models, their parameters at 10 classes and how they read a stream."""
    import torch

    from understudy.models import create_model, list_models
    from understudy.types import StreamingRecognizer, parameter_count

    for name in list_models():
        with torch.device("meta"):  # the largest would take half a gigabyte otherwise
            model = create_model(name, 10)
        streams = "reads whole clips"
        if isinstance(model, StreamingRecognizer):
            latest = model.stream_frames
            streams = f"streams, the latest {latest} frames" if latest else "streams"
        print_(f"{name:<20} {parameter_count(model):>12,} parameters  {streams}")


_EXTRAS = {
    "litert": ("litert_torch", "ai_edge_litert"),
    "coreml": ("coremltools",),
    "executorch": ("executorch",),
    "qat": ("torchao",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
}
"""Extra of this package -> the modules that it brings."""


@app.command()
def doctor() -> None:
    """Say what this machine has: versions, devices, decoders, extras."""
    import importlib.util
    import shutil

    import torch

    from understudy.run import describe_environment

    environment = describe_environment()
    libraries = environment.pop("libraries")
    environment.pop("command")
    for name, value in (environment | libraries).items():
        print_(f"{name:<16} {value if value is not None else 'none'}")
    print_(f"{'mps':<16} {torch.backends.mps.is_available()}")
    print_(f"{'free disk':<16} {shutil.disk_usage('.').free / 1e9:.0f} GB")
    for extra, modules in _EXTRAS.items():
        there = all(importlib.util.find_spec(module) is not None for module in modules)
        advice = f"pip install 'understudy[{extra}]'"
        print_(f"{extra:<16} {'installed' if there else advice}")


def main() -> None:
    """Run the command line: 0 done, 2 the user's mistake, 130 interrupted."""
    try:
        app()
    except UserError as error:
        if getattr(error, "said_elsewhere", False):  # by another process of the same training
            sys.exit(2)
        say(f"understudy: {error}")
        if os.environ.get("UNDERSTUDY_DEBUG"):
            raise
        sys.exit(2)
