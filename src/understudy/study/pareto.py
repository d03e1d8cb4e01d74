"""Accuracy against latency: which subjects of a benchmark nothing beats in both.

A filled dot reads whole clips, a hollow one the new frames of a stream; both are as accurate, since
stepping gives what the clip gives. Whiskers are 95% intervals, that of a time the one of its ratio
to the first subject. The Pareto front runs through the clips that no other is at once as fast and
as accurate as. What has no accuracy, a peer with random weights, is a tick on the time axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import UserError
from understudy.ship.bench import BenchRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")

_INK, _MUTED, _RULE, _ACCENT = "#101011", "#707071", "#d0d0d1", "#a01011"
_PLACES = (
    # Where a name may stand from its dot, in points: side, then height; the first that is free.
    *((7, dy) for dy in (5, -5, 14, -14, 24, -24)),
    *((-7, dy) for dy in (5, -5, 14, -14, 24, -24)),
    *((7, dy) for dy in (34, -34, 44, -44, 54, -54)),
)


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
    """Raises UserError for a kind of picture that is not written, before anything is timed."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"A plot is a {' or '.join(SUFFIXES)} file; given: {path}.")


def draw_pareto(rows: Sequence[BenchRow]) -> Figure:
    """A figure of `rows`, at the smallest number of threads among them.

    Accuracies of another split than that of the first are drawn, and named, but stand in no front:
    figures on different clips are no comparison.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    threads = min(row.threads for row in rows)
    rows = [row for row in rows if row.threads == threads]
    known = [row for row in rows if row.top1 is not None]
    figure = Figure(figsize=(8.2, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _dress(axes, rows, known)
    split = (known[0].top1_split, known[0].top1_n) if known else None
    comparable = [row for row in known if (row.top1_split, row.top1_n) == split]
    clips = [row for row in comparable if row.what == "clip"]
    front = [clips[place] for place in pareto_front([(r.median_ms, r.top1 or 0) for r in clips])]
    _draw_front(axes, front)
    for row in known:
        _draw_dot(axes, row, on_front=row in front, rows=rows)
    _draw_ticks(axes, [row for row in rows if row.top1 is None])
    figure.draw_without_rendering()  # places and sizes are known from here on
    _name_dots(axes, known, front, split)
    return figure


def save_plot(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG. Raises UserError where that cannot be done."""
    import matplotlib

    check_plot_path(path)
    notes = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pareto"}):
            figure.savefig(path, dpi=150, metadata=notes)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error


