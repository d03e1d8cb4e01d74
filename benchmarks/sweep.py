"""Every model in every format, clip and step: each test of a sweep, and how it ended.

    python benchmarks/sweep.py [--workers 2]

Runs the tests marked `sweep`, and those marked `sample`, which are the part of them that CI runs.
Writes results/sweep_<date>_<hardware>.csv, also when a test failed: a row for each test and case,
its result and its seconds. Ends as pytest ends.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from dated import dated_path, write_rows
from understudy.ship.bench import where_and_when

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="processes that share the tests")
    parser.add_argument("--out", type=Path, default=ROOT / "results", help="folder for the CSV")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "sweep.xml"
        command = [
            sys.executable, "-m", "pytest", "-m", "sweep or sample", "--timeout", "900",
            "--numprocesses", str(options.workers), "--junitxml", str(record),
        ]  # fmt: skip
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        rows = read(record)
    if rows:
        print(f"Written to {write(rows, options.out)}")
    sys.exit(code)


def read(record: Path) -> list[dict[str, str]]:
    """A row for each test in pytest's XML, in alphabetical order."""
    rows = []
    for case in ElementTree.parse(record).iter("testcase"):
        name, _, given = case.attrib["name"].partition("[")
        found = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        rows.append(
            {
                "file": case.attrib["classname"].removeprefix("tests.").replace(".", "/"),
                "test": name,
                "case": given.removesuffix("]"),
                "result": found[0] if found else "passed",
                "seconds": f"{float(case.attrib['time']):.1f}",
            }
        )
    return sorted(rows, key=lambda row: (row["file"], row["test"], row["case"]))


def write(rows: list[dict[str, str]], folder: Path) -> Path:
    where = where_and_when()
    path = dated_path("sweep", folder, where)
    write_rows(path, [row | where for row in rows])
    return path


if __name__ == "__main__":
    main()
