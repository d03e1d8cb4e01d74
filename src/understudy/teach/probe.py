"""A linear probe for a tower without a head: fitted once, and kept beside the tower's outputs.

The embeddings of the training clips come from the store where they are known, and go there where
they are not, computed on the device that trains. So a second run, or one that goes on, fits nothing
anew: the head lies in the store under a name made of all that it was fitted on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from understudy.data.manifest import Manifest
from understudy.errors import UserError
from understudy.run import write_bytes
from understudy.teach.processes import Processes
from understudy.teach.skipped import SkippedClips
from understudy.teach.store import refuse_broken
from understudy.teach.targets import Targets
from understudy.teach.teachers import Fitting
from understudy.teach.teachers.clip import probe_head
from understudy.types import Batch


def fit_probe(
    targets: Targets,
    loader: Iterable[Batch],
    manifest: Manifest,
    processes: Processes,
    skipped: SkippedClips,
    note: Callable[[str], None],
) -> nn.Linear:
    """The head for the tower of `targets`, the same in all processes.

    loader: this process's part of the training clips, without augmentation, by a loader that knows
    `targets`. Raises UserError where none could be read, or a class has none.
    """
    classes = len(manifest.classes)
    place = _place(targets, manifest)
    kept = processes.first(lambda: _kept(place, classes))
    [known] = processes.broadcast([kept])
    if known is not None:
        return known
    note("fitting a linear probe on the teacher's embeddings of the training clips")
    rows: list[int] = []
    unread, embeddings = [], []
    for batch in loader:
        unread += batch.skipped
        if len(batch):
            output = targets.answer(batch.to(processes.device))
            embeddings += F.normalize(output.embedding, dim=-1).cpu().unbind()
            rows += batch.index.tolist()
    targets.flush()
    skipped.add(processes.gather(unread))
    found = processes.gather(zip(rows, embeddings, strict=True))
    labelled = [pair for pair in found if manifest.label_text(pair[0])]
    pairs = sorted(labelled, key=lambda pair: pair[0])
    if not pairs:
        raise UserError("The probe cannot be fitted: no labelled training clip could be read.")

    def fit() -> nn.Linear:
        in_order = [row for row, _ in pairs]
        embeddings = torch.stack([embedding for _, embedding in pairs])
        refuse_broken(targets.teacher.facts["name"], embeddings)
        if manifest.is_multi_label:
            labels = torch.from_numpy(manifest.holds(in_order, manifest.classes))
        else:
            labels = torch.from_numpy(manifest.targets(in_order))
        fitting = Fitting(embeddings, labels, manifest.groups(in_order))
        head = probe_head(fitting, classes)
        if place is not None:
            _keep(place, head)
        return head

    [head] = processes.broadcast([processes.first(fit)])
    return head


def _place(targets: Targets, manifest: Manifest) -> Path | None:
    """Where the head lies, without the hash of its bytes: None where nothing is kept."""
    store = targets.known.plain
    if store is None:
        return None
    rows = manifest.rows("train")
    digest = hashlib.blake2b(digest_size=16)
    for row, group in zip(rows, manifest.groups(rows), strict=True):
        digest.update(f"{manifest.key_of(row)}|{manifest.target_of(row)}|{group}\n".encode())
    return store.folder / f"probe-{digest.hexdigest()}"


def _kept(place: Path | None, classes: int) -> nn.Linear | None:
    """The head that was kept, if its bytes are those that its name says."""
    from safetensors.torch import load

    for file in sorted(place.parent.glob(f"{place.name}-*.safetensors")) if place else ():
        content = file.read_bytes()
        if file.stem.rpartition("-")[2] != _hash(content):
            continue
        tensors = load(content)
        head = nn.Linear(tensors["weight"].shape[1], classes).requires_grad_(False)
        head.load_state_dict(tensors)
        return head
    return None


def _keep(place: Path, head: nn.Linear) -> None:
    from safetensors.torch import save

    content = save({name: tensor.contiguous() for name, tensor in head.state_dict().items()})
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(place.with_name(f"{place.name}-{_hash(content)}.safetensors"), content)
    except OSError as error:
        raise UserError(f"{place.parent} cannot be written: {error.strerror}.") from error


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
