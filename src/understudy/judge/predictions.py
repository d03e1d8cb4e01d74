"""What a recogniser said about every clip of a split, kept so that figures can be made later."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NotRequired

import numpy as np
import torch
from pydantic import Field, Json, TypeAdapter, ValidationError
from torch import Tensor
from typing_extensions import TypedDict

from understudy.errors import UserError
from understudy.run import write_bytes
from understudy.run.schema import explain
from understudy.task import EVEN, SINGLE_LABEL, Task, task_named
from understudy.types import Skipped

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ("record", "id", "path", "group", "target", "logits")


@dataclass(frozen=True)
class Predictions:
    """Logits for N clips, joined with what the manifest says of them.

    record: rows of the manifest. id, path, group: as the manifest has them; an id names one clip
    in every manifest that holds it. target: (N,) int64, index into `classes`; where several labels
    may hold, (N, K) float32 of 0 and 1. logits: (N, K) float32. skipped: clips of the split that
    could not be read. task: of the model, which says what its logits mean. thresholds: (K,) the
    probabilities from which several labels hold; None: one half, and for other tasks.
    """

    record: list[int]
    id: list[str]
    path: list[str]
    group: list[str]
    target: Tensor
    logits: Tensor
    classes: tuple[str, ...]
    split: str
    skipped: tuple[Skipped, ...] = ()
    task: Task = SINGLE_LABEL
    thresholds: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        columns = (self.record, self.id, self.path, self.group, self.target)
        sizes = {len(column) for column in columns}
        assert sizes == {len(self.logits)}, "one entry for every clip"
        k = len(self.classes)
        assert self.logits.shape[1:] == (k,), "one logit for every class"
        assert self.target.shape[1:] == ((k,) if self.task.several else ()), "as the task has it"
        assert self.thresholds is None or len(self.thresholds) == k

    def __len__(self) -> int:
        return len(self.record)

    @property
    def correct(self) -> np.ndarray:
        """(N,) bool: whether the model was right, as its task has it."""
        thresholds = None
        if self.thresholds is not None:
            thresholds = torch.tensor(self.thresholds, dtype=torch.float64)
        return self.task.hits(self.logits.double(), self.target, thresholds).numpy()

    @property
    def holds(self) -> np.ndarray:
        """(N, K) bool: which labels a clip has."""
        if self.task.several:
            return self.target.numpy() == 1
        return self.target.numpy()[:, None] == np.arange(len(self.classes))

    @property
    def said(self) -> np.ndarray:
        """(N, K) bool: which labels the model says of a clip: those from their thresholds on, or
        the one with the highest logit."""
        if self.task.several:
            return self.probabilities >= (EVEN if self.thresholds is None else self.thresholds)
        return self.logits.numpy().argmax(axis=1)[:, None] == np.arange(len(self.classes))

    def labels_of(self, clip: int) -> tuple[str, ...]:
        """The labels of one of the clips."""
        return tuple(self.classes[k] for k in np.flatnonzero(self.holds[clip]))

    @property
    def probabilities(self) -> np.ndarray:
        """(N, K) float64."""
        return self.task.probabilities(self.logits.double()).numpy()

    @property
    def broken(self) -> list[str]:
        """Ids of the clips for which a logit is not a finite number."""
        rows = (~self.logits.isfinite().all(dim=1)).nonzero().flatten()
        return [self.id[row] for row in rows.tolist()]

    def write(self, path: Path) -> None:
        """Write them as Parquet."""
        write_bytes(path, self.to_parquet())

    def to_parquet(self) -> bytes:
        """The content of a Parquet file; classes, split, skipped and task go into its metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        logits = self.logits.to(torch.float32).contiguous().numpy()
        target = (
            pa.array(self.target.numpy(), pa.int64())
            if not self.task.several
            else pa.array([np.flatnonzero(row) for row in self.holds], pa.list_(pa.int64()))
        )
        table = pa.table(
            {
                "record": pa.array(self.record, pa.int64()),
                "id": pa.array(self.id, pa.string()),
                "path": pa.array(self.path, pa.string()),
                "group": pa.array(self.group, pa.string()),
                "target": target,
                "logits": pa.FixedSizeListArray.from_arrays(
                    pa.array(logits.ravel(), pa.float32()), len(self.classes)
                ),
            }
        )
        notes = {
            "classes": json.dumps(self.classes),
            "split": self.split,
            "skipped": json.dumps([tuple(skipped) for skipped in self.skipped]),
            "task": self.task.name,
            "thresholds": json.dumps(self.thresholds),
        }
        buffer = io.BytesIO()
        pq.write_table(table.replace_schema_metadata(notes), buffer)
        return buffer.getvalue()


