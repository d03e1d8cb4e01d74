"""How a recogniser leaves: exported, checked against its run, timed.

`export_run` is the whole way: run -> file -> contract -> parity -> latency -> artifact.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from understudy.errors import UserError, nearest
from understudy.run import Run, write_json
from understudy.ship.artifact import (
    FORMATS,
    Artifact,
    ArtifactError,
    ArtifactRecognizer,
    build_contract,
    frames_taken,
    load_artifact,
    open_artifact,
)

__all__ = [
    "FORMATS",
    "Artifact",
    "ArtifactError",
    "ArtifactRecognizer",
    "export_run",
    "load_artifact",
    "open_artifact",
]


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

    Raises UserError for an unknown format, an artifact that is there already (unless `overwrite`)
    and clips that cannot be read; ArtifactError, with figures, if the outputs differ.
    """
    from understudy.ship.bench import bench_run
    from understudy.ship.clips import real_clips
    from understudy.ship.macs import count_macs
    from understudy.ship.parity import awkward_probes, compare, explain, real_probes

    if format not in FORMATS:
        raise UserError(
            f"There is no export format {format}.{nearest(format, tuple(FORMATS))} "
            f"Known: {', '.join(FORMATS)}."
        )
    target = Path(out) if out is not None else run.export_path(format)
    _refuse_to_lose(target, overwrite)
    model = run.load_model(checkpoint)
    frames, size = frames_taken(run, model), run.recipe.data.size
    clips, source = real_clips(run, manifest, frames=frames)

    draft = target.with_name(target.name + ".partial")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"{draft} cannot be written: {error.strerror}. Choose another place with --out."
        ) from error
    try:
        example = awkward_probes(frames, size)[1]
        model_path = draft / FORMATS[format].FILE
        FORMATS[format].export(model, (example.frames, example.lengths), model_path)

        # The run again from its checkpoint, in case exporting changed the model in memory.
        model = run.load_model(checkpoint)
        with torch.inference_mode():
            embedding_dim = model(example.frames[:1]).embedding.shape[1]
        contract = build_contract(
            run,
            model,
            model_path,
            runtime=format,
            checkpoint=checkpoint,
            embedding_dim=embedding_dim,
            macs=count_macs(model, example.frames[:1]),
        )
        write_json(draft / "contract.json", contract)

        probes = real_probes(clips, frames) + awkward_probes(frames, size)
        parity = compare(model, load_artifact(draft), probes) | source
        if not parity["passed"]:
            raise ArtifactError(
                f"The {format} export of {run.path} does not give what the run gives: "
                f"{explain(parity)}. Nothing was written to {target}."
            )
        write_json(draft / "parity.json", parity)
        bench_run(run, Artifact(draft), checkpoint=checkpoint, rounds=5, seconds=0.1, memory=False)
        if target.exists():
            shutil.rmtree(target)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Artifact(target)


def _refuse_to_lose(target: Path, overwrite: bool) -> None:
    """Only an artifact may be replaced, and only when asked to."""
    if not target.exists():
        return
    if not overwrite:
        raise UserError(
            f"{target} is there already. Replace it with --overwrite, or choose another with --out."
        )
    if not target.is_dir() or (any(target.iterdir()) and not (target / "contract.json").exists()):
        raise UserError(f"{target} is no artifact and will not be replaced. Choose another --out.")
