"""The columns of a manifest: text, codes of names, labels and times, a million rows and more.

A row as a Python object takes ten times the memory of its text and a microsecond or more for every
question. So rows stay in columns, and a `Record` is built for the one row that is asked for.
N rows, M names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute

from understudy.errors import UserError
from understudy.record import Record

pc: Any = pyarrow.compute
"""Arrow's functions on columns. They are made when it is imported, so type checkers know none."""

SEPARATOR = "|"
"""Between several labels of one clip, wherever they are written as one text."""

TEXT = pa.large_string()
"""Text with 64-bit offsets: paths of many clips can be more than the 2 GB that 32 bits reach."""


def as_text(values: Any) -> pa.Array:
    """(N,) text in one piece, from strings, an Arrow array or a `Text`.

    Raises UserError for text that UTF-8 cannot hold, as file names of other systems may be.
    """
    if isinstance(values, Text):
        return values.array
    if isinstance(values, pa.ChunkedArray):
        chunks = values.cast(TEXT).combine_chunks()
        return pa.concat_arrays(chunks.chunks) if isinstance(chunks, pa.ChunkedArray) else chunks
    if isinstance(values, pa.Array):
        return values.cast(TEXT)
    try:
        return pa.array(values, TEXT)
    except UnicodeEncodeError as error:
        raise UserError(f"{error.object!r} is no text in UTF-8. Rename it.") from error


def distinct(numbers: np.ndarray) -> np.ndarray:
    """Each number once, sorted. Numpy's `unique` hashes them, which is far slower at millions."""
    ordered = np.sort(numbers)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]]


