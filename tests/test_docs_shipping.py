"""The tables of runtimes and of INT8 on the pages are the newest committed ones."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.models import list_models

ROOT = Path(__file__).parent.parent
RUNTIMES = ("onnx", "litert", "executorch")
COLUMNS = (
    "model",
    *("a clip: ONNX Runtime", "LiteRT", "ExecuTorch"),
    *("a new frame: ONNX Runtime", "LiteRT", "ExecuTorch"),
    *("largest difference: clips", "stream"),
)
TITLES = f"| {' | '.join(COLUMNS)} |"


def newest(name: str) -> list[dict[str, str]]:
    path = max((ROOT / "results").glob(f"{name}_2*.csv"))
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def runtimes() -> list[str]:
    rows = {(row["model"], row["graph"], row["format"]): row for row in newest("formats")}
    lines = [TITLES, "|---" * 9 + "|"]
    for model in dict.fromkeys(name for name, *_ in rows):
        clips = [
            "{:.2f} [{:.2f}, {:.2f}]".format(
                *(
                    float(rows[model, "clip", one][key])
                    for key in ("ratio", "ratio_low", "ratio_high")
                )
            )
            for one in RUNTIMES
        ]
        frames = [f"{float(rows[model, 'step', one]['ratio']):.2f}" for one in RUNTIMES]
        worst = [
            f"{max(float(rows[model, 'clip', one][key]) for one in RUNTIMES):.1e}"
            for key in ("clip_difference", "stream_difference")
        ]
        lines.append(f"| `{model}` | {' | '.join([*clips, *frames, *worst])} |")
    return lines


def shipped() -> list[str]:
    lines = ["| run | runtime | reads | shipped | time over FP32 | points of accuracy | bytes |"]
    lines.append("|---" * 7 + "|")
    for row in newest("int8"):
        if row["shipped"] != "True":
            continue
        time, points = "", ""
        if row["recipe"] != "fp32":
            time = interval(row, ("ratio", "ratio_low", "ratio_high"), ".2f")
            points = interval(row, ("difference_points", "low_points", "high_points"), "+.1f")
        names = f"{row['run']} | {row['format']} | {row['graph']} | {row['recipe']}"
        lines.append(f"| {names} | {time} | {points} | {float(row['bytes_ratio']):.2f} |")
    return lines


def interval(row: dict[str, str], keys: tuple[str, str, str], form: str) -> str:
    return "{:{f}} [{:{f}}, {:{f}}]".format(*(float(row[key]) for key in keys), f=form)


@pytest.mark.parametrize(
    ("page", "name", "table"), [("export", "formats", runtimes), ("int8", "int8", shipped)]
)
def test_a_table_on_a_page_is_the_newest(
    page: str, name: str, table: Callable[[], list[str]]
) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    given = text.split(f"<!-- {name} table: start -->")[1].split(f"<!-- {name} table: end -->")[0]
    assert given.strip().splitlines() == table()


def test_every_export_gave_what_its_model_gives() -> None:
    rows = [row for row in newest("formats") if row["format"] != "torch"]
    assert {row["model"] for row in rows} <= set(list_models())
    for row in rows:
        assert float(row["clip_difference"]) <= 1e-4, row
        assert float(row["stream_difference"]) <= 1e-4, row
        assert float(row["agreement"]) == 1, row
