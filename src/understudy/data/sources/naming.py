"""Which column of a table is what, where it goes by another name.

A name that can mean one thing only is taken, and said. Where two columns could be meant, or one
that looks like a time could be missed, nothing is guessed: the error says what to add.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from understudy.errors import UserError, nearest, short

OWN = ("path", "label", "split", "group", "start_s", "end_s")
"""Columns of a manifest. Where they are there, they are meant."""

MEANINGS = (*OWN, "start_ms", "end_ms", "start_frame", "end_frame", "duration_s", "fps")
"""What a column can be said to be: `--column MEANING=NAME`."""

START = ("start_s", "start_ms", "start", "start_frame")
END = ("end_s", "end_ms", "end", "end_frame")
"""What a time can be, the surest first; without a unit its values must tell."""


class Found(NamedTuple):
    """column_of: meaning -> name of the column, `start` and `end` where no unit is named. unused:
    the other columns, in order."""

    column_of: dict[str, str]
    unused: list[str]

    def first(self, meanings: Sequence[str]) -> str | None:
        """Of several meanings of one thing, the one that a column has."""
        return next((one for one in meanings if one in self.column_of), None)


def find_columns(names: Sequence[str], asked: Mapping[str, str], where: str) -> Found:
    """What each column is. asked: meaning -> column, "" for none, as the user said.

    where: how the table is called in errors. Raises UserError for what was asked for in vain, for
    two columns that could mean the same, and where there is no path or no label.
    """
    found = _asked(names, asked, where)
    decided = {kind for meaning in asked for kind in _same(meaning)}
    for meaning in OWN:
        if meaning in names and meaning not in decided:
            found[meaning] = meaning
            decided.update(_same(meaning))
    taken = set(found.values())
    candidates = [(_meanings(name, names), name) for name in names if name not in taken]
    for kinds in (("path",), ("label",), ("split",), ("group",), START, END, ("fps",)):
        if kinds == ("fps",) and not {"start_frame", "end_frame"} & set(found):
            continue
        if decided.isdisjoint(kinds):
            _choose(kinds, candidates, found, where)
    unused = [name for name in names if name not in set(found.values())]
    for meaning in ("path", "label"):
        if meaning not in found:
            raise UserError(
                f"{where} has no column {meaning}. There: {', '.join(map(short, names))}."
                f"{nearest(meaning, list(names))} Say which it is: {how_to_say(meaning)}."
            )
    _check_spelling(unused, found, decided, where)
    return Found(found, unused)


def how_to_say(meaning: str, column: str = "NAME") -> str:
    """What a user adds to say what a column is."""
    return f"--column {meaning}={column} (in a recipe, data.columns: {{{meaning}: {column}}})"


def check_no_time_is_missed(
    found: Found, columns: Mapping[str, pa.Array], asked: Mapping[str, str], where: str
) -> None:
    """Refuse a table whose times would be left lying: the whole video would be taken instead.

    Raises UserError where no times were found and an unused column is named like one and holds
    numbers or clock times, and where clips have a start and a length but no end.
    """
    has_start, has_end = found.first(START), found.first((*END, "duration_s"))
    settled = {kind for meaning in asked for kind in _same(meaning)}
    for name in found.unused:
        words = set(_words(name))
        lasting = bool(words & {"duration", "length", "len"} and has_start and not has_end)
        lasting = lasting and settled.isdisjoint(END)
        timed = bool(words & _TIME_LIKE and not has_start and not has_end)
        timed = timed and settled.isdisjoint((*START, *END))
        if (lasting or timed) and _holds_times(columns[name]):
            meaning = "duration_s" if lasting else "start_s"
            raise UserError(
                f"{where}: the column {short(name)} looks like times of clips in longer videos, "
                "and it is not sure how to read it. Say it: "
                f"{how_to_say(meaning, short(name))}; further meanings: "
                f"{', '.join(MEANINGS[4:])}. Where every clip is a file of its own: "
                "--column end_s= with nothing after it."
            )


def _asked(names: Sequence[str], asked: Mapping[str, str], where: str) -> dict[str, str]:
    for meaning, column in asked.items():
        if meaning not in MEANINGS:
            raise UserError(
                f"A column cannot be {meaning!r}; it is {', '.join(MEANINGS)}."
                f"{nearest(meaning, MEANINGS)}"
            )
        if column and column not in names and not (meaning == "fps" and _is_number(column)):
            raise UserError(
                f"{where} has no column {column!r} to be {meaning}. There: "
                f"{', '.join(map(short, names))}.{nearest(column, list(names))}"
            )
    return {meaning: column for meaning, column in asked.items() if column}


def _choose(
    kinds: Sequence[str],
    candidates: list[tuple[list[tuple[str, int]], str]],
    found: dict[str, str],
    where: str,
) -> None:
    """Find the one column that is any of `kinds`, of those that say it most surely."""
    fitting = [
        (kinds.index(meaning), rank, meaning, name)
        for meanings, name in candidates
        for meaning, rank in meanings
        if meaning in kinds
    ]
    best = min((one[:2] for one in fitting), default=None)
    chosen = [one for one in fitting if one[:2] == best]
    if len(chosen) > 1:
        meaning = chosen[0][2]
        names = " and ".join(short(name) for *_, name in chosen)
        meaning = f"{meaning}_s" if meaning in {"start", "end"} else meaning
        raise UserError(
            f"{where} has no column {meaning}, and {names} could each be it. Say which it is: "
            f"{how_to_say(meaning, short(chosen[0][3]))}."
        )
    for *_, meaning, name in chosen:
        found[meaning] = name


def _check_spelling(
    unused: Sequence[str], found: Mapping[str, str], decided: set[str], where: str
) -> None:
    for name in unused:
        close = difflib.get_close_matches(name.lower(), OWN, n=1, cutoff=0.8)
        if close and decided.isdisjoint(_same(close[0])) and not set(_same(close[0])) & set(found):
            raise UserError(
                f"{where} has a column {short(name)!r}. Did you mean {close[0]}? Rename it, or "
                f"say so: {how_to_say(close[0], short(name))}; if not, --column {close[0]}= with "
                "nothing after it."
            )


def _same(meaning: str) -> tuple[str, ...]:
    """All meanings that one decides: who says where a clip starts in frames needs no seconds."""
    if meaning == "duration_s":
        return ("duration_s", *END)
    return next((kinds for kinds in (START, END) if meaning in kinds), (meaning,))


# What names say

_MEDIA = {"video", "vid", "clip", "image", "img", "picture", "photo", "media", "sample"}
_PLACE = {"path", "file", "filename", "filepath", "dir", "folder", "directory", "location"}
_CLASS = {"label", "labels", "class", "classes", "action", "actions", "category", "categories",
          "target", "gloss", "gesture", "sign", "activity", "behavior", "behaviour", "exercise",
          "tag", "tags", "classname"}  # fmt: skip
_PERSON = {"group", "signer", "subject", "person", "participant", "actor", "performer", "speaker",
           "individual", "patient", "groups"}  # fmt: skip
_PARTS = {"split", "subset", "set", "partition", "phase", "usage"}
_STARTS = {"start", "begin", "beginning", "starts", "begins", "onset", "from", "first"}
_ENDS = {"end", "stop", "finish", "ending", "ends", "offset", "to", "until", "last"}
_FILLING = {"time", "timestamp", "t", "ts", "clip", "segment", "seg", "action", "at"}
_SECONDS = {"s", "sec", "secs", "second", "seconds"}
_MILLISECONDS = {"ms", "msec", "msecs", "millis", "millisecond", "milliseconds"}
_FRAMES = {"frame", "frames"}
_ID = {"id", "name", "no", "number", "nr", "code", "key"}
_INDEX = {"id", "index", "idx", "no", "number", "nr", "code"}
_TIME_LIKE = (_STARTS | _ENDS | {"segment", "interval", "timestamps"}) - {"first", "last", "set"}


def _words(name: str) -> list[str]:
    """The words of a name: startTime, Start (s) and start_time have two each."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).casefold()
    return re.findall(r"[^\W_]+", parted)


