"""The table of clips: what it holds, and what is asked of it.

A manifest holds one row per clip. `group` is the person or the source video; figures are honest
only when no group stands in two splits, so that is checked whenever a manifest is read
(`data/checking.py`), and splits that are dealt out keep to it (`data/splitting.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from understudy.data.checking import SPLITS, check_manifest
from understudy.data.columns import (
    SEPARATOR,
    Coded,
    Columns,
    Labels,
    Records,
    Text,
    as_text,
    distinct,
)
from understudy.data.identity import fingerprint_of, ids_of
from understudy.data.splitting import complete_splits, split_by_group
from understudy.errors import UserError, nearest
from understudy.record import Record

__all__ = [
    "SPLITS",
    "Manifest",
    "check_manifest",
    "complete_splits",
    "labels_of",
    "split_by_group",
]

OWN_COLUMNS = ("id", "path", "label", "split", "group", "start_s", "end_s", "fingerprint")
"""Of `Manifest.to_table`, in this order; further columns follow."""


@dataclass(frozen=True, eq=False)
class Manifest:
    """N rows of clips and where they lie.

    columns: the rows; their number is the `index` of a batch. root: folder that relative paths
    start from. extras: further columns of the table, kept as text. ignored: files that a source
    saw and did not take, since they are no media. notes: what a source has to say of how it was
    read, a sentence each: what is missing and how much, how a column was understood.
    """

    columns: Columns
    root: Path
    extras: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fingerprints: Text | None = None
    """Of the bytes of each clip, as `data.fingerprint` has them, once somebody has noted them;
    empty where nothing could be read."""

    # How one is made

    @classmethod
    def from_records(
        cls,
        records: Sequence[Record],
        root: Path,
        extras: Mapping[str, Sequence[str]] | None = None,
        ignored: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> Manifest:
        """A manifest of these rows, unchecked. Where one label is a tuple, all of them become one.

        Raises UserError for text that UTF-8 cannot hold.
        """
        texts = {name: Text(values) for name, values in (extras or {}).items()}
        assert all(len(text) == len(records) for text in texts.values())
        return cls(Columns.of_records(records), Path(root), texts, tuple(ignored), tuple(notes))

    def with_splits(self, split: Any) -> Manifest:
        """The same rows in other splits. split: (N,) strings, or an Arrow array of them."""
        return replace(self, columns=replace(self.columns, split=self._coded(split)))

    def with_fingerprints(self, fingerprints: Sequence[str | None]) -> Manifest:
        """The same rows, known by their bytes from now on."""
        assert len(fingerprints) == len(self)
        return replace(self, fingerprints=Text([one or "" for one in fingerprints]))

    def _coded(self, names: Any) -> Coded:
        coded = Coded.of(names)
        assert len(coded.codes) == len(self)
        return coded

    def take(self, rows: Sequence[int] | np.ndarray) -> Manifest:
        """Some of the rows, in this order, with what else belongs to them."""
        places = np.asarray(rows, np.int64)
        extras = {name: Text(as_text(v).take(pa.array(places))) for name, v in self.extras.items()}
        known = self.fingerprints
        if known is not None:
            known = Text(as_text(known).take(pa.array(places)))
        return replace(self, columns=self.columns.take(places), extras=extras, fingerprints=known)

    # What is in a row

    def __len__(self) -> int:
        return len(self.columns.path)

    @cached_property
    def records(self) -> Records:
        """The rows as `Record`s, each built when it is asked for. Whole columns are far faster."""
        return Records(self.columns)

    def path_of(self, row: int) -> Path:
        """Where the media of a row lies; absolute."""
        return (self.root / self.columns.path[int(row)].as_py()).absolute()

    def key_of(self, row: int) -> str:
        """What a clip is known by wherever it lies: the fingerprint of its bytes, with its times
        where it is a part of a file. Its id, where nobody noted fingerprints."""
        name = self.id_of(row)
        if self.fingerprints is None:
            return name
        return self.fingerprints[row] + name[len(self.columns.path[int(row)].as_py()) :]

    def is_unchanged(self, row: int, fingerprint: str | None) -> bool:
        """Whether these are the bytes that were noted; True where nobody noted any. None, what
        cannot be read, is unchanged where it could not be read then."""
        return self.fingerprints is None or self.fingerprints[row] == (fingerprint or "")

    def groups(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """The groups of these rows."""
        codes = self.columns.group.codes[np.asarray(rows, np.int64)]
        return self.columns.group.names.take(pa.array(codes)).to_pylist()

    def target_of(self, row: int) -> int | list[int]:
        """Class index of a row, or all of its class indices in a multi-label manifest; -1 for a row
        without a label."""
        indices = self.columns.label.of_row(row)
        if self.is_multi_label:
            return indices
        return indices[0] if indices else -1

    def targets(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Class indices (len(rows),) int64 of these rows, -1 without a label. Not for rows of
        several labels."""
        assert not self.is_multi_label
        label, places = self.columns.label, np.asarray(rows, np.int64)
        found = np.full(len(places), -1, np.int64)
        labelled = label.numbers[places] > 0
        found[labelled] = label.codes[label.offsets[places[labelled]]]
        return found

    def holds(self, rows: Sequence[int] | np.ndarray, classes: Sequence[str]) -> np.ndarray:
        """(len(rows), len(classes)) float32: 1 where a row has the label, else 0; NaN all over a
        row without one. Every label of these rows must be among `classes`."""
        label, places = self.columns.label, np.asarray(rows, np.int64)
        found = np.zeros((len(places), len(classes)), np.float32)
        found[label.numbers[places] == 0] = np.nan
        column = {name: number for number, name in enumerate(classes)}
        for place, row in enumerate(places.tolist()):
            found[place, [column[label.names[code]] for code in label.of_row(row)]] = 1
        return found

    def label_text(self, row: int) -> str:
        """The labels of a row as they are written in a table, joined by `|`; empty without one."""
        names = self.columns.label.names
        return SEPARATOR.join(names[code] for code in self.columns.label.of_row(row))

    def id_of(self, row: int) -> str:
        """What names a clip: its path, with `#t=START,END` (a W3C media fragment, in seconds) where
        the row is a part of a file. No two rows of a checked manifest share one."""
        place = range(len(self))[row]
        return ids_of(self.columns, slice(place, place + 1))[0].as_py()

    def ids(self) -> pa.Array:
        """The ids (N,) of all rows, as Arrow text."""
        return ids_of(self.columns)

    # What is in the table

    @property
    def classes(self) -> tuple[str, ...]:
        """All labels, sorted; their order is the order of logits."""
        return self.columns.label.names

    @property
    def is_multi_label(self) -> bool:
        """Whether several labels may hold at once."""
        return self.columns.label.several

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Splits that have rows, in the order train, val, test, then others."""
        present = set(self.columns.split.names.to_pylist())
        return tuple(s for s in SPLITS if s in present) + tuple(sorted(present - set(SPLITS)))

    def rows(self, split: str) -> list[int]:
        """Row numbers of a split. Raises UserError if it has none."""
        names = self.columns.split.names.to_pylist()
        if split not in names:
            raise UserError(
                f"The manifest has no clips in split {split!r}. There: {', '.join(self.splits)}."
                f"{nearest(split, self.splits)}"
            )
        return np.flatnonzero(self.columns.split.codes == names.index(split)).tolist()

    def counts(self) -> dict[str, dict[str, int]]:
        """Clips per split and class, classes without clips included."""
        label, split = self.columns.label, self.columns.split
        names, classes = split.names.to_pylist(), len(label.names)
        cells = np.repeat(split.codes.astype(np.int64), label.numbers) * classes + label.codes
        table = np.bincount(cells, minlength=len(names) * classes).reshape(len(names), classes)
        return {
            name: dict(zip(label.names, table[names.index(name)].tolist(), strict=True))
            for name in self.splits
        }

    def clip_counts(self) -> dict[str, int]:
        """Clips per split."""
        numbers = np.bincount(self.columns.split.codes)
        counts = dict(zip(self.columns.split.names.to_pylist(), numbers.tolist(), strict=True))
        return {name: counts[name] for name in self.splits}

    def group_counts(self) -> dict[str, int]:
        """Groups per split."""
        group, split = self.columns.group, self.columns.split
        pairs = distinct(group.codes.astype(np.int64) * len(split.names) + split.codes)
        numbers = np.bincount(pairs % max(1, len(split.names)), minlength=len(split.names))
        counts = dict(zip(split.names.to_pylist(), numbers.tolist(), strict=True))
        return {name: counts[name] for name in self.splits}

    def fingerprint(self) -> str:
        """SHA-256 over all rows, in order; pixels and extra columns do not enter."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint_of(self.columns)

    # As an Arrow table

    def to_table(self) -> pa.Table:
        """Columns id, path, label (several joined by `|`, null without one), split and group as
        text, start_s and end_s as float64 (null without one), then the extras as text. Metadata:
        root and is_multi_label. An extra column named as one of ours is written as `extra:<name>`.
        """
        columns = self.columns
        own = [self.ids(), columns.path, columns.label.text()]
        own += [columns.split.text(), columns.group.text()]
        own += [pa.array(moments, from_pandas=True) for moments in (columns.start_s, columns.end_s)]
        extras = {
            f"extra:{name}" if name in OWN_COLUMNS else name: as_text(values)
            for name, values in self.extras.items()
        }
        names = [*OWN_COLUMNS[:-1], *extras]
        table = pa.table([*own, *extras.values()], names=names)
        if self.fingerprints is not None:
            table = table.append_column("fingerprint", as_text(self.fingerprints))
        facts = {"root": str(self.root), "is_multi_label": json.dumps(self.is_multi_label)}
        return table.replace_schema_metadata(facts)

    @classmethod
    def from_arrow(cls, table: pa.Table, root: Path | None = None) -> Manifest:
        """What `to_table` gave, below `root`, by default the one that it names; unchecked. split,
        group, times and fingerprints may be missing."""
        facts = table.schema.metadata or {}
        names = set(table.column_names)
        text = {
            name: as_text(table[name]) for name in table.column_names if name not in _TIMES | {"id"}
        }
        several = facts.get(b"is_multi_label")
        labels = Labels.parsed(text["label"], None if several is None else json.loads(several))
        times = {
            name: table[name].cast(pa.float64()).to_numpy() if name in names else None
            for name in _TIMES
        }
        columns = Columns.of(text["path"], labels, text.get("split"), text.get("group"), **times)
        extras = {
            name.removeprefix("extra:"): Text(values)
            for name, values in text.items()
            if name not in OWN_COLUMNS
        }
        root = Path(facts.get(b"root", b".").decode()) if root is None else Path(root)
        known = Text(text["fingerprint"]) if "fingerprint" in text else None
        return cls(columns, root, extras, fingerprints=known)


_TIMES = {"start_s", "end_s"}


def labels_of(record: Record) -> tuple[str, ...]:
    """The labels of a row, none, one or several, as a tuple."""
    if record.label is None:
        return ()
    return record.label if isinstance(record.label, tuple) else (record.label,)