def read_predictions(path: str | Path) -> Predictions:
    """Read what `Predictions.write` wrote. Raises UserError if the file is not that."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.is_file():
        raise UserError(f"There are no predictions at {path}. Make them with: understudy evaluate")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from error
    notes = table.schema.metadata or {}
    missing = [name for name in _COLUMNS if name not in table.column_names]
    missing += [name for name in ("classes", "split", "skipped") if name.encode() not in notes]
    if missing:
        raise UserError(
            f"{path} holds no predictions of this program: {', '.join(missing)} missing. "
            "Make the file anew with: understudy evaluate"
        )
    try:
        told = _NOTES.validate_python({name.decode(): text for name, text in notes.items()})
        task = task_named(told.get("task", SINGLE_LABEL.name))
        thresholds = told.get("thresholds")
        if thresholds is not None and len(thresholds) != len(told["classes"]):
            raise ValueError(f"{len(thresholds)} thresholds for {len(told['classes'])} classes")
        _check_columns(table, task, len(told["classes"]))
    except ValueError as error:  # pydantic's, pyarrow's and ours
        reason = str(error).partition("\n")[0]
        if isinstance(error, ValidationError):
            reason = explain(error)
        raise UserError(
            f"{path} is damaged: {reason}. Make it anew with: understudy evaluate"
        ) from error
    target = torch.tensor(
        table["target"].to_pylist() if not task.several else [], dtype=torch.int64
    )
    if task.several:
        target = torch.zeros(len(table), len(told["classes"]))
        for clip, labels in enumerate(table["target"].to_pylist()):
            target[clip, labels] = 1
    values = table["logits"].combine_chunks().flatten().to_numpy().copy()
    return Predictions(
        record=table["record"].to_pylist(),
        id=table["id"].to_pylist(),
        path=table["path"].to_pylist(),
        group=table["group"].to_pylist(),
        target=target,
        logits=torch.from_numpy(values).reshape(-1, len(told["classes"])),
        classes=tuple(told["classes"]),
        split=told["split"],
        skipped=tuple(Skipped(*entry) for entry in told["skipped"]),
        task=task,
        thresholds=None if thresholds is None else tuple(thresholds),
    )


class _Notes(TypedDict):
    """The metadata of the file: bytes of text and of JSON."""

    classes: Json[Annotated[list[str], Field(min_length=1)]]
    skipped: Json[list[tuple[int, str, str]]]
    split: str
    task: NotRequired[str]
    thresholds: NotRequired[Json[list[Annotated[float, Field(ge=0, le=1)]] | None]]


_NOTES = TypeAdapter(_Notes)


def _check_columns(table: pa.Table, task: Task, classes: int) -> None:
    """Raises ValueError where a column holds something else than predictions have."""
    import pyarrow as pa

    text, whole = pa.string(), pa.int64()
    types = {"record": whole, "id": text, "path": text, "group": text}
    types["target"] = pa.list_(whole) if task.several else whole
    types["logits"] = pa.list_(pa.float32(), classes)
    for name, expected in types.items():
        column = table[name]
        if column.type != expected:
            raise ValueError(f"{name} holds {column.type} and not {expected}")
        if column.null_count or (name == "logits" and column.combine_chunks().values.null_count):
            raise ValueError(f"{name} has gaps")
    targets = table["target"].combine_chunks()
    targets = (targets.flatten() if task.several else targets).to_numpy(zero_copy_only=False)
    if len(targets) and not 0 <= targets.min() <= targets.max() < classes:
        raise ValueError(f"target holds {targets.min()} to {targets.max()}, of {classes} classes")


def counted(count: int, noun: str) -> str:
    """A number with its noun, for messages.

    >>> counted(1, "clip"), counted(2, "group")
    ('1 clip', '2 groups')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"
