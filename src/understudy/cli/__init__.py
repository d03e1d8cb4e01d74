"""Verbs only: each brings what it needs when it is called, so that --help answers at once."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from understudy.cli.data import data_app
from understudy.cli.judging import judging_app
from understudy.cli.machine import machine_app
from understudy.cli.say import prepare_streams, print_, quoted, say
from understudy.cli.shipping import shipping_app
from understudy.cli.using import using_app
from understudy.errors import UNWRITABLE, UserError

if TYPE_CHECKING:
    from understudy.recipe import Recipe


class Verbs(TyperGroup):
    """The verbs, and how those that were renamed are called now."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        verb, *words = args
        now = None
        if verb == "load":
            now = "pull", words
        elif verb == "predict":
            camera = any(word.partition("=")[0] == "--camera" for word in words)
            if camera or "--stream" in words:
                now = "stream", [word for word in words if word != "--stream"]
        if now is not None:
            old = "load" if verb == "load" else "predict with --stream or --camera"
            raise UserError(
                f"{old} is called {now[0]} now: understudy {shlex.join([now[0], *now[1]])}"
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # never of our streams: of a process that has died
            raise RuntimeError("A process that this one works with has ended.") from error


app = typer.Typer(
    name="understudy",
    cls=Verbs,
    help="Teach small action recognisers from big frozen models, compare them honestly, ship them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
for verbs in (judging_app, using_app, shipping_app, machine_app):
    app.add_typer(verbs)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        print_(metadata.version("understudy"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
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
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="With --resume: where its clips lie now, if they were moved."
        ),
    ] = None,
    qat: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Fine-tune a finished run with quantisation-aware training."
        ),
    ] = None,
) -> None:
    """Teach a student as a recipe says."""
    if sum(given is not None for given in (recipe, resume, qat)) != 1:
        raise UserError("Give a recipe to train, or --resume RUN to go on with one, not both; or "
                        "--qat RUN alone, to prepare a finished one for INT8.")  # fmt: skip
    if resume is not None and (set_ or out):
        raise UserError("--resume goes on exactly as the run was started; --set and --out do not "
                        "belong with it.")  # fmt: skip
    if data is not None and resume is None:
        raise UserError("--data says where the clips of a run lie now that goes on with --resume. "
                        "A new run takes them from: --set data.manifest=PATH")  # fmt: skip
    from understudy.recipe import load_recipe
    from understudy.run import open_run
    from understudy.run.folds import fold_path, holds_folds
    from understudy.teach.progress import default_reporter
    from understudy.teach.qat import qat_recipe
    from understudy.teach.train import resume as resume_run
    from understudy.teach.train import train as train_run

    place = resume
    try:
        if resume is not None and holds_folds(resume):
            if data is not None:
                raise UserError(f"{resume} holds folds; --data goes with one of them: "
                                f"--resume {quoted(fold_path(resume, 1))}")  # fmt: skip
            _train_folds(None, resume)
            return
        if resume is not None:
            run = resume_run(resume, data=data, reporter=default_reporter())
        else:
            if qat is not None:
                checked = qat_recipe(open_run(qat), set_ or [])
            else:
                assert recipe is not None
                checked = load_recipe(recipe, set_ or [])
            # Beside the run that it goes on from, where the teacher's cache lies too.
            place = out or (qat.resolve().parent if qat else Path("runs")) / checked.name
            if qat is None and checked.data.folds is not None:
                if checked.data.fold is None:
                    _train_folds(checked, place)
                    return
                place = out or fold_path(place, checked.data.fold)
            run = train_run(checked, place, reporter=default_reporter())
    except KeyboardInterrupt:
        if place is None or not ((place / "recipe.yaml").exists() or holds_folds(place)):
            say("\nStopped before the first epoch was finished; nothing is kept.")
        else:
            say(f"\nStopped. Go on with: understudy train --resume {quoted(place)}")
        raise typer.Exit(130) from None
    skipped = run.data["skipped"]
    if skipped:
        say(f"{len(skipped)} clips could not be read; they are listed in {run.path}/data.json.")
    if int(os.environ.get("RANK", "0")) == 0:  # of several processes one speaks
        print_(str(run.path), f"Next: understudy evaluate {quoted(run.path)}")


def _train_folds(recipe: Recipe | None, place: Path) -> None:
    """Train all folds of a recipe, or go on with them, and judge them by all clips together."""
    from understudy.judge.folds import evaluate_folds
    from understudy.judge.show import metric_lines
    from understudy.perform.loading import find_device
    from understudy.progress import Heartbeat
    from understudy.teach.folds import resume_folds, train_folds
    from understudy.teach.progress import default_reporter

    told: dict[str, Any] = {"reporter": default_reporter, "tell": say}
    folds = resume_folds(place, **told) if recipe is None else train_folds(recipe, place, **told)
    with Heartbeat(say, "evaluating") as beat:
        device = find_device(folds.recipe.train.device)
        found = evaluate_folds(folds, device=device, track=beat.track)
    print_(str(folds.path), *metric_lines(found.metrics))
    print_(f"Next: understudy report {quoted(folds.path)}")


def use_own_cores() -> None:
    """Have PyTorch start with the threads that this process may use: it knows to which cores it is
    held, and not how much time a container gives it."""
    from understudy.core_count import affinity, cores

    if cores() < affinity():
        os.environ.setdefault("OMP_NUM_THREADS", str(cores()))


def main() -> None:
    """Run the command line. It exits with 0 when done, 2 for a user's mistake, 130 interrupted."""
    prepare_streams()
    use_own_cores()
    try:
        app()
    except UserError as error:
        if getattr(error, "said_elsewhere", False):  # by another process of the same training
            sys.exit(2)
        say(f"understudy: {error}")
        if os.environ.get("UNDERSTUDY_DEBUG"):
            raise
        sys.exit(2)
    except OSError as error:  # wherever a disk turned out to be full
        if error.errno not in UNWRITABLE or os.environ.get("UNDERSTUDY_DEBUG"):
            raise
        say(f"understudy: {error.filename or 'A file'} cannot be written: {error.strerror}. Make "
            "room, or choose a place that can be written.")  # fmt: skip
        sys.exit(2)
