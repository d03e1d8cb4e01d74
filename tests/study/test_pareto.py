"""The front of what nothing beats, and the drawing of it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import UserError
from understudy.ship.bench import BenchRow
from understudy.study.pareto import check_plot_path, draw_pareto, pareto_front, save_plot

few = st.integers(0, 5).map(float)  # few values: ties are where fronts go wrong


@given(st.lists(st.tuples(few, few), max_size=12))
def test_the_front_is_what_brute_force_finds(points: list[tuple[float, float]]) -> None:
    def dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    front = pareto_front(points)
    undominated = {
        place
        for place, point in enumerate(points)
        if not any(dominates(other, point) for other in points)
    }
    assert set(front) == undominated
    assert len(front) == len(undominated)
    costs = [points[place][0] for place in front]
    assert costs == sorted(costs)


def row(subject: str, ms: float, top1: float | None = None, **changed: Any) -> BenchRow:
    ratio = ms / 10
    facts: dict[str, Any] = {
        "kind": "run" if top1 is not None else "peer",
        "runtime": "torch",
        "precision": "fp32",
        "what": "clip",
        "threads": 1,
        "batch": 1,
        "frames": 8,
        "size": 224,
        "ratio": ratio,
        "ratio_low": 0.9 * ratio,
        "ratio_high": 1.2 * ratio,
        "calls": 30,
        "rounds": 10,
        "parameters": 5,
        "gmacs": 1.0,
    }
    if top1 is not None:
        facts |= {"top1": top1, "top1_low": top1 - 0.1, "top1_high": top1 + 0.1}
        facts |= {"top1_n": 80, "top1_split": "test"}
    nothing = dict.fromkeys(BenchRow.__dataclass_fields__)
    return BenchRow(
        **nothing
        | {"subject": subject, "median_ms": ms, "p95_ms": ms, "per_s": 1e3 / ms}
        | facts
        | changed
    )


ROWS = [
    row("student", 10.0, 0.7),
    row("student", 2.0, 0.7, what="frame"),
    row("slow", 30.0, 0.6),
    row("teacher", 100.0, 0.9),
    row("elsewhere", 1.0, 0.99, top1_split="val"),
    row("clip:ViT-B-32@onnx", 90.0, runtime="onnx"),
    row("student", 1.0, 0.7, threads=2),
]


def front_of(rows: list[BenchRow]) -> list[tuple[float, float]]:
    axes = draw_pareto(rows).axes[0]
    (line,) = [line for line in axes.get_lines() if line.get_gid() == "front"]
    return [(float(x), float(y)) for x, y in line.get_xydata()][:-1]  # its end is the edge


def test_the_front_runs_through_clips_on_the_same_data_at_one_number_of_threads() -> None:
    assert front_of(ROWS) == [(10.0, 0.7), (100.0, 0.9)]


def test_whiskers_are_the_intervals() -> None:
    axes = draw_pareto(ROWS).axes[0]
    whiskers = [segment for part in axes.collections for segment in _segments(part)]
    assert [(10.0, 0.6), (10.0, 0.8)] in whiskers
    assert [(9.0, 0.7), (12.0, 0.7)] in whiskers
    assert [(2.0, 0.6), (2.0, 0.8)] not in whiskers, "its clip has that one"


def _segments(part: Any) -> list[list[tuple[float, float]]]:
    if not hasattr(part, "get_segments"):
        return []
    return [[(round(x, 6), round(y, 6)) for x, y in line] for line in part.get_segments()]


def test_what_has_no_accuracy_is_a_tick_and_everything_is_named() -> None:
    figure = draw_pareto(ROWS)
    ticks = [line for line in figure.axes[0].get_lines() if line.get_gid() == "tick"]
    assert [line.get_xdata()[0] for line in ticks] == [90.0]
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert key == [
        "student",
        "slow",
        "teacher",
        "elsewhere\n(80 clips of val)",
        "clip:ViT-B-32@onnx",
        "Pareto front of clips",
    ]


def test_peers_alone_have_no_front() -> None:
    figure = draw_pareto(ROWS[5:6])
    assert not [line for line in figure.axes[0].get_lines() if line.get_gid() == "front"]


def test_plots_are_written_as_png_and_svg(tmp_path: Path) -> None:
    for name in ("new/plot.png", "plot.svg"):
        save_plot(draw_pareto(ROWS), tmp_path / name)
    assert (tmp_path / "new/plot.png").read_bytes().startswith(b"\x89PNG")
    texts = ElementTree.parse(tmp_path / "plot.svg").iter("{http://www.w3.org/2000/svg}text")
    assert "top-1 accuracy on 80 clips of test" in {text.text for text in texts}
    with pytest.raises(UserError, match=r"\.png or \.svg"):
        check_plot_path(tmp_path / "plot.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_plot(draw_pareto(ROWS), tmp_path / "file" / "plot.png")
