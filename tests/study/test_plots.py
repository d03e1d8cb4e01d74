"""Drawings: what they say, and that they fit into any page."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import Any

import pytest

from understudy.study import plots

SVG = "{http://www.w3.org/2000/svg}"


def parse(drawing: str) -> ElementTree.Element:
    """Inline SVG inherits its namespaces from the page; a parser wants to be told."""
    return ElementTree.fromstring(str(drawing).replace("<svg", f'<svg xmlns="{SVG[1:-1]}"', 1))


def texts(drawing: str) -> list[str]:
    return [element.text or "" for element in parse(drawing).iter(f"{SVG}text")]


def epoch(number: int, best: bool = False, **train: float) -> dict[str, Any]:
    return {
        "epoch": number,
        "lr": 1e-3 / number,
        "train": {"loss": 3.0, "task": 2.0 / number, "top1": 0.1 * number} | train,
        "val": {"loss": 2.5 / number, "top1": 0.2 * number, "n": 10},
        "best": best,
    }


def test_curves_draw_every_part_of_the_loss_that_was_logged() -> None:
    alone = plots.curves([epoch(1), epoch(2)])
    assert list(alone) == ["Accuracy", "Task loss", "Learning rate"]
    taught = plots.curves([epoch(1, feature=0.1, response=4.0, contrast=1.0)])
    assert {"Feature loss", "Response loss", "Contrast loss", "Total loss"} < set(taught)
    several = plots.curves([epoch(1, feature_clip=0.1, feature_big=0.2, response_clip=4.0)])
    assert {"Feature loss, clip", "Feature loss, big", "Response loss, clip"} < set(several)
    assert plots.curves([]) == {}


def test_curves_mark_the_last_best_epoch_with_its_figure() -> None:
    drawn = plots.curves([epoch(1, best=True), epoch(2, best=True), epoch(3)])
    assert "40%" in texts(drawn["Accuracy"])
    assert "60%" not in texts(drawn["Accuracy"])
    assert "1.25" in texts(drawn["Task loss"])


def test_curves_survive_one_epoch_and_a_loss_that_is_no_number() -> None:
    drawn = plots.curves([epoch(1, response=float("nan"))])
    assert "Response loss" not in drawn
    assert "<use" in drawn["Accuracy"], "one epoch is a point, since a line of one is invisible"


def test_curves_take_all_colours_and_fonts_from_the_page_and_share_no_id() -> None:
    drawn = plots.curves([epoch(1, feature=0.1, response=4.0), epoch(2, feature=0.1, response=1.0)])
    ids: list[str] = []
    for drawing in drawn.values():
        assert not re.search(r"#[0-9a-f]{6}\b", drawing), "a fixed colour is wrong in dark mode"
        assert "var(--" in drawing
        assert "DejaVu" not in drawing
        assert "<style" not in drawing, "a style in inline SVG would apply to the whole page"
        own = re.findall(r'\bid="([^"]*)"', drawing)
        assert set(re.findall(r'href="#([^"]*)"', drawing)) <= set(own)
        assert set(re.findall(r"url\(#([^)]*)\)", drawing)) <= set(own)
        ids += own
        assert "epoch 1" in str(parse(drawing).get("aria-label"))
    assert len(ids) == len(set(ids)) > 0


def test_curves_leave_the_settings_of_matplotlib_alone() -> None:
    import matplotlib

    before = matplotlib.rcParams["svg.fonttype"], matplotlib.rcParams["svg.hashsalt"]
    plots.curves([epoch(1)])
    assert before == (matplotlib.rcParams["svg.fonttype"], matplotlib.rcParams["svg.hashsalt"])


def cells(drawing: str) -> list[str]:
    return [element.text or "" for element in parse(drawing).iter(f"{SVG}title")]


def test_confusion_writes_every_count_and_escapes_names() -> None:
    drawing = plots.confusion([[4, 1], [0, 7]], ["<b>", "sit & wait"])
    assert sorted(texts(drawing)) == sorted(["<b>", "<b>", "sit & wait", "sit & wait", *"417"])
    assert cells(drawing) == [
        "<b>, said <b>: 4 of 5",
        "<b>, said sit & wait: 1 of 5",
        "sit & wait, said sit & wait: 7 of 7",
    ]
    assert "11 of 12 right" in str(parse(drawing).get("aria-label"))


@pytest.mark.parametrize("count", [1, 2, 8, 24, 25, 100])
def test_confusion_keeps_names_inside_and_apart(count: int) -> None:
    matrix = [[3 if row == column else 0 for column in range(count)] for row in range(count)]
    drawing = plots.confusion(matrix, [f"a class of many, no. {i}" for i in range(count)])
    root = parse(drawing)
    size = float(str(root.get("font-size")))
    assert len(cells(drawing)) == count
    rows = [
        text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "end" and text.text
    ]
    assert len(rows) == count
    heights = [float(str(text.get("y"))) for text in rows]
    steps = [after - before for before, after in itertools.pairwise(heights)]
    assert all(step >= size for step in steps), "lines of text must not overlap"
    # A letter is about half as wide as it is high.
    widest = max(len(text.text or "") for text in rows) * size * 0.5
    assert all(float(str(text.get("x"))) >= widest for text in rows)
    assert max(heights) < float(str(root.get("height")))


def test_confusion_takes_classes_without_clips() -> None:
    assert cells(plots.confusion([[0, 0], [1, 0]], ["a", "b"])) == ["b, said a: 1 of 1"]


def test_confusions_are_sorted_by_how_often_they_happened() -> None:
    matrix = [[5, 1, 0], [3, 2, 0], [0, 1, 0]]
    assert plots.confusions(matrix, ["a", "b", "c"]) == [
        ("b", "a", 3, 5),
        ("c", "b", 1, 1),
        ("a", "b", 1, 6),
    ]


def places(drawing: str, tag: str, names: Sequence[str]) -> list[float]:
    return [
        float(str(element.get(name)).rstrip("%"))
        for element in parse(drawing).iter(f"{SVG}{tag}")
        for name in names
    ]


def test_interval_stands_where_its_numbers_are() -> None:
    drawing = plots.interval(0.5, 0.25, 1.0, reference=0.0)
    (dot,) = places(drawing, "circle", ["cx"])
    lines = places(drawing, "line", ["x1", "x2"])
    assert dot == pytest.approx(50)
    assert min(lines) == pytest.approx(2)
    assert lines.count(26.0) == 3, "the low end: of the line and of its whisker"
    assert lines.count(98.0) == 4, "the high end, and the end of the scale"


def test_interval_stays_inside_its_scale_and_may_have_zero_in_the_middle() -> None:
    drawing = plots.interval(2.0, -7.0, 9.0, scale=(-1, 1), reference=0)
    everything = places(drawing, "line", ["x1", "x2"]) + places(drawing, "circle", ["cx"])
    assert all(2 <= place <= 98 for place in everything)
    assert 50.0 in everything