def _dress(axes: Axes, rows: Sequence[BenchRow], known: Sequence[BenchRow]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

    low, high = min(row.median_ms for row in rows), max(row.median_ms for row in rows)
    room = max(high / low, 2.0)
    axes.set_xscale("log")
    axes.set_xlim(low / room**0.08, high * room**0.22)  # names stand to the right of dots
    steps = (1, 2, 5) if high / low < 200 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    plural = "" if rows[0].threads == 1 else "s"
    axes.set_xlabel(
        f"milliseconds per clip (filled) or per new frame (hollow), {rows[0].threads} "
        f"thread{plural}, batch of {rows[0].batch}",
        color=_MUTED,
    )
    if known:
        bottom = min(row.top1_low or 0 for row in known)
        top = max(row.top1_high or 0 for row in known)
        margin = max(0.06 * (top - bottom), 0.01)
        axes.set_ylim(max(bottom - 2.5 * margin, -0.02), min(top + margin, 1.02))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_ylabel(
            f"top-1 accuracy, {known[0].top1_n} clips of {known[0].top1_split}", color=_MUTED
        )
    else:
        axes.set_yticks([])
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=_MUTED, pad=5)
    axes.grid(color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_frame_on(False)


def _draw_front(axes: Axes, front: Sequence[BenchRow]) -> None:
    """Stairs: between two dots, the accuracy to be had is that of the cheaper one."""
    if not front:
        return
    times = [row.median_ms for row in front]
    heights = [row.top1 or 0 for row in front]
    end = axes.get_xlim()[1]
    axes.plot([*times, end], [*heights, heights[-1]], drawstyle="steps-post", color=_ACCENT,
              linewidth=1.3, alpha=0.55, zorder=2, gid="front")  # fmt: skip
    axes.annotate("Pareto front", (1, heights[-1]), xycoords=("axes fraction", "data"),
                  xytext=(-2, 4), textcoords="offset points", ha="right", va="bottom",
                  color=_ACCENT, fontsize=8.5)  # fmt: skip


def _draw_dot(axes: Axes, row: BenchRow, *, on_front: bool, rows: Sequence[BenchRow]) -> None:
    assert row.top1 is not None
    colour = _ACCENT if on_front else _MUTED
    first_ms = row.median_ms / row.ratio
    across = (
        [row.median_ms - row.ratio_low * first_ms],
        [row.ratio_high * first_ms - row.median_ms],
    )
    upright = ([row.top1 - (row.top1_low or 0)], [(row.top1_high or 0) - row.top1])
    hollow = row.what == "frame"
    axes.errorbar([row.median_ms], [row.top1], xerr=across, yerr=None if hollow else upright,
                  fmt="o", markersize=7, color=colour, elinewidth=1.1, capsize=0,
                  markerfacecolor="white" if hollow else colour, markeredgecolor=colour,
                  zorder=4)  # fmt: skip
    own = next((one for one in rows if one.subject == row.subject and one.what == "clip"), None)
    if hollow and own is not None:
        axes.plot([row.median_ms, own.median_ms], [row.top1, row.top1], color=colour,
                  linewidth=0.9, linestyle=(0, (1, 2)), zorder=3)  # fmt: skip


def _draw_ticks(axes: Axes, rows: Sequence[BenchRow]) -> None:
    for row in rows:
        axes.plot([row.median_ms] * 2, [0, 0.035], transform=axes.get_xaxis_transform(),
                  color=_INK, linewidth=1.3, gid="tick")  # fmt: skip
        axes.annotate(_name(row), (row.median_ms, 0.04), xycoords=axes.get_xaxis_transform(),
                      xytext=(0, 3), textcoords="offset points", rotation=90, ha="center",
                      va="bottom", color=_INK, fontsize=8.5)  # fmt: skip


def _name_dots(
    axes: Axes,
    known: Sequence[BenchRow],
    front: Sequence[BenchRow],
    split: tuple[str | None, int | None] | None,
) -> None:
    """A name beside every dot, where it covers neither a dot nor another name."""
    from matplotlib.transforms import Bbox

    points = axes.transData.transform([(row.median_ms, row.top1 or 0) for row in known])
    taken = [Bbox.from_extents(x - 8, y - 8, x + 8, y + 8) for x, y in points]
    taken += [text.get_window_extent() for text in axes.texts]
    inside = axes.get_window_extent()
    for row in known:
        text = _name(row)
        if (row.top1_split, row.top1_n) != split:
            text += f" [{row.top1_n} clips of {row.top1_split}]"
        label = axes.annotate(text, (row.median_ms, row.top1 or 0), xytext=_PLACES[0],
                              textcoords="offset points", va="center", fontsize=8.5,
                              color=_ACCENT if row in front else _INK, zorder=6)  # fmt: skip
        for dx, dy in _PLACES:
            label.set_position((dx, dy))
            label.set_horizontalalignment("left" if dx > 0 else "right")
            box = label.get_window_extent()
            fits = inside.x0 <= box.x0 and box.x1 <= axes.figure.bbox.x1
            fits = fits and inside.y0 <= box.y0 and box.y1 <= inside.y1 + 6
            if fits and not any(box.overlaps(other) for other in taken):
                break
        taken.append(label.get_window_extent())


def _name(row: BenchRow) -> str:
    return f"{row.subject}, new frame" if row.what == "frame" else row.subject
