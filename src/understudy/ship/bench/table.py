"""What `bench` measured as a table to read, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from understudy.run import write_output
from understudy.ship.bench.machine import where_and_when
from understudy.ship.bench.measure import BenchRow

_NOTHING = "-"

_COLUMNS: dict[str, Callable[[BenchRow], str]] = {
    "subject": lambda row: row.subject,
    "per": lambda row: row.what,
    "threads": lambda row: str(row.threads),
    "median ms": lambda row: f"{row.median_ms:.2f}",
    "p95 ms": lambda row: f"{row.p95_ms:.2f}",
    "time over the first clip (95%)": lambda row: _between(
        row.ratio, row.ratio_low, row.ratio_high, ".2f" if row.ratio >= 0.1 else ".4f"
    ),
    "load ms": lambda row: _number(row.load_ms, ".0f"),
    "first call ms": lambda row: _number(row.first_call_ms, ".1f"),
    "peak MB": lambda row: _number(row.peak_rss_mb, ".0f"),
    "file MB": lambda row: _number(row.file_bytes, ".2f", 1e6),
    "params": lambda row: f"{row.parameters:,}",
    "GMACs": lambda row: f"{row.gmacs:.3f}",
    "top-1 (95%)": lambda row: _between(row.top1, row.top1_low, row.top1_high, ".3f"),
}
"""Heading -> cell. A column in which nothing stands is left out."""


def bench_lines(rows: Sequence[BenchRow]) -> list[str]:
    """The rows as a table to read, one line for each after a heading, and sentences below it."""
    columns = []
    for heading, cell in _COLUMNS.items():
        cells = [cell(row) for row in rows]
        if set(cells) != {_NOTHING}:
            width = max(map(len, [heading, *cells]))
            place = str.ljust if heading in ("subject", "per") else str.rjust
            columns.append([place(text, width) for text in (heading, *cells)])
    table = ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]
    return [*table, "", *_sentences(rows)]


def write_bench_csv(rows: Sequence[BenchRow], path: Path) -> None:
    """Write rows as CSV, each with date, hardware and versions.

    Raises UserError if the file cannot be written.
    """
    context = where_and_when()
    names = [field.name for field in fields(BenchRow)]
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, [*names, *context])
    writer.writeheader()
    writer.writerows(asdict(row) | context for row in rows)
    write_output(path, file.getvalue().encode("utf-8"))


def _sentences(rows: Sequence[BenchRow]) -> list[str]:
    """What a reader should know of the table, and what it says about streams."""
    first = rows[0]
    said = [
        f"Times are per clip, or per new frame of a stream, at a batch of {first.batch}; ratios "
        f"are to the clips of {first.subject}, over {_span({row.rounds for row in rows})} rounds."
    ]
    said += [_streaming(row) for row in rows if row.what == "frame"]
    splits = {(row.top1_split, row.top1_n) for row in rows if row.top1 is not None}
    if splits:
        where = "; ".join(f"{n} clips of {split}" for split, n in sorted(splits, key=str))
        said.append(f"Accuracy: on {where}.")
    return said


def _streaming(row: BenchRow) -> str:
    """How a new frame compares with reading the whole clip once more."""
    gain, low, high = row.clip_over_frame, row.clip_over_frame_low, row.clip_over_frame_high
    assert gain is not None, "every subject reads clips before frames"
    assert low is not None
    assert high is not None
    word = "cheaper"
    if gain < 1:
        gain, low, high, word = 1 / gain, 1 / high, 1 / low, "dearer"
    return (
        f"{row.subject}, {row.threads} thread{'s' if row.threads > 1 else ''}: streaming is "
        f"{gain:.1f} times ({low:.1f} to {high:.1f}) {word} per new frame than reading the clip "
        "again."
    )


def _span(values: set[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _number(value: float | None, form: str, unit: float = 1) -> str:
    return _NOTHING if value is None else f"{value / unit:{form}}"


def _between(value: float | None, low: float | None, high: float | None, form: str) -> str:
    if value is None or low is None or high is None:
        return _NOTHING
    return f"{value:{form}} ({low:{form}} to {high:{form}})"