class Text(Sequence[str]):
    """An Arrow column that reads like a tuple of strings, and is equal to one."""

    def __init__(self, values: Any) -> None:
        self.array = as_text(values)

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        if isinstance(place, slice):
            return tuple(self.array[place].to_pylist())
        return self.array[place].as_py()

    def __iter__(self) -> Iterator[str]:
        return (text for start in range(0, len(self), 4096) for text in self[start : start + 4096])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Text):
            return self.array.equals(other.array)
        if isinstance(other, Sequence) and not isinstance(other, str):
            return len(self) == len(other) and all(map(str.__eq__, self, other))
        return NotImplemented

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"Text({self.array[:5].to_pylist()}{' ...' if len(self) > 5 else ''})"


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A column of few names, or of names that are compared: codes (N,) int32 into names (M,).

    Every name has a row.
    """

    names: pa.Array
    codes: np.ndarray

    @classmethod
    def of(cls, values: Any) -> Coded:
        """Names in the order in which they come first."""
        found = as_text(values).dictionary_encode()
        return cls(found.dictionary, found.indices.to_numpy())

    def text(self) -> pa.Array:
        return self.names.take(pa.array(self.codes))

    def take(self, rows: np.ndarray) -> Coded:
        used, codes = np.unique(self.codes[rows], return_inverse=True)
        return Coded(self.names.take(pa.array(used)), codes.astype(np.int32))


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """No, one or several labels a row.

    names: all labels, sorted, so that a code is a class index. codes: (L,) int32, row after row.
    offsets: (N + 1,) int64, where in `codes` each row begins. several: whether a clip may have
    more than one; its label is then a tuple.
    """

    names: tuple[str, ...]
    codes: np.ndarray
    offsets: np.ndarray
    several: bool

    @classmethod
    def of(cls, labels: Sequence[str | tuple[str, ...] | None]) -> Labels:
        """From the labels of records; None is a row without one. Of several, each counts once."""
        several = any(isinstance(label, tuple) for label in labels)
        rows = [
            sorted(set(label)) if isinstance(label, tuple) else [] if label is None else [label]
            for label in labels
        ]
        numbers = np.fromiter(map(len, rows), np.int64, len(rows))
        return cls.coded(as_text([one for row in rows for one in row]), numbers, several)

    @classmethod
    def coded(cls, flat: pa.Array, numbers: np.ndarray, several: bool) -> Labels:
        """flat: (L,) labels, row after row. numbers: (N,) int64, how many each row has."""
        found = flat.dictionary_encode()
        names = found.dictionary.to_pylist()
        order = sorted(range(len(names)), key=names.__getitem__)
        rank = np.empty(len(names), np.int32)
        rank[order] = np.arange(len(names))
        return cls(
            names=tuple(names[n] for n in order),
            codes=rank[found.indices.to_numpy()],
            offsets=np.concatenate([[0], np.cumsum(numbers)]).astype(np.int64),
            several=several,
        )

    @classmethod
    def parsed(cls, text: pa.Array, several: bool | None = None) -> Labels:
        """From text (N,), null where a row has none.

        several: whether `|` separates labels, which are then sorted, each once; None: if any row
        has one.
        """
        if several is None:
            several = bool(pc.any(pc.match_substring(text, SEPARATOR)).as_py())
        if not several:
            given = pc.is_valid(text).to_numpy(zero_copy_only=False)
            return cls.coded(text.drop_null(), given.astype(np.int64), several=False)
        parts = pc.split_pattern(text, SEPARATOR)
        numbers = pc.fill_null(pc.list_value_length(parts), 0).to_numpy().astype(np.int64)
        labels = cls.coded(pc.utf8_trim_whitespace(parts.flatten()), numbers, several=True)
        row = np.repeat(np.arange(len(text)), numbers)
        count = max(1, len(labels.names))
        row, codes = np.divmod(distinct(row * count + labels.codes), count)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(text)))])
        return cls(labels.names, codes.astype(np.int32), offsets.astype(np.int64), several=True)

    @property
    def numbers(self) -> np.ndarray:
        """(N,) int64: how many labels each row has."""
        return np.diff(self.offsets)

    def of_row(self, row: int) -> list[int]:
        """Class indices of a row."""
        return self.codes[self.offsets[row] : self.offsets[row + 1]].tolist()

    def lists(self) -> pa.Array:
        """(N,) lists of labels."""
        flat = pa.array(self.names, TEXT).take(pa.array(self.codes))
        return pa.LargeListArray.from_arrays(pa.array(self.offsets), flat)

    def text(self) -> pa.Array:
        """(N,) text, several labels joined by `|`; null where there is none."""
        joined = pc.binary_join(self.lists(), pa.scalar(SEPARATOR, TEXT))
        if (self.numbers > 0).all():
            return joined
        return pc.if_else(pa.array(self.numbers > 0), joined, pa.scalar(None, TEXT))

    def take(self, rows: np.ndarray) -> Labels:
        lists = self.lists().take(pa.array(rows))
        return Labels.coded(lists.flatten(), self.numbers[rows], self.several)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What each row holds. path: (N,) text. start_s, end_s: (N,) float64, NaN where there is none.

    A row without a group is a group of its own, named by its path.
    """

    path: pa.Array
    label: Labels
    split: Coded
    group: Coded
    start_s: np.ndarray
    end_s: np.ndarray

    @classmethod
    def of(
        cls, path: pa.Array, label: Labels, split: Any, group: Any, start_s: Any, end_s: Any
    ) -> Columns:
        """split, group: (N,) text or None, null and empty where a row has none. Times: None too."""
        nothing = np.full(len(path), np.nan)
        empty = pa.repeat(pa.scalar("", TEXT), len(path)) if split is None else as_text(split)
        return cls(
            path=path,
            label=label,
            split=Coded.of(pc.fill_null(empty, "")),
            group=Coded.of(path if group is None else _or_path(as_text(group), path)),
            # Adding 0 turns -0.0 into 0.0, which is the same moment.
            start_s=nothing if start_s is None else np.asarray(start_s, np.float64) + 0.0,
            end_s=nothing if end_s is None else np.asarray(end_s, np.float64) + 0.0,
        )

    @classmethod
    def of_records(cls, records: Sequence[Record]) -> Columns:
        return cls(
            path=as_text([row.path for row in records]),
            label=Labels.of([row.label for row in records]),
            split=Coded.of([row.split for row in records]),
            group=Coded.of([row.group for row in records]),
            start_s=np.array([row.start_s for row in records], np.float64) + 0.0,
            end_s=np.array([row.end_s for row in records], np.float64) + 0.0,
        )

    def take(self, rows: np.ndarray) -> Columns:
        return Columns(
            path=self.path.take(pa.array(rows)),
            label=self.label.take(rows),
            split=self.split.take(rows),
            group=self.group.take(rows),
            start_s=self.start_s[rows],
            end_s=self.end_s[rows],
        )


def _or_path(group: pa.Array, path: pa.Array) -> pa.Array:
    group = pc.fill_null(group, "")
    return pc.if_else(pc.equal(group, ""), path, group)


class Records(Sequence[Record]):
    """The rows of a manifest as `Record`s, each built when it is asked for; equal to a tuple."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._splits: list[str] = columns.split.names.to_pylist()

    def __len__(self) -> int:
        return len(self._columns.path)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, place: int | slice) -> Record | tuple[Record, ...]:
        if isinstance(place, slice):
            return tuple(self[row] for row in range(*place.indices(len(self))))
        columns, row = self._columns, range(len(self))[place]
        names = tuple(columns.label.names[code] for code in columns.label.of_row(row))
        return Record(
            path=columns.path[row].as_py(),
            label=(names or None) if columns.label.several else next(iter(names), None),
            split=self._splits[columns.split.codes[row]],
            group=columns.group.names[int(columns.group.codes[row])].as_py(),
            start_s=_moment(columns.start_s[row]),
            end_s=_moment(columns.end_s[row]),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"Records({list(self[:3])}{' ...' if len(self) > 3 else ''})"


def _moment(seconds: np.floating) -> float | None:
    return None if np.isnan(seconds) else float(seconds)
