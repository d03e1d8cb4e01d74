"""Learning curves of many runs side by side: an arm is a line, its seeds the band around it.

A figure has a column for each group of arms, accuracy above and task loss below. It is made for a
page outside of the report, so it is a picture with colours of its own.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.errors import UserError
from understudy.run import write_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, Any]]
"""What training wrote: one entry per epoch, with the parts `train` and `val`."""

_ROWS = {"Accuracy": ("top1", "top1"), "Task loss": ("task", "loss")}
"""Title -> the quantity's name in `train` and in `val`."""
_INK, _MUTED, _RULE = "#101011", "#707071", "#d0d0d1"
# Told apart without seeing red or green too (Okabe and Ito 2008); lightness falls as well.
_COLOURS = (_INK, "#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7")


def epochs_to_reach(history: History, level: float) -> int | None:
    """The first epoch whose validation accuracy is `level` or more; None if none is."""
    # A share of clips that went through a file or a division may miss itself by a hair.
    reached = (entry["epoch"] for entry in history if entry["val"]["top1"] >= level - 1e-9)
    return next(reached, None)


def draw_curves(
    groups: Mapping[str, Mapping[str, Sequence[History]]],
    *,
    training: bool,
    held_out: str = "validation",
) -> Figure:
    """Accuracy and task loss over the epochs, a column for each group.

    groups: title -> arm -> the history of every seed. An arm that stands in several groups has one
    colour. The line of an arm is the mean of its seeds and its band goes from the lowest to the
    highest; both end with the shortest of its runs. training: draw the training clips too, dashed
    and without a band. held_out: what to call the split that the runs chose by.
    Raises UserError for an arm without an epoch, or more arms than there are colours.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    arms = list(dict.fromkeys(arm for group in groups.values() for arm in group))
    if not arms or len(arms) > len(_COLOURS):
        raise UserError(f"A figure takes 1 to {len(_COLOURS)} arms; given: {len(arms)}.")
    colours = dict(zip(arms, _COLOURS, strict=False))
    figure = Figure(figsize=(4.2 * len(groups) + 0.4, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(_ROWS), len(groups), sharex=True, sharey="row", squeeze=False)
    for row, (title, names) in zip(grid, _ROWS.items(), strict=True):
        for axes, (group, content) in zip(row, groups.items(), strict=True):
            for arm, histories in content.items():
                _draw_arm(axes, arm, histories, names, colours[arm], training)
            _dress(axes, title)
            if title == next(iter(_ROWS)):
                axes.set_title(group, loc="left", fontsize=11, color=_INK)
        label = title if training else f"{title}, {held_out} clips"
        row[0].set_ylabel(label, color=_MUTED)
    for axes in grid[-1]:
        axes.set_xlabel("epoch", color=_MUTED)
    lines: list[Any] = [Line2D([], [], color=colours[arm], lw=1.9, label=arm) for arm in arms]
    if training:
        lines.append(Line2D([], [], color=_MUTED, lw=1.9, label=f"{held_out} clips"))
        lines.append(Line2D([], [], color=_MUTED, lw=1.3, ls=(0, (3, 2)), label="training clips"))
    if any(len(seeds) > 1 for group in groups.values() for seeds in group.values()):
        lines.append(Patch(color=_MUTED, alpha=0.2, lw=0, label="lowest to highest seed"))
    figure.legend(handles=lines, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def save_curves(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, the same bytes for the same curves."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=130, metadata={"Software": None})
    write_output(path, drawn.getvalue())


def _draw_arm(
    axes: Axes,
    arm: str,
    histories: Sequence[History],
    names: tuple[str, str],
    colour: str,
    training: bool,
) -> None:
    epochs, held_out = _stacked(arm, histories, "val", names[1])
    if len(held_out) > 1:
        low, high = held_out.min(0), held_out.max(0)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.16, linewidth=0)
    marker = "o" if len(epochs) == 1 else None
    axes.plot(epochs, held_out.mean(0), color=colour, linewidth=1.9, marker=marker, label=arm)
    if training:
        _, trained = _stacked(arm, histories, "train", names[0])
        style = {"linewidth": 1.3, "linestyle": (0, (3, 2)), "marker": marker}
        axes.plot(epochs, trained.mean(0), color=colour, label=f"{arm}, training", **style)


def _stacked(
    arm: str, histories: Sequence[History], part: str, name: str
) -> tuple[list[int], np.ndarray]:
    """The epochs that all seeds have, and the values (seeds, epochs)."""
    count = min((len(history) for history in histories), default=0)
    if not count:
        raise UserError(f"{arm} has a run without a single epoch; there is nothing to draw.")
    epochs = [entry["epoch"] for entry in histories[0][:count]]
    values = [[entry[part][name] for entry in history[:count]] for history in histories]
    return epochs, np.array(values, dtype=float)


def _dress(axes: Axes, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    if title == "Accuracy":
        axes.set_ylim(0, 1.02)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    else:
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.tick_params(length=0, labelsize=9, labelcolor=_MUTED, pad=5)
    axes.grid(axis="y", color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_frame_on(False)
