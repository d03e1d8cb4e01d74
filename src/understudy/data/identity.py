"""What names a clip and what tells a changed table: ids and the fingerprint, column by column."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa

from understudy.data.columns import TEXT, Columns, pc

_ROWS = 65_536
"""Rows that are written out at a time, so that the text of a million is never held at once."""

_ESCAPED = r'[^ -~]|["\\]'
"""What JSON in ASCII writes differently."""


def ids_of(columns: Columns, rows: slice = slice(None)) -> pa.Array:
    """(N,) text: path, or path#t=START,END where a row has times."""
    path = columns.path[rows]
    start_s, end_s = columns.start_s[rows], columns.end_s[rows]
    if np.isnan(start_s).all() and np.isnan(end_s).all():
        return path
    return pc.binary_join_element_wise(
        path, pa.array(map(_fragment, start_s.tolist(), end_s.tolist()), TEXT), _text("")
    )


def _fragment(start_s: float, end_s: float) -> str:
    start, end = _seconds(start_s), _seconds(end_s)
    if not start and not end:
        return ""
    return f"#t={start},{end}" if end else f"#t={start}"


def _seconds(moment: float) -> str:
    """The shortest text that is this number and no other; never with an exponent."""
    if moment != moment:
        return ""
    text = repr(moment)
    return np.format_float_positional(moment, trim="-") if "e" in text else text.removesuffix(".0")


def fingerprint_of(columns: Columns) -> str:
    """SHA-256 of one JSON line a row: [path, [labels], split, group, start_s, end_s].

    The lines are what `json.dumps` gives, built for whole columns at a time.
    """
    digest = hashlib.sha256()
    labels = _json(pa.array(columns.label.names, TEXT))
    splits = _json(columns.split.names)
    for first in range(0, len(columns.path), _ROWS):
        rows = slice(first, first + _ROWS)
        offsets = columns.label.offsets[first : first + _ROWS + 1]
        flat = labels.take(pa.array(columns.label.codes[offsets[0] : offsets[-1]]))
        lists = pa.LargeListArray.from_arrays(pa.array(offsets - offsets[0]), flat)
        groups = columns.group.names.take(pa.array(columns.group.codes[rows]))
        line = pc.binary_join_element_wise(
            _around("[", _json(columns.path[rows]), ""),
            _around("[", pc.binary_join(lists, _text(", ")), "]"),
            splits.take(pa.array(columns.split.codes[rows])),
            _json(groups),
            _json_numbers(columns.start_s[rows]),
            _around("", _json_numbers(columns.end_s[rows]), "]\n"),
            _text(", "),
        )
        digest.update("".join(line.to_pylist()).encode("ascii"))
    return digest.hexdigest()


def _json(text: pa.Array) -> pa.Array:
    """Every value as a JSON string in ASCII."""
    written = _around('"', text, '"')
    special = pc.match_substring_regex(text, _ESCAPED)
    if not pc.any(special).as_py():
        return written
    mended = pa.array([json.dumps(value) for value in text.filter(special).to_pylist()], TEXT)
    return pc.replace_with_mask(written, special, mended)


def _json_numbers(moments: np.ndarray) -> pa.Array:
    if np.isnan(moments).all():
        return pa.repeat(_text("null"), len(moments))
    return pa.array(["null" if x != x else float.__repr__(x) for x in moments.tolist()], TEXT)


def _around(before: str, text: pa.Array, after: str) -> pa.Array:
    return pc.binary_join_element_wise(_text(before), text, _text(after), _text(""))


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, TEXT)
