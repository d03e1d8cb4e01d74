"""An export from beginning to end: run -> graphs -> files -> contract -> parity -> INT8 -> latency.

Everything is written into a directory beside the artifact's, which takes its place when all of it
is done and checked; until then an earlier artifact stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from understudy.errors import UserError
from understudy.judge.thresholds import thresholds_of
from understudy.run import Run, write_json, write_text
from understudy.ship.artifact import (
    Artifact,
    ArtifactError,
    load_artifact,
    sha256,
    size_bytes,
)
from understudy.ship.contract import build_contract
from understudy.ship.draft import draft_of, refuse_to_lose
from understudy.ship.formats import Format, find_format
from understudy.ship.graphs import graphs_of
from understudy.ship.macs import count_macs
from understudy.ship.parity import compare, compare_streams, explain
from understudy.ship.probes import awkward_probes, probe_stream, real_probes
from understudy.types import Recognizer, StreamingRecognizer


def plan_exports(
    run: Run,
    formats: Sequence[str],
    *,
    out: Path | None = None,
    overwrite: bool = False,
    keep: bool = False,
) -> list[tuple[str, Path]]:
    """Each format with its place, once all are known to be possible: nothing is exported yet.

    The place is `exports/<format>/` in the run; with `out`, that for one format and
    `out/<format>/` for several. keep: an artifact that is there already is no mistake. Raises
    UserError as `export_run` does.
    """
    wanted = list(dict.fromkeys(formats))
    if not wanted:
        raise UserError("Give a format to export to: --to onnx")
    places = []
    for name in wanted:
        find_format(name)
        own = run.export_path(name) if out is None else out / name
        places.append((name, out if out is not None and len(wanted) == 1 else own))
    for _, target in places:
        if not (keep and (target / "contract.json").is_file()):
            refuse_to_lose(target, overwrite)
    return places


def export_run(
    run: Run,
    format: str = "onnx",
    *,
    out: Path | None = None,
    manifest: str | Path | None = None,
    checkpoint: str = "best",
    overwrite: bool = False,
    int8: str | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Artifact:
    """Export a run, check the export against it on real clips and on a stream, and time both.

    The artifact goes to `out`, by default `exports/<format>/` in the run. The real clips come from
    `manifest`, by default from the run. The directory appears only when everything is done. int8:
    "auto", or the name of one quantisation scheme, to measure what INT8 gains and loses and to ship
    it where it pays; a format that cannot be executed here is converted without. progress: is given
    a line at each stage.

    Raises UserError for an unknown format, one whose libraries are not installed, a full disk, an
    artifact that is there already (unless `overwrite`) and clips that cannot be read;
    ArtifactError, with figures, if the outputs differ.
    """
    from understudy.ship.bench import bench_run
    from understudy.ship.clips import real_clips
    from understudy.ship.readme import render_readme

    [(format, target)] = plan_exports(run, [format], out=out, overwrite=overwrite)
    format_ = find_format(format)
    if int8 is not None and format_.RUNS_HERE:
        from understudy.ship.int8 import schemes_of

        schemes_of(format, ask=int8)
    classifier = run.classifier(checkpoint)
    thresholds_of(classifier, note=progress)
    frames = classifier.clip_frames
    clips, source = real_clips(run, manifest, sampling=classifier.sampling)

    with draft_of(target) as draft:
        progress(f"{format_.TITLE}: exporting")
        entries = write_graphs(format_, classifier.model, frames, draft)
        # The run again from its checkpoint, in case exporting changed the model in memory.
        classifier = run.classifier(checkpoint)
        model = classifier.model
        contract = build_contract(classifier, entries, runtime=format)
        write_json(draft / "contract.json", contract)
        if format_.RUNS_HERE:
            progress(f"{format_.TITLE}: comparing with the run")
            parity = check_parity(model, draft, clips, frames) | source
            if not parity["passed"]:
                raise ArtifactError(
                    f"The {format_.TITLE} export of {run.path} does not give what the run gives: "
                    f"{explain(parity)}. Nothing was written to {target}."
                )
            if int8 is not None:
                from understudy.ship.int8 import auto

                progress(f"{format_.TITLE}: quantising, by measurement")
                auto.quantise(
                    run,
                    draft,
                    ask=int8,
                    manifest=manifest,
                    checkpoint=checkpoint,
                    stage=lambda line: progress(f"{format_.TITLE}: {line}"),
                )
                if Artifact(draft).contract["precision"] != format_.PRECISION:
                    # Not a condition: what INT8 may lose was decided on accuracy.
                    shipped = parity["shipped"] = check_parity(model, draft, clips, frames)
                    if any(part["broken"] for part in (shipped, shipped.get("stream", shipped))):
                        raise ArtifactError(
                            f"The quantised {format_.TITLE} export of {run.path} gives outputs "
                            f"that are no numbers: {explain(shipped)}. Nothing was written to "
                            f"{target}. Export it without --int8, or with another scheme."
                        )
            write_json(draft / "parity.json", parity)
            progress(f"{format_.TITLE}: timing")
            bench_run(
                run, Artifact(draft), checkpoint=checkpoint, rounds=5, seconds=0.1, memory=False
            )
        else:
            if int8 is not None:
                progress(f"{format_.TITLE}: no INT8, since nothing of it can be measured here")
            unmeasured = {
                "passed": None,
                "executed": False,
                "reason": f"{format_.TITLE} is converted to, not executed: {format_.PLATFORMS}",
                "checked": {kind: entry.get("checked") for kind, entry in entries.items()},
            }
            write_json(draft / "parity.json", unmeasured | source)
        write_text(draft / "README.md", render_readme(Artifact(draft).contract))
    return Artifact(target)


def outcome(artifact: Artifact) -> list[str]:
    """What an export came to, in a few lines: files, parity, what INT8 gained, latency."""
    contract, int8 = artifact.contract, artifact.int8
    files = [
        f"{entry['file']} {entry['bytes'] / 1e6:.1f} MB {entry.get('precision', '')}".rstrip()
        for entry in contract["graphs"].values()
    ]
    lines = [", ".join(files), explain(artifact.parity)]
    if int8 is not None:
        lines += [f"INT8, {kind}: {graph['sentence']}" for kind, graph in int8["graphs"].items()]
    return lines


def check_parity(
    model: Recognizer, artifact: Path, clips: Sequence[Tensor], frames: int
) -> dict[str, Any]:
    """An artifact against its model: on clips, real and awkward, and stepped where it streams."""
    exported = load_artifact(artifact)
    probes = real_probes(clips, frames) + awkward_probes(frames, model.input_size)
    parity = compare(model, exported, probes)
    if isinstance(model, StreamingRecognizer):
        stream = compare_streams(model, exported, probe_stream(clips))
        parity |= {"stream": stream, "passed": parity["passed"] and stream["passed"]}
    return parity


def write_graphs(
    format_: Format, model: Recognizer, frames: int, folder: Path
) -> dict[str, dict[str, Any]]:
    """Every graph of the model as a file; what the contract says of each, by its kind."""
    entries = {}
    for graph in graphs_of(model, frames):
        path = folder / (graph.kind + format_.SUFFIX)
        notes = format_.export(graph, path)
        entry: dict[str, Any] = {
            "file": path.name,
            "sha256": sha256(path),
            "bytes": size_bytes(path),
            "macs": count_macs(graph.module, *graph.example(1)),
            "inputs": [spec.to_json() for spec in graph.inputs],
            "outputs": [spec.to_json() for spec in graph.outputs],
            "precision": format_.PRECISION,
            "oldest_runtime": format_.oldest_runtime(path),
        }
        if isinstance(graph.model, StreamingRecognizer) and graph.kind == "step":
            entry |= {"stream_frames": graph.model.stream_frames, "state_begins": "zeros"}
        entries[graph.kind] = entry | notes
    return entries
