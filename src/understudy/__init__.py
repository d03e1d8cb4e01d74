"""Understudy teaches small action recognisers from big frozen models and ships them to devices.

    import understudy

    run = understudy.train("student.yaml")                     # a Run: the directory of all results
    print(understudy.evaluate(run).metrics["top1"])            # with its interval
    artifact = understudy.export(run, "onnx")                  # kept only if it answers as the run
    for found in understudy.predict(artifact, ["film.mp4"]):
        print(found.path, found.segments)

    model = understudy.create_model("mobilevit-xxs", 15)       # an untrained recogniser
    classifier = understudy.load("runs/student")               # a trained one, ready to be called
    classifier = understudy.load("runs/student/exports/onnx")  # an export: the same calls
    classifier = understudy.load("hub:OWNER/NAME")             # a published one

Importing this package loads nothing heavy; each function brings what it needs. The classes that
these functions give are described where they are defined: `Run` and `RunClassifier` in
`understudy.run`, `Evaluation` in `understudy.judge.evaluate`, `FilePrediction` in
`understudy.perform.predict`, `Artifact` in `understudy.ship`, `Recognizer` in `understudy.types`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from understudy.judge.evaluate import Evaluation
    from understudy.perform.predict import FilePrediction
    from understudy.recipe import Recipe
    from understudy.run import Run, RunClassifier
    from understudy.ship.artifact import Artifact, ArtifactRecognizer
    from understudy.types import Recognizer

__all__ = [
    "Run",
    "create_model",
    "evaluate",
    "export",
    "list_models",
    "load",
    "predict",
    "train",
]


def create_model(name: str, num_classes: int, **options: Any) -> Recognizer:
    """Build a recogniser; see `understudy.models.create_model`."""
    from understudy.models import create_model

    return create_model(name, num_classes, **options)


def list_models() -> list[str]:
    """Names that `create_model` takes."""
    from understudy.models import list_models

    return list_models()


def load(
    place: str | Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint: str = "best",
) -> RunClassifier | ArtifactRecognizer:
    """A trained run or an exported artifact, ready to be called: uint8 clips in, `Output` out.

    Both are a `Classifier`: they have the same attributes (name, model_name, classes, sampling,
    threads, unknown_below, streams, stream_frames) and take the same calls, frames (B, T, 3, S, S)
    uint8 with lengths (B,), or `init_state` and `step` for a stream. A run's recogniser itself is
    its `model`.

    place: a run directory, the directory of an artifact, or `hub:OWNER/NAME` on the Hugging Face
    hub.
    device: where a run computes: cpu, cuda, cuda:1, mps or auto.
    threads: of the CPU that a call may use; None: as many as there are.
    checkpoint: of a run: best, final or epoch_010.
    Raises UserError for what is none of these.
    """
    from understudy.perform.loading import load

    return load(place, device=device, threads=threads, checkpoint=checkpoint)


def train(
    recipe: str | Path | Recipe, out: str | Path | None = None, *, changes: Sequence[str] = ()
) -> Run:
    """Train a student as a recipe says, and give its run.

    recipe: a YAML file, the name of a recipe of the package, or a recipe that was read before.
    out: the run directory; by default runs/NAME.
    changes: single values of a recipe that is read here: "train.epochs=5".
    Raises UserError for whatever is wrong with the recipe, the clips or the machine.
    """
    from pathlib import Path

    from understudy.errors import UserError
    from understudy.recipe import Recipe, load_recipe
    from understudy.teach.train import train

    if isinstance(recipe, Recipe):
        if changes:
            raise UserError("changes belong to a recipe that is read here; give its file or name.")
        checked = recipe
    else:
        checked = load_recipe(recipe, list(changes))
    return train(checked, Path("runs") / checked.name if out is None else Path(out))


def evaluate(
    source: str | Path | Run | Artifact,
    *,
    data: str | Path | None = None,
    split: str | None = None,
    checkpoint: str = "best",
    device: str = "cpu",
    threads: int | None = None,
) -> Evaluation:
    """Measure a run or an artifact on clips that it has not learned from.

    source: a run or an artifact, the directory of either, or `hub:OWNER/NAME`.
    data: a manifest or a folder; by default the clips that the run owns.
    split: train, val or test; by default the one that the recipe names.
    checkpoint, device, threads: as in `load`.
    Raises UserError for data that do not fit the model.
    """
    from understudy.judge.evaluate import evaluate
    from understudy.perform.loading import device_for, open_place

    opened = open_place(source)
    return evaluate(
        opened,
        manifest=data,
        split=split,
        checkpoint=checkpoint,
        device=device_for(opened, device),
        threads=threads,
    )


def predict(
    source: str | Path | Run | Artifact,
    files: Iterable[str | Path],
    *,
    checkpoint: str = "best",
    device: str = "cpu",
    threads: int | None = None,
) -> list[FilePrediction]:
    """What happens when in videos of any length, in pictures and in folders of them.

    source: a run or an artifact, the directory of either, or `hub:OWNER/NAME`.
    checkpoint, device, threads: as in `load`.
    A file that cannot be read has an `error` in the place of segments. Raises UserError for a
    source that cannot be loaded.
    """
    from understudy.perform.loading import load
    from understudy.perform.predict import predict

    classifier = load(source, device=device, threads=threads, checkpoint=checkpoint)
    return list(predict(classifier, files))


def export(
    source: str | Path | Run,
    format: str = "onnx",
    *,
    out: str | Path | None = None,
    checkpoint: str = "best",
    int8: str | None = None,
    overwrite: bool = False,
) -> Artifact:
    """Export a run for devices, and give the artifact, which is kept only if it answers as the run.

    source: a run, or its directory.
    format: onnx, litert, coreml or executorch.
    out: the directory to write; by default RUN/exports/FORMAT.
    int8: a quantisation scheme, or "auto" for the one that measuring finds best, if any.
    overwrite: replace an earlier export.
    Raises UserError for a format that is not installed, and `understudy.ship.ArtifactError` where
    outputs differ.
    """
    from pathlib import Path

    from understudy.run import Run, open_run
    from understudy.ship import export_run

    run = source if isinstance(source, Run) else open_run(source)
    target = None if out is None else Path(out)
    return export_run(
        run, format, out=target, checkpoint=checkpoint, int8=int8, overwrite=overwrite
    )


def __getattr__(name: str) -> Any:
    if name == "Run":  # a class, which nothing here can stand for
        from understudy.run import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
