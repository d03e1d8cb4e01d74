"""Data sets as people really have them: what becomes of each, in this version and an earlier one.

    python benchmarks/odd_inputs.py [--odd FOLDER] [--before CHECKOUT]

Tables, folders and exports are made here, and the files of a folder of odd media are read where one
is named. Each goes through the command line, or the reader, in a process of its own. "right" is the
manifest that was meant, or frames as they are; "refused" is exit code 2 and a message that names
the mend, where that is right too. Prints a table, writes results/odd_inputs_<date>.csv, and exits
with 1 where this version is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from campaigns.odd_cases import CASES, Case, read_rows
from campaigns.odd_media import MEDIA, READ
from dated import dated_path, write_rows
from understudy.ship.bench import where_and_when

FINE = ("right", "refused")
HERE = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--odd", type=Path, help="a folder of odd media")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    versions = {"after": HERE / "src"}
    if options.before is not None:
        versions = {"before": options.before.resolve() / "src", **versions}
    rows = []
    for case in CASES:
        if options.only in case.name:
            rows.append({"input": case.name} | told(lambda src, c=case: of_case(c, src), versions))
    for path in [options.odd.resolve() / name for name in MEDIA] if options.odd else ():
        if options.only in path.name:
            name = path.name
            rows.append({"input": name} | told(lambda src, p=path: of_media(p, src), versions))
    context = where_and_when()
    if not options.only:
        path = dated_path("odd_inputs", options.out, context)
        write_rows(path, rows)
        print(path)
    for version in versions:
        fine = sum(row[version] in FINE for row in rows)
        print(f"{version}: {fine} of {len(rows)} right or refused in words")
    sys.exit(any(row["after"] not in FINE for row in rows))


def told(ask, versions: dict[str, Path]) -> dict[str, str]:
    """What became of one input in each version, with the message or the fault."""
    row = {}
    for version, source in versions.items():
        row[version], row[f"{version}_says"] = ask(source)
    print(" | ".join(row.values()), flush=True)
    return row


def of_case(case: Case, source: Path) -> tuple[str, str]:
    """The outcome of a case, and what was said."""
    with tempfile.TemporaryDirectory(prefix="odd-") as name:
        folder = Path(name) / "data"
        folder.mkdir()
        out = Path(name) / "out.csv"
        argv = [str(out) if one == "OUT" else one for one in case.make(folder)]
        ended = call(["-m", "understudy", *argv], source)
        said = ended.stderr.strip().replace(name, "")
        if ended.returncode == 2 and "Traceback" not in said:
            named = any(word in said for word in case.mends)
            return ("refused" if named else "no mend"), said[:200]
        if ended.returncode != 0:
            return "crashed", said[-200:]
        rows = read_rows(out)
        if case.right(rows) and all((out.parent / row["path"]).exists() for row in rows):
            return "right", ""
        shown = [tuple(row.values()) for row in rows[:2]]
        return "wrong", f"exit code 0, {len(rows)} rows, {shown}".replace(name, "")[:200]


def of_media(path: Path, source: Path) -> tuple[str, str]:
    """The outcome of reading one file, and what was said."""
    ended = call(["-c", READ, str(path)], source)
    if ended.returncode != 0:
        return "crashed", ended.stderr.strip()[-200:]
    seen = json.loads(ended.stdout)
    is_right, mends = MEDIA[path.name]
    if "error" in seen:
        said = seen["error"].replace(str(path.parent), "")
        return ("refused" if any(word in said for word in mends) else "no mend"), said[:200]
    if is_right(seen):
        return "right", ""
    return "wrong", f"{len(seen['streamed'])} frames {seen['size']} {seen['seconds']:.2f} s"


def call(arguments: list[str], source: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )


if __name__ == "__main__":
    main()
