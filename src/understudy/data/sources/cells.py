"""What stands in the cells of a table, where programs write more or other than was meant."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa

from understudy.data.columns import SEPARATOR, TEXT, as_text, pc
from understudy.data.sources.layout import SPLIT_FOLDERS
from understudy.errors import UserError, short

_NOTHING = ("nan", "NaN", "<NA>", "NaT", "#N/A")
_NOBODY = (*_NOTHING, "None", "NULL", "null")
"""What programs write into a cell without a value. A class may well be called None."""


def label_cells(values: pa.Array, name: str, where: str) -> pa.Array:
    """Labels (N,) as text, null where there is none; lists of labels joined by `|`.

    Raises UserError for lists that are no lists of text, and for lists written out as text.
    """
    if is_nested(values.type):
        values = _joined(values, name, where)
    _refuse_missing(values, _NOTHING, "label", where)
    rows = _where(pc.match_substring_regex(values, r"^\[.*\]$|^\(.*,.*\)$|^\{.*\}$"))
    if len(rows):
        raise UserError(
            f"{where}, row {rows[0] + 2}: {short(values[int(rows[0])].as_py())!r} is a list "
            f"written as text. Several labels of one clip are written as first{SEPARATOR}second."
        )
    values = whole_numbers(composed(values))
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, TEXT), values)


def group_cells(values: pa.Array, where: str) -> pa.Array:
    """Groups (N,), "" where there is none. Raises UserError for nan and its like: all clips of
    unknown people would become those of one."""
    _refuse_missing(values, _NOBODY, "group", where)
    return whole_numbers(composed(values))


def split_cells(values: pa.Array, notes: list[str], where: str) -> pa.Array:
    """Splits (N,) as train, val and test, whatever they are called: Training, valid, TEST."""
    _refuse_missing(values, _NOBODY, "split", where)
    coded = values.dictionary_encode()
    names = coded.dictionary.to_pylist()
    plain = [SPLIT_FOLDERS.get(name.casefold(), name) for name in names]
    said = [f"{name} is {split}" for name, split in zip(names, plain, strict=True) if name != split]
    if said:
        notes.append(f"splits by other names: {', '.join(said[:10])}")
    return as_text(plain).take(coded.indices)


def composed(text: pa.Array) -> pa.Array:
    """Letters with accents written in one way (NFC), so that equal names are equal."""
    odd = pc.match_substring_regex(text, r"[^\x00-\x7f]")
    if not pc.any(odd).as_py():
        return text
    coded = text.dictionary_encode()
    names = [unicodedata.normalize("NFC", name) for name in coded.dictionary.to_pylist()]
    return as_text(names).take(coded.indices)


def whole_numbers(text: pa.Array) -> pa.Array:
    """1.0 as 1, where every value is so: numbers with gaps are written like that."""
    plain = pc.or_(pc.match_substring_regex(text, r"^-?[0-9]+\.0$"), pc.equal(text, ""))
    if not pc.all(plain).as_py():
        return text
    return pc.replace_substring_regex(text, r"\.0$", "")


def is_nested(kind: Any) -> bool:
    """Whether a column holds lists, maps or structures."""
    return pa.types.is_nested(kind)


def _joined(values: pa.Array, name: str, where: str) -> pa.Array:
    if not len(values) or not pa.types.is_large_string(getattr(values.type, "value_type", None)):
        raise UserError(
            f"{where}: the column {name!r} holds lists or structures; labels are text, or lists of "
            "text where several hold at once."
        )
    barred = pc.match_substring(values.flatten(), SEPARATOR)
    if pc.any(barred).as_py():
        raise UserError(
            f"{where}: the column {name!r} holds lists in which {SEPARATOR} is part of a label; in "
            "tables it stands between several. Rename the label."
        )
    return pc.fill_null(pc.binary_join(values, pa.scalar(SEPARATOR, TEXT)), "")


def _refuse_missing(text: pa.Array, words: tuple[str, ...], what: str, where: str) -> None:
    rows = _where(pc.is_in(text, value_set=as_text(words)))
    if len(rows):
        raise UserError(
            f"{where}, row {rows[0] + 2}: the {what} {text[int(rows[0])].as_py()!r}, in "
            f"{len(rows)} rows, is what programs write where there is no value. Leave the cell "
            "empty there, or give it a name."
        )


def _where(mask: Any) -> np.ndarray:
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))
