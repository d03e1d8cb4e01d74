"""The whole way of an export: run -> graphs -> files -> contract -> parity -> latency -> artifact.

Everything is written into a directory beside the artifact's, which takes its place when all of it
is done and checked; until then an earlier artifact stays as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from understudy.errors import UserError
from understudy.run import Run, write_json
from understudy.ship.artifact import (
    Artifact,
    ArtifactError,
    load_artifact,
    sha256,
    size_bytes,
)
from understudy.ship.contract import build_contract, frames_taken
from understudy.ship.formats import find_format
from understudy.ship.graphs import Graph, graphs_of
from understudy.types import Recognizer, StreamingRecognizer


def export_run(
    run: Run,
    format: str = "onnx",
    *,
    out: Path | None = None,
    manifest: str | Path | None = None,
    checkpoint: str = "best",
    overwrite: bool = False,
) -> Artifact:
    """Export a run, check the export against it on real clips, and time both.

    The artifact goes to `out`, by default `exports/<format>/` in the run. The real clips come from
    `manifest`, by default the run's own. The directory appears only when everything is done.

    Raises UserError for an unknown format, one whose libraries are not installed, a full disk, an
    artifact that is there already (unless `overwrite`) and clips that cannot be read; ArtifactError,
    with figures, if the outputs differ.
    """
    from understudy.ship.bench import bench_run
    from understudy.ship.clips import real_clips

    form = find_format(format)
    target = Path(out) if out is not None else run.export_path(format)
    refuse_to_lose(target, overwrite)
    model = load_for_export(run, checkpoint)
    frames = frames_taken(run, model)
    clips, source = real_clips(run, manifest, frames=frames)

    with _draft(target) as draft:
        graphs = {}
        for graph in graphs_of(model, frames):
            path = draft / (graph.kind + form.SUFFIX)
            notes = form.export(graph, path)
            graphs[graph.kind] = describe_graph(graph, path) | notes
        # The run again from its checkpoint, in case exporting changed the model in memory.
        model = load_for_export(run, checkpoint)
        contract = build_contract(run, model, graphs, runtime=format, checkpoint=checkpoint)
        write_json(draft / "contract.json", contract)
        if form.RUNS_HERE:
            parity = _check(model, draft, clips, frames) | source
            if not parity["passed"]:
                from understudy.ship.parity import explain

                raise ArtifactError(
                    f"The {form.TITLE} export of {run.path} does not give what the run gives: "
                    f"{explain(parity)}. Nothing was written to {target}."
                )
            write_json(draft / "parity.json", parity)
            bench_run(run, Artifact(draft), checkpoint=checkpoint, rounds=5, seconds=0.1,
                      memory=False)  # fmt: skip
    return Artifact(target)


def load_for_export(run: Run, checkpoint: str) -> Recognizer:
    """The run's model, for pictures of the size that it was trained on."""
    model = run.load_model(checkpoint)
    model.input_size = run.recipe.data.size
    return model


def describe_graph(graph: Graph, path: Path) -> dict[str, Any]:
    """What the contract says of one graph and its file."""
    from understudy.ship.macs import count_macs

    entry: dict[str, Any] = {
        "file": path.name,
        "sha256": sha256(path),
        "bytes": size_bytes(path),
        "macs": count_macs(graph.module, *graph.example(1)),
        "inputs": [spec.to_json() for spec in graph.inputs],
        "outputs": [spec.to_json() for spec in graph.outputs],
    }
    if isinstance(graph.model, StreamingRecognizer) and graph.kind == "step":
        entry |= {"stream_frames": graph.model.stream_frames, "state_begins": "zeros"}
    return entry


def refuse_to_lose(target: Path, overwrite: bool) -> None:
    """Only an artifact may be replaced, and only when asked to."""
    if not target.exists():
        return
    if not overwrite:
        raise UserError(
            f"{target} is there already. Replace it with --overwrite, or choose another with --out."
        )
    if not target.is_dir() or (any(target.iterdir()) and not (target / "contract.json").exists()):
        raise UserError(f"{target} is no artifact and will not be replaced. Choose another --out.")


def _check(model: Recognizer, draft: Path, clips: list[Tensor], frames: int) -> dict[str, Any]:
    from understudy.ship.parity import awkward_probes, compare, real_probes

    probes = real_probes(clips, frames) + awkward_probes(frames, model.input_size)
    return compare(model, load_artifact(draft), probes)


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A directory that takes the place of `target` at the end, or vanishes with an error."""
    draft = target.with_name(target.name + ".partial")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"{draft} cannot be written: {error.strerror}. Choose another place with --out."
        ) from error
    try:
        yield draft
        if target.exists():
            shutil.rmtree(target)
        draft.rename(target)
    except OSError as error:
        if error.errno is None:
            raise
        raise UserError(
            f"{target} cannot be written: {error.strerror}. Nothing of it is kept."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
