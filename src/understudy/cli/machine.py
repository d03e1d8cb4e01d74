"""The verbs that say what there is: models, doctor, cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.say import print_

machine_app = typer.Typer()


@machine_app.command()
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


@machine_app.command()
def cache(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="A folder of runs.")] = Path("runs"),
) -> None:
    """List the teachers' outputs that are kept beside runs, in RUNS/teacher-store.

    A folder of it can be deleted at any time: its outputs are then computed again.
    """
    from understudy.teach.stored import list_stores, store_lines

    for line in store_lines(runs, list_stores(runs)):
        print_(line)


_EXTRAS = {
    "litert": ("litert_torch", "ai_edge_litert"),
    "coreml": ("coremltools",),
    "executorch": ("executorch",),
    "qat": ("torchao",),
    "datasets": ("datasets",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
}
"""Extra of this package -> the modules that it brings."""


@machine_app.command()
def doctor() -> None:
    """Describe this machine: versions, devices, decoders, extras."""
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
