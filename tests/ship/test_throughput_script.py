"""The throughput benchmark runs end to end, and its sums are sums."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "training_throughput.py"


@pytest.mark.slow
def test_the_script_measures_every_part(tmp_path: Path) -> None:
    settings = {"clips": 50, "size": 48, "frames": 2, "batch": 2, "rounds": 3, "threads": 1}
    arguments = [f"--{name}={value}" for name, value in settings.items()]
    subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, "--student=mobilenetv3", f"--out={tmp_path}"],
        check=True,
        capture_output=True,
    )
    (path,) = tmp_path.glob("training_throughput_*.csv")
    with path.open(encoding="utf-8") as file:
        rows = {row["part"]: row for row in csv.DictReader(file)}
    assert set(rows) == {
        "decode",
        "augment",
        "teacher",
        "student mobilenetv3",
        "first epoch, mobilenetv3",
        "later epochs, mobilenetv3",
    }
    for row in rows.values():
        assert 0 < float(row["low"]) <= float(row["clips_per_s"]) <= float(row["high"])
        assert row["hardware"]
        assert row["date"]
    slowest = min(float(rows[part]["clips_per_s"]) for part in ("decode", "augment", "teacher"))
    assert float(rows["first epoch, mobilenetv3"]["clips_per_s"]) < slowest
