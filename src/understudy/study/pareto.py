"""Accuracy against latency: which subjects of a benchmark nothing beats in both.

A colour is a model and a shape the runtime that it is in. Filled marks read whole clips, hollow
ones the new frames of a stream; both are as accurate, since stepping gives what the clip gives.
Whiskers are 95% intervals, that of a time the one of its ratio to the first subject. The Pareto
front runs through the clips that no other is at once as fast and as accurate as. What has no
accuracy, such as a peer with random weights, is a tick on the time axis.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import UserError
from understudy.run import refuse_other_than_file, write_output
from understudy.ship.bench import BenchRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")

_INK, _MUTED, _RULE, _ACCENT = "#101011", "#707071", "#d0d0d1", "#a01011"
# Told apart without seeing red or green too (Okabe and Ito 2008, then Tol 2021).
_COLOURS = ("#101011", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_COLOURS += ("#882255", "#999933", "#aaaaaa")
_SHAPES = {"torch": "o", "onnx": "s", "litert": "^", "executorch": "D", "coreml": "v"}


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points (cost, gain) that no other dominates, from the cheapest to the dearest.

    A point dominates another if it costs no more, gains no less, and differs in one of the two.
    """
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1]))
    front: list[int] = []
    for place in order:
        if (
            not front
            or points[place][1] > points[front[-1]][1]
            or points[place] == points[front[-1]]
        ):
            front.append(place)
    return front


