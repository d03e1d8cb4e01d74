"""Drawings for the report, each a piece of inline SVG that follows the page's colours.

Every colour is a CSS variable of the page (`--ink`, `--muted`, `--rule`, `--paper`, `--accent`), so
one drawing is legible in light and in dark. Text stays text: it can be searched and read aloud.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from understudy.task import task_that_gave

# Matplotlib wants real colours. Each of these stands for a variable and is swapped afterwards.
_INK, _MUTED, _RULE, _ACCENT = "#101011", "#707071", "#d0d0d1", "#a01011"
_VARIABLES = {_INK: "--ink", _MUTED: "--muted", _RULE: "--rule", _ACCENT: "--accent"}

_TITLES = {
    "task": "Task loss",
    "feature": "Feature loss",
    "cosine": "Cosine with the teacher",
    "response": "Response loss",
}


_SHARES = ("Accuracy", "mAP", "All labels right")


def curves(history: Sequence[dict[str, Any]]) -> dict[str, Markup]:
    """One small drawing per quantity over the epochs: accuracy first, then every part of the loss.

    `history` is what training wrote, one entry per epoch. Gives title -> SVG, nothing for an empty
    history. The total is drawn only where it is more than the task loss.
    """
    if not history:
        return {}
    parts = list(dict.fromkeys(key for entry in history for key in entry.get("train", {})))
    task = task_that_gave(history[-1]["val"])
    others = [part for part in parts if part not in (task.hit_rate, "loss", "task")]
    panels = {"mAP": ("", task.metric), "All labels right": (task.hit_rate, task.hit_rate)}
    if not task.several:
        panels = {"Accuracy": (task.metric, task.metric)}
    panels["Task loss"] = ("task", "loss")
    panels |= {_title(part): (part, "") for part in others}
    if others:
        panels["Total loss"] = ("loss", "")
    best = next((entry["epoch"] for entry in reversed(history) if entry.get("best")), None)
    drawn = {}
    for title, (train, val) in panels.items():
        lines = {
            "training": _series(history, "train", train),
            "validation": _series(history, "val", val),
        }
        lines = {name: points for name, points in lines.items() if points}
        if lines:
            drawn[title] = _panel(title, lines, best)
    rates = [(entry["epoch"], entry["lr"]) for entry in history if "lr" in entry]
    if rates:
        drawn["Learning rate"] = _panel("Learning rate", {"training": rates}, None)
    return drawn


def _title(part: str) -> str:
    """Of several teachers each has parts of its own: `feature_clip` is "Feature loss, clip"."""
    kind, _, teacher = part.partition("_")
    title = _TITLES.get(kind, f"{kind.capitalize()} loss")
    return f"{title}, {teacher}" if teacher else title


def _series(history: Sequence[dict[str, Any]], part: str, key: str) -> list[tuple[int, float]]:
    points = [(entry["epoch"], (entry.get(part) or {}).get(key)) for entry in history]
    return [(epoch, y) for epoch, y in points if y is not None and math.isfinite(y)]


def _panel(title: str, lines: dict[str, list[tuple[int, float]]], best: int | None) -> Markup:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(2.8, 1.8), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    is_share = title in _SHARES
    for name, points in lines.items():
        # Parts that only training has are drawn as strongly as a validation curve.
        strong = name == "validation" or len(lines) == 1
        axes.plot(
            *zip(*points, strict=True),
            color=_ACCENT if name == "validation" else (_INK if strong else _MUTED),
            linewidth=1.9 if strong else 1.3,
            linestyle="-" if strong else (0, (4, 2)),
            marker="o" if len(points) == 1 else None,
            markersize=4,
            solid_capstyle="round",
        )
    marked = dict(lines.get("validation", [])).get(best) if best is not None else None
    if marked is not None and best is not None:
        # The figure stands on the side where the training curve is not.
        above = marked >= dict(lines.get("training", [])).get(best, marked)
        axes.plot([best], [marked], "o", color=_ACCENT, markersize=5.5, zorder=5)
        axes.annotate(
            f"{marked:.0%}" if is_share else f"{marked:.2f}",
            (best, marked),
            xytext=(0, 6 if above else -7),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            color=_ACCENT,
            fontsize=9,
            fontweight="bold",
        )
    epochs = [epoch for points in lines.values() for epoch, _ in points]
    if is_share:
        axes.set_ylim(0, 1.1)
        axes.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    else:
        top = max(y for points in lines.values() for _, y in points)
        low = min(y for points in lines.values() for _, y in points)
        axes.set_ylim(min(0, low), top * 1.15 if top > 0 else 1)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        # Tiny values are written 3e-4, so that every panel keeps its width.
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("e-0", "e-"))
    axes.set_xlim(min(epochs) - 0.4, max(epochs) + 0.4 + 0.04 * (max(epochs) - min(epochs)))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(length=0, labelsize=9, labelcolor=_MUTED, pad=5)
    axes.grid(axis="y", color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_frame_on(False)
    return _themed(figure, _describe(title, lines), title)


def _describe(title: str, lines: dict[str, list[tuple[int, float]]]) -> str:
    """What the drawing shows, in a sentence for whoever cannot see it."""
    said = [
        f"{name} from {points[0][1]:.3g} in epoch {points[0][0]} to {points[-1][1]:.3g} "
        f"in epoch {points[-1][0]}"
        for name, points in lines.items()
    ]
    return f"{title} over the epochs: {'; '.join(said)}."


def _themed(figure: Any, description: str, key: str) -> Markup:
    """Render a figure as inline SVG with CSS variables for colours and ids of its own."""
    import matplotlib

    target = io.StringIO()
    # Both settings are read while drawing and exist nowhere else; the context restores them.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(target, format="svg", transparent=True, metadata=nothing)
    svg = target.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # A style element inside inline SVG would apply to the whole page.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s+$", "", svg, flags=re.MULTILINE)
    prefix = re.sub(r"\W+", "-", key.lower())
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", svg)
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box is not None, "matplotlib writes a viewBox"
    head = (
        f'<svg {view_box.group()} class="curve" role="img" aria-label="{escape(description)}" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return Markup(head + svg[svg.index(">") + 1 :])


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """The confusion matrix: a row is what a clip was, a column what was said.

    matrix: K x K counts. Shades are shares of a row; right answers in ink, mistakes in the accent,
    so that mistakes catch the eye. Up to 24 classes the counts are written into the cells; above,
    each is in its cell's tooltip. Drawn at its natural size; the page lets wide ones scroll.
    """
    count = len(classes)
    written = count <= 24
    cell = 52 if count <= 8 else 32 if count <= 16 else 25 if written else 10
    size = 13 if count <= 16 else 11 if written else 8.5
    names = [name if len(name) <= 22 else f"{name[:21]}…" for name in classes]
    # Without a font at hand: 0.56 of the size is a generous mean width of a letter.
    margin = round(max((len(name) for name in names), default=0) * size * 0.56) + 14
    side = count * cell
    # Column names lean at 45 degrees where they fit; the last one needs room to the right.
    lean, baseline = (45, "auto") if written else (90, "central")
    top = round(margin * (0.75 if written else 1)) + 22
    right = round(margin * 0.72) if written else 6
    width, height = margin + side + right, top + side + 4
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" class="confusion" '
        f'style="max-width: 100%; min-width: {0.75 * width:.0f}px" '
        f'role="img" aria-label="{escape(_describe_confusion(matrix, classes))}" '
        f'font-size="{size}">'
    ]
    for row, name in enumerate(names):
        y = top + row * cell
        parts.append(
            f'<text x="{margin - 8}" y="{y + cell / 2}" text-anchor="end" '
            f'dominant-baseline="central" fill="var(--ink)">{escape(name)}</text>'
        )
        x = margin + row * cell + cell / 2
        parts.append(
            f'<text transform="translate({x:.1f} {top - 7}) rotate(-{lean})" '
            f'dominant-baseline="{baseline}" fill="var(--ink)">{escape(name)}</text>'
        )
    gap = 1 if written else 0.5
    parts.append(
        f'<rect x="{margin - gap}" y="{top - gap}" width="{side + gap}" height="{side + gap}" '
        'fill="var(--well)"/>'
    )
    for row, counts in enumerate(matrix):
        total = sum(counts)
        for column, value in enumerate(counts):
            if not value:
                continue
            share = value / total
            fill = "--ink" if row == column else "--accent"
            x, y = margin + column * cell, top + row * cell
            shade = 0.12 + 0.78 * share
            tooltip = escape(f"{classes[row]}, said {classes[column]}: {value} of {total}")
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell - gap}" height="{cell - gap}" '
                f'fill="var({fill})" fill-opacity="{shade:.2f}"><title>{tooltip}</title></rect>'
            )
            if written:
                ink = "--paper" if shade > 0.5 else "--ink"
                parts.append(
                    f'<text x="{x + cell / 2 - gap / 2}" y="{y + cell / 2}" text-anchor="middle" '
                    f'dominant-baseline="central" pointer-events="none" '
                    f'fill="var({ink})">{value}</text>'
                )
    parts.append("</svg>")
    return Markup("".join(parts))


def _describe_confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    right = sum(matrix[i][i] for i in range(len(classes)))
    total = sum(map(sum, matrix))
    worst = confusions(matrix, classes)[:3]
    said = "; ".join(f"{was} taken for {took} {n} times" for was, took, n, _ in worst)
    return f"Confusion matrix of {len(classes)} classes: {right} of {total} right. {said}".strip()


def confusions(
    matrix: Sequence[Sequence[int]], classes: Sequence[str]
) -> list[tuple[str, str, int, int]]:
    """Every confusion that happened: (was, taken for, how often, clips of that class)."""
    found = [
        (classes[row], classes[column], value, sum(counts))
        for row, counts in enumerate(matrix)
        for column, value in enumerate(counts)
        if value and row != column
    ]
    return sorted(found, key=lambda mistake: (-mistake[2], mistake[3], mistake[:2]))


def interval(
    value: float,
    low: float,
    high: float,
    *,
    scale: tuple[float, float] = (0.0, 1.0),
    reference: float | None = None,
) -> Markup:
    """A dot with whiskers on a line from `scale[0]` to `scale[1]`, as wide as its place.

    `reference` draws a thin mark: chance, or no difference. What lies outside the scale is drawn
    at its end.
    """
    start, end = scale

    def place(number: float) -> str:
        share = (number - start) / (end - start) if end > start else 0.5
        # Two percent at either side keep a dot at the very end whole.
        return f"{2 + 96 * min(max(share, 0.0), 1.0):.2f}%"

    mark = ""
    if reference is not None:
        at = place(reference)
        mark = (
            f'<line x1="{at}" x2="{at}" y1="1" y2="19" stroke="var(--muted)" '
            'stroke-width="1" stroke-dasharray="2 2"/>'
        )
    ends = "".join(
        f'<line x1="{place(edge)}" x2="{place(edge)}" y1="6.5" y2="13.5" stroke="var(--ink)" '
        'stroke-width="1.5"/>'
        for edge in (low, high)
    )
    # Percentages need no viewBox, so the drawing stretches and the dot stays round.
    return Markup(
        '<svg class="interval" height="20" aria-hidden="true">'
        '<line x1="2%" x2="98%" y1="10" y2="10" stroke="var(--rule)" stroke-width="1"/>'
        f"{mark}"
        f'<line x1="{place(low)}" x2="{place(high)}" y1="10" y2="10" stroke="var(--ink)" '
        f'stroke-width="1.5"/>{ends}'
        f'<circle cx="{place(value)}" cy="10" r="4.5" fill="var(--accent)"/></svg>'
    )
