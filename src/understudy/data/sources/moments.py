"""When a clip begins and ends, from however a table writes it, to seconds.

Seconds, milliseconds, frames with their rate, and clock times (`1:30`, `0:01:30.5`), with a decimal
comma too. Numbers of which nobody can tell whether they are seconds, milliseconds or frames are
refused: read wrongly they would be other pictures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from understudy.data.columns import pc
from understudy.data.sources.naming import END, START, Found, how_to_say
from understudy.errors import UserError, short

LONGEST_ACTION = 30
"""Whole numbers without a unit whose clips last longer, half of them, may be frames as well."""

_UNITS = {"s": 1.0, "ms": 0.001, "frame": math.nan, "": 1.0}
_CLOCK = re.compile(r"(?:([0-9]{1,3}):)?([0-9]{1,3}):([0-9]{1,2}(?:[.,][0-9]+)?)")
_COMMA = re.compile(r"[0-9]+,[0-9]+")
_THOUSANDS = re.compile(r"[0-9]{1,3}(,[0-9]{3})+")
_WITH_UNIT = re.compile(r"([0-9.,]+)\s*(s|sec|secs|seconds?|ms|msec|milliseconds?)")


class Times(NamedTuple):
    """start_s, end_s: (N,) float64, NaN where there is none, or None. notes: how they were read."""

    start_s: np.ndarray | None
    end_s: np.ndarray | None
    notes: list[str]


class _Read(NamedTuple):
    """numbers: (N,) float64, NaN where a cell is empty. kinds: of clock, comma, unit: how they are
    written. wrong: the first row that cannot be read, with its text."""

    numbers: np.ndarray
    kinds: set[str]
    wrong: tuple[int, str] | None


def read_times(found: Found, columns: Mapping[str, pa.Array], where: str) -> Times:
    """Start and end of every row. where: how the table is called in errors.

    Raises UserError for what is no time, and for numbers whose unit is not sure.
    """
    meanings = [
        one for one in (found.first(START), found.first(END), found.first(["duration_s"])) if one
    ]
    if "fps" in found.column_of and not any(_unit(one) == "frame" for one in meanings):
        rate = found.column_of["fps"]
        raise UserError(f"{where} has no column of frames; --column fps={rate} has no use.")
    if not meanings:
        return Times(None, None, [])
    read = {one: _read(columns[found.column_of[one]], one) for one in meanings}
    wrong = sorted((one.wrong, name) for name, one in read.items() if one.wrong is not None)
    if wrong:
        (row, text), meaning = wrong[0]
        raise UserError(
            f"{where}, row {row + 2}: {short(text)!r} is no time in {_unit_in_words(meaning)}."
            f"{_advice(text)}"
        )
    fps = _frame_rate(found, columns, read, where)
    _check_unit(found, read, fps is not None or _names_rate(found), where)
    seconds = {name: _in_seconds(name, one.numbers, fps) for name, one in read.items()}
    start = next((seconds[one] for one in START if one in seconds), None)
    end = next((seconds[one] for one in END if one in seconds), None)
    if "duration_s" in seconds:
        end = (0.0 if start is None else np.nan_to_num(start)) + seconds["duration_s"]
    return Times(start, end, _notes(found, read))


def _read(text: pa.Array, meaning: str) -> _Read:
    empty = pc.equal(text, "")
    kinds: set[str] = set()
    try:
        numbers = pc.if_else(empty, None, text).cast(pa.float64()).to_numpy(False).copy()
    except pa.ArrowInvalid:
        coded = text.dictionary_encode()
        values = [_parsed(one, meaning, kinds) for one in coded.dictionary.to_pylist()]
        numbers = np.array(values, np.float64)[coded.indices.to_numpy()]
    given = ~empty.to_numpy(zero_copy_only=False)
    if meaning == "end_frame":
        numbers[numbers == -1] = np.nan  # the last one, as some tables write it
        given &= pc.not_equal(text, "-1").to_numpy(zero_copy_only=False)
    fine = (numbers >= 0) & (numbers < math.inf)
    bad = given & ~fine
    if not bad.any():
        return _Read(numbers, kinds, None)
    row = int(bad.argmax())
    return _Read(numbers, kinds, (row, text[row].as_py()))


def _parsed(text: str, meaning: str, kinds: set[str]) -> float:
    """A time as its cell writes it, in its own unit; NaN for what is none."""
    try:
        return float(text) if text else math.nan
    except ValueError:
        pass
    unit = _unit(meaning)
    if match := _CLOCK.fullmatch(text):
        hours, minutes, rest = match[1] or 0, int(match[2]), float(match[3].replace(",", "."))
        if rest >= 60 or (match[1] and minutes >= 60) or unit not in {"s", ""}:
            return math.nan
        kinds.add("clock")
        return int(hours) * 3600 + minutes * 60 + rest
    if _COMMA.fullmatch(text):
        kinds.add("thousands" if _THOUSANDS.fullmatch(text) else "comma")
        return float(text.replace(",", "."))
    if (match := _WITH_UNIT.fullmatch(text)) and unit in {"s", ""} and match[1].count(",") < 2:
        kinds.add("unit")
        number = _parsed(match[1], meaning, kinds)
        return number / 1000 if match[2].startswith("m") else number
    return math.nan


def _unit(meaning: str) -> str:
    return meaning.partition("_")[2]


def _unit_in_words(meaning: str) -> str:
    words = {"ms": "milliseconds", "frame": "frames: a whole number from 0 on"}
    return words.get(_unit(meaning), "seconds")


def _advice(text: str) -> str:
    if text.casefold() in {"nan", "none", "null", "nat", "<na>", "na", "n/a"}:
        return " Leave the cell empty where a clip has none."
    if re.fullmatch(r"[0-9]+[:;][0-9]+[:;][0-9]+[:;][0-9]+", text):
        return " Times that end in a frame number (HH:MM:SS:FF) are written in seconds instead."
    return " Write 12.5, 0:12.5 or 0:00:12.5."


def _frame_rate(
    found: Found, columns: Mapping[str, pa.Array], read: Mapping[str, _Read], where: str
) -> np.ndarray | float | None:
    """Frames per second, of all rows or of each, where a column counts frames."""
    framed = [one for one in read if _unit(one) == "frame"]
    rate = found.column_of.get("fps")
    if not framed:
        return None
    if rate is None:
        name = found.column_of[framed[0]]
        raise UserError(
            f"{where}: the column {name} counts frames, and nothing says how many there are in a "
            f"second. Say it: {how_to_say('fps', '25')}, with the number or a column of it."
        )
    if rate not in columns:
        return float(rate)
    rates = _read(columns[rate], "fps").numbers
    used = np.any([~np.isnan(read[one].numbers) for one in framed], axis=0)
    wrong = used & ~((rates > 0) & (rates < math.inf))
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(
            f"{where}, row {row + 2}: {short(columns[rate][row].as_py())!r} is no number of "
            f"frames in a second, which {rate} must be where a clip is told in frames."
        )
    return rates


def _names_rate(found: Found) -> bool:
    return any(name.casefold() in {"fps", "frame_rate", "framerate"} for name in found.unused)


def _check_unit(found: Found, read: Mapping[str, _Read], has_rate: bool, where: str) -> None:
    """Refuse whole numbers without a unit that may be frames or milliseconds."""
    for meaning, one in read.items():
        if "thousands" in one.kinds and "comma" not in one.kinds:
            raise UserError(
                f"{where}: in the column {found.column_of[meaning]} a comma stands before three "
                "digits, always: thousands, or a decimal comma? Write times as 1234.5."
            )
    unsure = [one for one in read if _unit(one) == "" and not read[one].kinds]
    numbers = [read[one].numbers for one in unsure]
    whole = all(np.nanmax(np.abs(n - np.round(n)), initial=0) == 0 for n in numbers)
    if not unsure or not whole or any(np.isnan(n).all() for n in numbers):
        return
    lasting = numbers[-1] - numbers[0] if len(unsure) == 2 else numbers[0]
    lasting = lasting[~np.isnan(lasting)]
    typical = float(np.median(lasting)) if len(lasting) else 0.0
    if has_rate or typical > LONGEST_ACTION:
        name = found.column_of[unsure[0]]
        side = unsure[0]
        why = "there are frames per second beside them" if has_rate else f"typically {typical:g}"
        raise UserError(
            f"{where}: {' and '.join(found.column_of[one] for one in unsure)} are whole numbers "
            f"({why}): seconds, milliseconds or frames? Say it: --column {side}_s={name}, "
            f"--column {side}_ms={name} or --column {side}_frame={name} (in a recipe, "
            f"data.columns: {{{side}_s: {name}}})."
        )


def _in_seconds(meaning: str, numbers: np.ndarray, fps: np.ndarray | float | None) -> np.ndarray:
    if _unit(meaning) == "frame":
        assert fps is not None
        return numbers / fps
    return numbers * _UNITS[_unit(meaning)] if _unit(meaning) == "ms" else numbers


def _notes(found: Found, read: Mapping[str, _Read]) -> list[str]:
    """How each column was read, where that is more than plain seconds."""
    notes = []
    for meaning, one in read.items():
        name, unit = found.column_of[meaning], _unit(meaning)
        ways = [
            words
            for kind, words in (("clock", "clock times"), ("comma", "a decimal comma"))
            if kind in one.kinds
        ]
        said = {
            "ms": "milliseconds",
            "frame": "frames, the first of them 0",
            "": "seconds",
            "s": "seconds",
        }[unit]
        if name not in {"start_s", "end_s"} or ways:
            notes.append(f"{name} is read as {said}{', with ' * bool(ways)}{' and '.join(ways)}")
    if not found.first((*END, "duration_s")):
        notes.append("no column says where clips end: each lasts to the end of its file")
    return notes
