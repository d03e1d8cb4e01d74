"""Figures on the pages of experiments are those of the newest committed tables."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
Row = dict[str, str]


def newest(name: str) -> list[Row]:
    path = max((ROOT / "results").glob(f"{name}_2*.csv"))
    with path.open(encoding="utf-8", newline="") as file:
        next(file)  # date and machine
        return list(csv.DictReader(file))


def interval(row: Row, value: str, form: str = ".3f") -> str:
    numbers = [float(row[name]) for name in (value, "low", "high")]
    return "{:{f}} [{:{f}}, {:{f}}]".format(*numbers, f=form)


def transplant() -> Iterator[str]:
    for row in newest("transplant_test"):
        seeds = ", ".join(row["per_seed"].split())
        yield f"| {row['arm']} | {interval(row, 'top1')} | {seeds} |"
    for row in newest("transplant_differences"):
        yield f"| {row['arm']} | {row['minus']} | {interval(row, 'top1', '+.3f')} |"


def rvit() -> Iterator[str]:
    for row in newest("rvit_memory"):
        ratio, low, high = (float(row[name]) for name in ("ratio", "low", "high"))
        yield (
            f"{float(row['at_16']):.1f} MB | {float(row['at_1024']):.1f} MB | "
            f"{ratio:.3f} ({low:.3f} to {high:.3f}) |"
        )
    for row in newest("rvit_time"):
        yield f"| {interval(row, 'ratio')} |"
    for row in newest("rvit_attention"):
        yield f"| {interval(row, 'exponent', '.2f')} |"
    for row in newest("rvit_drift_trained"):
        if row["to_frame"] == "10000":
            value, low, _, high = row["accuracy"].strip("]").replace("[", "").split()
            yield f"| {row['precision']} | {row['way']} | "
            yield f"| {value} [{low}, {high}] |"


def streams() -> Iterator[str]:
    for row in newest("stream_labels"):
        if (row["way"], row["repeats"], row["smoothing_steps"]) == ("stream", "1", "1.0"):
            low, _, high = row["right_95"].split()
            yield f"{float(row['right']):.3f} [{low}, {high}]"


@pytest.mark.parametrize(
    ("page", "lines"), [("c3d", transplant), ("rvit", rvit), ("streaming", streams)]
)
def test_a_page_says_what_its_tables_say(page, lines):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    wanted = list(lines())
    assert len(wanted) > 5
    assert [line for line in wanted if line not in text] == []
