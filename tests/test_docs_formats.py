"""The table of runtimes on the page of exports is the newest committed one."""

import csv
from pathlib import Path

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


def newest() -> list[dict[str, str]]:
    path = max((ROOT / "results").glob("formats_2*.csv"))
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table() -> list[str]:
    rows = {(row["model"], row["graph"], row["format"]): row for row in newest()}
    lines = []
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


def test_the_table_of_runtimes_is_the_newest() -> None:
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    given = page.split("<!-- formats table: start -->")[1].split("<!-- formats table: end -->")[0]
    assert given.strip().splitlines() == [TITLES, "|---" * 9 + "|", *table()]


def test_every_export_gave_what_its_model_gives() -> None:
    rows = [row for row in newest() if row["format"] != "torch"]
    assert {row["model"] for row in rows} <= set(list_models())
    for row in rows:
        assert float(row["clip_difference"]) <= 1e-4, row
        assert float(row["stream_difference"]) <= 1e-4, row
        assert float(row["agreement"]) == 1, row
