"""Who is timed: runs, artifacts and peers, as they are named on the command line.

An exported peer is an artifact like any other, in a folder that lives as long as the lineup.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from understudy.errors import UserError, nearest
from understudy.run import Run, open_run, write_json
from understudy.ship.artifact import Artifact, load_artifact, open_artifact
from understudy.ship.bench.peers import PREFIXES, create_peer, is_peer, split_peer
from understudy.ship.bench.subjects import (
    Subject,
    natural_clips,
    subject_of_artifact,
    subject_of_model,
    subject_of_run,
    told_apart,
)
from understudy.ship.draft import finished, mend
from understudy.ship.export import write_graphs
from understudy.ship.formats import find_format
from understudy.ship.parity import compare, explain
from understudy.ship.probes import Probe
from understudy.ship.schema import CONTRACT_FORMAT, CONTRACT_VERSION
from understudy.types import Recognizer, parameter_count

FRAMES, SIZE = 8, 224
"""Of the clips that peers see where there is no run or artifact beside them."""


@dataclass(frozen=True, slots=True)
class Lineup:
    """Subjects in the order in which they were named, and what was left out, with the reason."""

    subjects: list[Subject]
    left_out: list[str]


@contextmanager
def lineup(
    names: Sequence[str], *, frames: int | None = None, size: int | None = None
) -> Iterator[Lineup]:
    """Make subjects of names; exported peers are deleted at the end.

    names: run directories, artifact directories, and peers, as `create_peer` takes them, with
    @FORMAT where one should be exported first. A run alone brings those of its exports that run
    here. frames, size: of the clips that peers see; by default those of the first run or artifact.
    Raises UserError for a name that is none of these, and for what cannot run here.
    """
    refuse_nonsense(names)
    left_out: list[str] = []
    named: list[Subject | str] = [name if _is_peer(name) else _own(Path(name)) for name in names]
    first = next((one for one in named if isinstance(one, Subject)), None)
    frames = frames or (first.frames if first else FRAMES)
    size = size or (first.size if first else SIZE)
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
        subjects = [
            _peer(one, frames, size, Path(folder) / str(place)) if isinstance(one, str) else one
            for place, one in enumerate(named)
        ]
        if len(subjects) == 1 and subjects[0].kind == "run" and subjects[0].path is not None:
            exports, left_out = exports_that_run(Run(subjects[0].path))
            subjects += map(subject_of_artifact, exports)
        yield Lineup(told_apart(subjects), left_out)


def exports_that_run(run: Run) -> tuple[list[Artifact], list[str]]:
    """The exports of a run that can be used here, and why each other one cannot."""
    exports, left_out = [], []
    for path in finished(run.path / "exports"):
        if not (path / "contract.json").exists():
            continue
        try:
            load_artifact(path)
            exports.append(Artifact(path))
        except UserError as error:
            left_out.append(str(error))
    return exports, left_out


def refuse_nonsense(names: Sequence[str]) -> None:
    """Raise UserError for the first name that is no run, no artifact and no peer."""
    if not names:
        raise UserError(f"Name what should be timed: {_ACCEPTED}.")
    for name in names:
        path = Path(name)
        mend(path)
        if _is_peer(name):
            split_peer(name)
        elif not any((path / file).is_file() for file in ("recipe.yaml", "contract.json")):
            raise UserError(f"{name} is {_fault(name, path)} Give {_ACCEPTED}.")


_ACCEPTED = (
    "a run directory, an artifact directory (RUN/exports/FORMAT) or a peer ("
    + ", ".join(f"{prefix}:NAME" for prefix in PREFIXES)
    + "; with @FORMAT it is exported first)"
)


def _is_peer(name: str) -> bool:
    """Whether a model is named, and not a folder with a colon in its name."""
    return is_peer(name) and not Path(name).is_dir()


def _fault(name: str, path: Path) -> str:
    """What a name is instead, and the nearest thing that exists: a prefix, one of our models, or a
    directory in it or beside it."""
    from understudy.models import list_models

    if path.is_dir():
        inside = _runs_and_artifacts(path)[:5]
        known = f" In it: {', '.join(inside)}." if inside else ""
        return f"a directory, but neither a run nor an artifact.{known}"
    if path.exists():
        return "a file."
    nothing = "nothing that can be timed."
    prefix, colon, rest = name.partition(":")
    if colon:
        close = nearest(prefix, list(PREFIXES))
        return f"{nothing}{close[:-1]}:{rest}?" if close else nothing
    bare, at, format_ = name.partition("@")
    if bare in list_models():
        return f"{nothing} Did you mean model:{bare}{at}{format_}?"
    return nothing + nearest(str(path), _runs_and_artifacts(path.parent))


def _runs_and_artifacts(folder: Path) -> list[str]:
    found = (sorted(folder.glob(f"*/{file}")) for file in ("recipe.yaml", "contract.json"))
    return [str(file.parent) for files in found for file in files]


def _own(path: Path) -> Subject:
    """A run or an artifact."""
    if (path / "recipe.yaml").is_file():
        return subject_of_run(open_run(path))
    artifact = open_artifact(path)
    load_artifact(path)  # before anything is timed: what cannot run here says so
    return subject_of_artifact(artifact)


def _peer(spec: str, frames: int, size: int, folder: Path) -> Subject:
    """A model by its name, in PyTorch or exported to `folder`."""
    name, format_ = split_peer(spec)
    model = create_peer(name, frames=frames, size=size)
    if format_ is None:
        source = ("peer", name)
        return subject_of_model(spec, model, frames=frames, size=size, kind="peer", source=source)
    artifact = export_peer(spec, model, format_, frames, folder)
    # The model again, in case exporting changed the one in memory.
    again = create_peer(name, frames=frames, size=size)
    clips, lengths = natural_clips(1, frames, size), torch.tensor([frames])
    parity = compare(again, load_artifact(artifact.path), [Probe("pictures", clips, lengths)])
    if not parity["passed"]:
        raise UserError(f"{spec} cannot be timed: exported it gives something else than in "
                        f"PyTorch, {explain(parity)}.")  # fmt: skip
    return replace(subject_of_artifact(artifact), name=spec, kind="peer")


def export_peer(spec: str, model: Recognizer, format_: str, frames: int, folder: Path) -> Artifact:
    """An artifact with as much of a contract as timing needs."""
    module = find_format(format_)
    folder.mkdir()
    graphs = write_graphs(module, model, frames, folder)
    (_, classes) = graphs["clip"]["outputs"][0]["shape"]
    contract: dict[str, Any] = {
        "format": CONTRACT_FORMAT,
        "contract_version": CONTRACT_VERSION,
        "runtime": format_,
        "precision": module.PRECISION,
        "executed": module.RUNS_HERE,
        "run": spec,
        "checkpoint": "none",
        "model": spec,
        "parameters": parameter_count(model),
        "classes": [f"output {number}" for number in range(classes)],
        "unknown_below": None,
        "batch": "any" if module.ANY_BATCH else 1,
        "graphs": graphs,
        "input": {"frames": frames, "size": model.input_size},
        "sampling": {},
    }
    write_json(folder / "contract.json", contract)
    return Artifact(folder)
