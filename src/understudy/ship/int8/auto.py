"""INT8 by measurement: quantise by every scheme there is, measure all of them, ship what pays.

For each graph of a draft: calibrate on training clips, write one file for each scheme, judge them
on validation clips beside the FP32 file, choose by the rule of `choice.py`, put the chosen file in
the place of the FP32 one. Every scheme that was tried is listed in int8.json, failures too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from understudy.judge.predictions import Predictions
from understudy.run import Run, read_json, write_json
from understudy.ship.artifact import sha256, size_bytes
from understudy.ship.bench.machine import where_and_when
from understudy.ship.clips import own_split
from understudy.ship.formats import FORMATS, Format
from understudy.ship.graphs import graphs_of
from understudy.ship.int8 import Job, Scheme, Unsuitable, first_line, schemes_of
from understudy.ship.int8.calibration import calibration_inputs
from understudy.ship.int8.choice import FP32, choose
from understudy.ship.int8.measure import MOST_CLIPS, Candidate, measure_graph
from understudy.ship.recognizer import ArtifactRecognizer

SCRATCH = "int8.partial"


def quantise(
    run: Run,
    draft: Path,
    *,
    ask: str = "auto",
    manifest: str | Path | None = None,
    checkpoint: str = "best",
    progress: Callable[[str], None] = lambda line: None,
    stage: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Choose the precision of every graph of an artifact in the making, by measurement.

    draft: its directory, with contract.json and FP32 files whose parity was checked. ask: "auto",
    or the name of one scheme. manifest: where the run's clips lie, if elsewhere now; its training
    clips calibrate and its validation clips judge. progress: is given one sentence for each graph;
    stage: a line on what is done now.
    Replaces files where INT8 is chosen, brings contract.json up to date, writes int8.json and gives
    its content. Raises UserError for an unknown scheme and for clips out of reach.
    """
    contract = read_json(draft / "contract.json")
    format_ = FORMATS[contract["runtime"]]
    schemes = schemes_of(contract["runtime"], ask)
    classifier = run.classifier(checkpoint)
    look = classifier.sampling
    judging = own_split(run, manifest, "val", sampling=look)
    scratch = draft / SCRATCH
    tables: dict[str, Any] = {}
    said: Predictions | None = None
    try:
        for graph in graphs_of(classifier.model, look.frames):
            entry = contract["graphs"][graph.kind]
            stage(f"{graph.kind}: reading clips to calibrate with")
            calibration = calibration_inputs(run, graph, manifest=manifest, sampling=look)
            folder = scratch / graph.kind
            folder.mkdir(parents=True, exist_ok=True)
            source = draft / entry["file"]
            float_ = ArtifactRecognizer(draft, contract, 1)
            candidates = [Candidate(FP32, entry, size_bytes(source), float_)]
            for name, scheme in schemes.items():
                stage(f"{graph.kind}: quantising, {name}")
                job = Job(graph, source, entry, calibration, folder / _file_of(name, format_))
                candidates.append(_candidate(contract, name, scheme, job))
            stage(f"{graph.kind}: measuring {len(candidates)} files, their accuracy and time")
            rows, said = measure_graph(graph.kind, candidates, judging, run.classes)
            chosen, sentence = choose(rows, ask)
            entry["precision"] = format_.PRECISION
            if chosen != FP32:
                taken = next(one for one in candidates if one.recipe == chosen)
                _replace(source, folder / _file_of(chosen, format_), entry, taken)
            tables[graph.kind] = {
                "rows": rows,
                "chosen": chosen,
                "sentence": sentence,
                "calibration_inputs": len(calibration),
            }
            progress(f"{graph.kind}: {sentence}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    assert said is not None, "every model has a clip graph"
    contract["precision"] = _overall(contract["graphs"])
    report = {
        "asked": ask,
        "graphs": tables,
        "n": len(said),
        "most_clips": MOST_CLIPS,
        "split": judging.name,
        "split_clips": len(judging.rows),
        "manifest": str(judging.place),
        "skipped": [clip._asdict() for clip in said.skipped],
        "threads": 1,
        **where_and_when(),
    }
    write_json(draft / "contract.json", contract)
    write_json(draft / "int8.json", report)
    return report


def _candidate(contract: dict[str, Any], name: str, scheme: Scheme, job: Job) -> Candidate:
    """One quantised file, loaded, or the reason why there is none: any failure is reported, not
    hidden, and leaves the others their turn."""
    try:
        own = job.entry | scheme(job)
        own["oldest_runtime"] = FORMATS[contract["runtime"]].oldest_runtime(job.out_path)
    except Unsuitable as reason:
        return Candidate(name, failure=str(reason))
    except Exception as error:
        return Candidate(name, failure=f"it cannot be converted: {first_line(error)}")
    try:
        graphs = {job.graph.kind: own | {"file": job.out_path.name}}
        recognise = ArtifactRecognizer(job.out_path.parent, contract | {"graphs": graphs}, 1)
        recognise.open_graph(job.graph.kind)
    except Exception as error:
        return Candidate(name, failure=f"it cannot be loaded: {first_line(error)}")
    return Candidate(name, own, size_bytes(job.out_path), recognise)


def _replace(target: Path, own: Path, entry: dict[str, Any], taken: Candidate) -> None:
    """Put the chosen file in the place of the FP32 one, and note it in the contract."""
    if target.is_dir():
        shutil.rmtree(target)
    own.replace(target)
    entry |= taken.entry
    entry |= {
        "precision": f"int8 ({taken.recipe})",
        "sha256": sha256(target),
        "bytes": size_bytes(target),
    }


def _file_of(scheme: str, format_: Format) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in scheme) + format_.SUFFIX


def _overall(entries: dict[str, dict[str, Any]]) -> str:
    """The precision of an artifact: that of its graphs, each by name where they differ."""
    found = {entry["precision"] for entry in entries.values()}
    if len(found) == 1:
        return found.pop()
    return ", ".join(f"{kind} {entry['precision']}" for kind, entry in entries.items())
