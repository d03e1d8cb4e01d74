"""What came of a case, in a word, and the tables of them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from campaigns.forked import Ended

OUTCOMES = ("right", "refused", "wrong", "lost", "left", "crashed", "hung")
"""right: as if nothing had happened; a damaged clip may be listed as skipped. refused: exit code 2
and a message. wrong: another answer without a word, or anything that no file may do. lost:
something of the user's is gone, or a later call can't mend what a kill broke. left: right, but
files that nobody needs stay behind. crashed: a traceback, a signal, another exit code. hung: over
the limits of time."""

FINE = ("right", "refused")

_FRAME = re.compile(r'File "[^"]*/understudy/([^"]+)", line (\d+),? in (\w+)')
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]")


@dataclass(frozen=True, slots=True)
class Row:
    """A case. part: of the campaign. subject: the verb or the kind of input. what: was done to it.
    place: where a crash came from, so that equal ones can be counted."""

    case: int
    part: str
    subject: str
    what: str
    outcome: str
    place: str = ""
    message: str = ""
    seconds: float = 0.0
    grown_mb: float = 0.0


def of_call(ended: Ended) -> tuple[str, str]:
    """The outcome of one call by itself, and the place of a crash."""
    if ended.hung:
        return "hung", place_of(ended.err) or "unknown"
    if ended.signal is not None:
        return "crashed", f"signal {ended.signal} {place_of(ended.err)}".strip()
    if "Traceback (most recent call last)" in ended.err:
        return "crashed", place_of(ended.err)
    if ended.connections:
        return "wrong", f"opens a connection: {ended.connections[0]}"
    if _CONTROL.search(ended.out + _without_progress(ended.err)):
        return "wrong", "control characters reach the terminal"
    if ended.code == 0 or (ended.code == 1 and "mend: " in ended.out):  # data check has found it
        return "right", ""
    if ended.code == 2 and ended.err.strip():
        return "refused", ""
    return "crashed", f"exit code {ended.code}"


def place_of(err: str) -> str:
    """Exception type and the innermost line of the package in a traceback."""
    frames = _FRAME.findall(err)
    if "Traceback (most recent call last)" not in err:  # of faulthandler: the innermost comes first
        file, line, name = frames[0] if frames else ("", "", "")
        return f"{file}:{line} {name}" if file else ""
    file, _, name = frames[-1] if frames else ("?", "", "?")
    raised = [line for line in err.splitlines() if re.match(r"[A-Za-z_][\w.]*(: |$)", line)]
    kind = raised[-1].partition(":")[0].rpartition(".")[2] if raised else "exception"
    return f"{kind} in {file} {name}"


def message_of(ended: Ended) -> str:
    """The last thing that was said, in one line."""
    said = [line for line in ended.err.splitlines() if line.strip()]
    at = next((n for n, line in enumerate(said) if line.startswith("understudy: ")), len(said) - 1)
    return " ".join(said[at : at + 3]).encode("unicode_escape").decode()[:300] if said else ""


def summary(rows: Iterable[Row]) -> list[str]:
    """A table in Markdown: part, subject, and how many came to what."""
    rows = list(rows)
    lines = [f"| part | subject | tried | {' | '.join(OUTCOMES)} |",
             f"|---|---|{'---:|' * (len(OUTCOMES) + 1)}"]  # fmt: skip
    for key in dict.fromkeys((row.part, row.subject) for row in rows):
        lines.append(_line(*key, [row for row in rows if (row.part, row.subject) == key]))
    return [*lines, _line("all", "", rows)]


def failures(rows: Iterable[Row]) -> list[str]:
    """Each distinct failure: how often, which, and the first case."""
    bad = [row for row in rows if row.outcome not in FINE]
    seen = Counter((row.part, row.subject, row.outcome, row.place) for row in bad)
    first = {}
    for row in bad:
        first.setdefault((row.part, row.subject, row.outcome, row.place), row)
    return [
        f"{count} x {row.outcome}: {row.part} {row.subject}: {row.place or row.message} "
        f"(--case {row.case}: {row.what})"
        for key, count in seen.most_common()
        for row in [first[key]]
    ]


def write(name: str, rows: list[Row], folder: Path, facts: dict[str, Any]) -> Path:
    """All cases as CSV."""
    from dated import write_rows
    from understudy.ship.bench import where_and_when

    context = where_and_when()
    path = folder / f"{name}_{context['date']}.csv"
    write_rows(path, [asdict(row) | facts | {"understudy": context["understudy"]} for row in rows])
    return path


def read(path: Path) -> list[Row]:
    """The cases that `write` wrote, but for what was said."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Row(int(one["case"]), one["part"], one["subject"], one["what"], one["outcome"])
            for one in csv.DictReader(file)
        ]


def _line(part: str, subject: str, rows: list[Row]) -> str:
    counted = Counter(row.outcome for row in rows)
    numbers = " | ".join(str(counted[outcome]) for outcome in OUTCOMES)
    return f"| {part} | {subject} | {len(rows)} | {numbers} |"


def _without_progress(err: str) -> str:
    """A bar that draws itself anew is meant for a terminal."""
    return err.replace("\r", "\n")