def _meanings(name: str, names: Sequence[str]) -> list[tuple[str, int]]:
    """What a name can mean, with how surely: 0 is surest."""
    words = _words(name)
    return [*_named(set(words), len(words)), *_timed(words, names)]


def _named(words: set[str], count: int) -> Iterator[tuple[str, int]]:
    if not words or count > 4:
        return
    if words <= _MEDIA | _PLACE | _ID | {"frame", "frames"} and words & (_MEDIA | _PLACE):
        if words & _PLACE:
            yield "path", 2 if words & _ID - {"name"} else 0
        elif words <= _MEDIA | _ID:
            yield "path", 2 if words & _ID - {"name"} else 1
    if words <= _CLASS | {"name"} and words & _CLASS:
        yield "label", 0
    elif words <= _CLASS | _INDEX and words & _CLASS:
        yield "label", 1
    if words <= _PARTS | {"name", "data", "dataset"} and words & _PARTS:
        yield "split", 0
    if words <= _PERSON | _ID and words & _PERSON:
        yield "group", 0
    if words <= _MEDIA | _ID | {"source"} and "source" in words and words & {"video", "clip"}:
        yield "group", 0
    if words in ({"fps"}, {"frame", "rate"}, {"framerate"}, {"frames", "per", "second"}):
        yield "fps", 0


def _timed(words: list[str], names: Sequence[str]) -> Iterator[tuple[str, int]]:
    kind = [word for word in words if word not in _FILLING | _SECONDS | _MILLISECONDS | _FRAMES]
    if len(kind) != 1 or kind[0] not in _STARTS | _ENDS:
        return
    one, rest = kind[0], set(words)
    if one in {"first", "last"} and not rest & _FRAMES:
        return
    if one in {"from", "to", "onset", "offset"}:  # each of them means something else when alone
        other = {"from": "to", "to": "from", "onset": "offset", "offset": "onset"}[one]
        if not any(other in _words(name) for name in names):
            return
    side = "start" if one in _STARTS else "end"
    if rest & _MILLISECONDS:
        yield f"{side}_ms", 0
    elif rest & _FRAMES:
        yield f"{side}_frame", 0
    else:
        yield (f"{side}_s" if rest & _SECONDS else side), 0


def _holds_times(text: pa.Array) -> bool:
    """Whether a column is of numbers or clock times, as its first values have it. Lists are not
    looked into."""
    if pa.types.is_nested(text.type):
        return True
    some = [one for one in text[:100].to_pylist() if one]
    return bool(some) and all(re.fullmatch(r"\[?[\d.,:\s-]+\]?", one) for one in some)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text) is not None


_PASSED_ON = frozenset({"id", "fold", "fingerprint"})
"""Kept with the rows, for others to read."""


def notes_of(found: Found) -> list[str]:
    """What is to be said: which columns go by other names, and which are not used."""
    notes = []
    renamed = [
        f"{meaning} is {short(found.column_of[meaning])}"
        for meaning in OWN
        if found.column_of.get(meaning, meaning) != meaning
    ]
    if renamed:
        notes.append(f"columns by other names: {', '.join(renamed)}")
    unused = [short(name) for name in found.unused if name not in _PASSED_ON]
    if unused:
        more = f" and {len(unused) - 10} more" if len(unused) > 10 else ""
        notes.append(f"columns that are not used: {', '.join(unused[:10])}{more}")
    return notes
