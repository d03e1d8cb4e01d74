"""docs/rvit_stream.png from the latest results/rvit_*.csv: what a stream does, and what costs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

TOKENS = (196, 784, 3136)
COLOURS = {"fp32": "#1b6ca8", "bf16": "#c8553d", "fp16": "#5a8f3c"}
STYLES = {"one state": "-", "restarts": "--"}
Rows = list[dict[str, str]]


def draw(results: Path, out: Path) -> None:
    """Draw once the CSVs are there; of the trained and the untrained rvit, the trained one."""
    drift = latest(results, "drift_trained") or latest(results, "drift_untrained")
    attention = latest(results, "attention")
    if not drift or not attention:
        return
    weights, frames = drift[0]["weights"], "frames of the stream"
    figure = Figure(figsize=(11, 8), layout="constrained")
    (size, moved), (answers, times) = figure.subplots(2, 2)
    _along(size, drift, "to_frame", "rms_of_h_at_the_end", place=-1)
    size.set(xscale="log", yscale="log", xlabel=frames, ylabel="root mean square")
    size.set_title(f"Hidden tokens of the last layer, {weights} rvit")
    size.legend(fontsize=8)
    _along(moved, drift, "to_frame", "moved_per_frame", place=-1)
    moved.set(xscale="log", yscale="log", xlabel=f"{frames}, up to")
    moved.set_title("Share of their size by which a frame moves them")
    _along(answers, drift, "to_frame", "same_as_the_clip_alone", place=0)
    answers.set(xscale="log", ylim=(0, 1.05), xlabel=f"{frames}, up to")
    answers.set_title("Share of clips answered as the clip alone is")
    alone = [row for row in attention if row["part"] == "attention"]
    _times(times, [row for row in alone if row["freed_memory"] == "kept"])
    figure.savefig(out, dpi=100)


def latest(results: Path, part: str) -> Rows:
    files = sorted(results.glob(f"rvit_{part}_*.csv"))
    if not files:
        return []
    with files[-1].open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def _along(axes: Axes, rows: Rows, x: str, y: str, *, place: int) -> None:
    """One line for each precision and way; `place` of the numbers in a cell of column y."""
    for label, marks, own in _lines(rows):
        frames = [int(row[x]) for row in own]
        axes.plot(frames, [float(row[y].split()[place]) for row in own], label=label, **marks)


def _lines(rows: Rows) -> Iterator[tuple[str, dict[str, Any], Rows]]:
    for precision, colour in COLOURS.items():
        for way, style in STYLES.items():
            own = [row for row in rows if (row["precision"], row["way"]) == (precision, way)]
            marks = {"color": colour, "linestyle": style, "marker": "o", "markersize": 4}
            yield f"{precision}, {way}", marks, own


def _times(axes: Axes, rows: Rows) -> None:
    for row, colour in zip(rows, COLOURS.values(), strict=False):
        times = [float(row[f"ms_{tokens}"]) for tokens in TOKENS]
        label = f"{row['attention']}: tokens^{float(row['exponent']):.2f}"
        axes.plot(TOKENS, times, marker="o", color=colour, label=label)
    axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="ms of CPU time")
    axes.set_xticks(TOKENS, [str(one) for one in TOKENS])
    axes.minorticks_off()
    axes.set_title("Time of attention, 192 wide, 8 heads")
    axes.legend(fontsize=8)