def check_plot_path(path: Path) -> None:
    """Raises UserError for a kind of picture that is not written, and where no file may go."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"A plot is a {' or '.join(SUFFIXES)} file; given: {path}.")
    refuse_other_than_file(path)


def draw_pareto(rows: Sequence[BenchRow]) -> Figure:
    """A figure of `rows`, at the smallest number of threads among them.

    Accuracies of other clips than those of the first are drawn, and their clips named, but stand in
    no front: figures on different clips are no comparison.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    threads = min(row.threads for row in rows)
    rows = [row for row in rows if row.threads == threads]
    known = [row for row in rows if row.top1 is not None]
    colours = dict.fromkeys(_model(row) for row in rows)
    colours = dict(zip(colours, itertools.cycle(_COLOURS), strict=False))
    figure = Figure(
        figsize=(9.2, max(4.8, 0.3 * len(rows)) if known else 2.2), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _dress(axes, rows, known)
    front = _front(known)
    if front:
        _draw_front(axes, front)
    for row in rows:
        draw = _draw_tick if row.top1 is None else _draw_mark
        draw(axes, row, colours[_model(row)])
    for frame, clip in _streams(known):
        times, height = [frame.median_ms, clip.median_ms], clip.top1 or 0.0
        axes.plot(times, [height] * 2, color=colours[_model(clip)], linewidth=0.9,
                  linestyle=(0, (1, 2)), zorder=3)  # fmt: skip
    _explain(figure, rows, known, colours, bool(front))
    return figure


def save_plot(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG. Raises UserError where that cannot be done."""
    import matplotlib

    check_plot_path(path)
    notes = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pareto"}):
        figure.savefig(drawn, format=path.suffix[1:], dpi=150, metadata=notes)
    write_output(path, drawn.getvalue())


def _front(known: Sequence[BenchRow]) -> list[BenchRow]:
    """The clips that nothing beats, among those of the first one's split."""
    clips = [row for row in known if row.what == "clip" and _clips(row) == _clips(known[0])]
    points = [(row.median_ms, row.top1 or 0.0) for row in clips]
    return [clips[place] for place in pareto_front(points)]


def _streams(known: Sequence[BenchRow]) -> list[tuple[BenchRow, BenchRow]]:
    """Each subject that streams: its frames and its clips."""
    clips = {row.subject: row for row in known if row.what == "clip"}
    return [(row, clips[row.subject]) for row in known if row.what == "frame"]


def _dress(axes: Axes, rows: Sequence[BenchRow], known: Sequence[BenchRow]) -> None:
    from matplotlib.ticker import (
        FuncFormatter,
        LogLocator,
        MaxNLocator,
        NullFormatter,
        PercentFormatter,
    )

    low, high = min(row.median_ms for row in rows), max(row.median_ms for row in rows)
    room = max(high / low, 4.0) ** 0.07
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 2000 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    threads = f"{rows[0].threads} thread{'s' if rows[0].threads > 1 else ''}"
    what = "clip (filled) or new frame (hollow)"
    if all(row.what == "clip" for row in rows):
        what = "clip"
    axes.set_xlabel(f"milliseconds per {what}, {threads}, batch of {rows[0].batch}", color=_MUTED)
    if known:
        bottom = min(row.top1_low or 0.0 for row in known)
        top = max(row.top1_high or 0.0 for row in known)
        margin = max(0.08 * (top - bottom), 0.01)
        axes.set_ylim(max(bottom - 2 * margin, -0.04), min(top + margin, 1.03))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylabel(f"top-1 accuracy on {_clips(known[0])}", color=_MUTED)
    else:
        axes.set_yticks([])
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=_MUTED, pad=5)
    axes.grid(color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_frame_on(False)


def _draw_front(axes: Axes, front: Sequence[BenchRow]) -> None:
    """Stairs: between two marks, the accuracy to be had is that of the cheaper one."""
    times = [row.median_ms for row in front]
    heights = [row.top1 or 0.0 for row in front]
    axes.plot(
        [*times, axes.get_xlim()[1]],
        [*heights, heights[-1]],
        drawstyle="steps-post",
        color=_ACCENT,
        linewidth=1.4,
        zorder=2,
        gid="front",
    )
    axes.scatter(times, heights, s=170, facecolors="none", edgecolors=_ACCENT, linewidths=1.4,
                 zorder=5)  # fmt: skip


def _draw_mark(axes: Axes, row: BenchRow, colour: str) -> None:
    time, height, first_ms = row.median_ms, row.top1 or 0.0, row.median_ms / row.ratio
    hollow = row.what == "frame"
    axes.errorbar(
        [time],
        [height],
        xerr=([time - row.ratio_low * first_ms], [row.ratio_high * first_ms - time]),
        # Its clip has the same accuracy: once is enough.
        yerr=None if hollow else ([height - (row.top1_low or 0)], [(row.top1_high or 0) - height]),
        fmt=_SHAPES.get(row.runtime, "o"),
        markersize=7,
        markerfacecolor="white" if hollow else colour,
        markeredgecolor=colour,
        ecolor=colour,
        elinewidth=0.9,
        zorder=4,
    )


def _draw_tick(axes: Axes, row: BenchRow, colour: str) -> None:
    axes.plot(
        [row.median_ms] * 2,
        [0, 0.07],
        transform=axes.get_xaxis_transform(),
        color=colour,
        linewidth=2.0,
        linestyle="-" if row.what == "clip" else (0, (1, 1)),
        gid="tick",
    )


def _explain(
    figure: Figure,
    rows: Sequence[BenchRow],
    known: Sequence[BenchRow],
    colours: dict[str, str],
    has_front: bool,
) -> None:
    """A key beside the drawing, in the order of the table."""
    from matplotlib.lines import Line2D

    lines = []
    for row in rows:
        if row.what == "frame":
            continue
        name, shape = row.subject, _SHAPES.get(row.runtime, "o")
        if row.top1 is None:
            shape = "|"
        elif _clips(row) != _clips(known[0]):
            name += f"\n({_clips(row)})"
        lines.append(
            Line2D([], [], color=colours[_model(row)], marker=shape, markersize=7,
                   markeredgewidth=2 if shape == "|" else None, linestyle="", label=name)
        )  # fmt: skip
    if has_front:
        lines.append(Line2D([], [], color=_ACCENT, linewidth=1.4, marker="o", markersize=11,
                            markerfacecolor="none", label="Pareto front of clips"))  # fmt: skip
    figure.legend(handles=lines, loc="outside right upper", frameon=False, fontsize=9,
                  labelcolor=_INK, labelspacing=0.7)  # fmt: skip


def _model(row: BenchRow) -> str:
    """What is in the runtime: the run of an artifact, the peer without its format."""
    if row.kind == "peer":
        return row.subject.partition("@")[0]
    return row.subject.partition(" (")[0]


def _clips(row: BenchRow) -> str:
    """What an accuracy was measured on."""
    return f"{row.top1_n} clips of {row.top1_split}"
