"""How many small faults in judge/, teach/ and data/ their tests notice.

    python benchmarks/mutation.py [--folder judge ...] [--sample 100] [--seed 0] [--seconds 15]

mutmut makes a mutant of every operator, number, argument and condition inside functions. The score
is measured on a sample of them, the same for the same code and seed, as many from each folder.
Those that only reword a message are left out, and so is the embedded data set, whose pixels
promise nothing. Against a mutant run the tests of its own folder that call its function, quick ones
before slow ones until they take `--seconds`, so a survivor may still fall to a slower test. Prints
what share was noticed in each folder, with its 95% interval, and writes
results/mutation_<date>_<hardware>.csv, a row for each mutant. What was made stays in --work, where
a second call with new tests times those only.
"""

# pyright: reportMissingImports=false
# Only those who run it have mutmut.
from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPIED = ("src", "tests", "benchmarks", "docs", "results", "README.md", "pyproject.toml")
CONFIG = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/understudy/{folder}/*"]
do_not_mutate = ["src/understudy/data/stage/*"]
also_copy = ["benchmarks", "docs", "results", "README.md"]
process_isolation = "forkserver"
pytest_add_cli_args_test_selection = ["tests/{folder}", "--ignore-glob=tests/data/test_stage*.py"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
timeout_multiplier = 2
timeout_constant = 60
"""
# A fault need only be found, not told in its simplest form.
CONFTEST = """
from hypothesis import Phase, settings

settings.register_profile(
    "found", phases=[Phase.explicit, Phase.generate], derandomize=True, deadline=None
)
settings.load_profile("found")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    folders = ("judge", "teach", "data")
    parser.add_argument("--folder", nargs="+", choices=folders, default=folders)
    parser.add_argument("--sample", type=int, default=100, help="mutants of each folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=15, help="of tests for each mutant")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "mutation")
    parser.add_argument("--name", default="mutation", help="of the table")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run_inside(options)
        return
    # Not above: the process that makes mutants hands what it has imported on to their tests.
    from dated import dated_path, write_rows
    from understudy.judge.statistics import wilson
    from understudy.ship.bench import where_and_when

    rows = []
    for folder in options.folder:
        found = measure(folder, options)
        rows += found
        noticed = sum(row["result"] != "survived" for row in found)
        low, high = wilson(noticed, len(found))
        print(f"{folder}: {noticed} of {len(found)} noticed, {low:.0%} to {high:.0%}")
    where = where_and_when()
    path = dated_path(options.name, options.out, where)
    write_rows(path, [row | where for row in rows])
    print(f"Written to {path}")


def measure(folder: str, options: argparse.Namespace) -> list[dict[str, object]]:
    """The rows of one folder. mutmut works in the folder it is called in, so it gets a copy."""
    work = options.work.resolve() / folder
    work.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, work / name, dirs_exist_ok=True)
        else:
            shutil.copy2(ROOT / name, work / name)
    with (work / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(CONFIG.format(folder=folder))
    with (work / "tests" / "conftest.py").open("a", encoding="utf-8") as file:
        file.write(CONFTEST)
    # Processes that a test starts must find the mutants as well.
    paths = [str(work / "mutants" / "src"), str(ROOT / "benchmarks")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *sys.argv[1:], "--inside", folder]
    subprocess.run(command, cwd=work, env=env, check=True)
    return json.loads((work / "rows.json").read_text(encoding="utf-8"))


def run_inside(options: argparse.Namespace) -> None:
    """In the copy: make mutants, learn which tests reach which, run the sample."""
    from mutmut import __main__ as mutmut
    from mutmut.state import state

    Path("mutants").mkdir(exist_ok=True)
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.setup_source_paths()
    mutmut.create_mutants(options.workers)
    names = draw(options)
    mutmut.collect_or_load_stats(mutmut.get_mutant_runner(options.workers))
    seconds = state().duration_by_test
    for function, tests in state().tests_by_mangled_function_name.items():
        kept, spent = set(), 0.0
        for test in sorted(tests, key=lambda test: (seconds[test], test)):
            spent += seconds[test]
            if kept and spent > options.seconds:
                break
            kept.add(test)
        state().tests_by_mangled_function_name[function] = kept
    mutmut.save_stats()
    reached = state().tests_by_mangled_function_name
    # What was noticed once is noticed again: the code is the same, and tests have only been added.
    todo = [name for name in names if result_of(name, names[name][0]) != "killed"]
    mutmut._run([name for name in todo if reached.get(function_of(name))], options.workers)
    rows = []
    for name, (path, change) in names.items():
        result = result_of(name, path)
        rows.append(
            {
                "folder": options.inside,
                "file": str(path).removeprefix("src/understudy/"),
                "mutant": name.rpartition(".")[2],
                "change": change,
                # What no test calls is noticed by none.
                "result": "survived" if result in ("no tests", "not checked") else result,
                "seed": options.seed,
            }
        )
    Path("rows.json").write_text(json.dumps(rows), encoding="utf-8")


def function_of(name: str) -> str:
    return name.rpartition("__mutmut_")[0]


def result_of(name: str, path: Path) -> str:
    """What mutmut knows of a mutant."""
    from mutmut import __main__ as mutmut

    data = mutmut.SourceFileMutationData(path=path)
    data.load()
    return mutmut.status_by_exit_code[data.exit_code_by_key[name]]


def draw(options: argparse.Namespace) -> dict[str, tuple[Path, str]]:
    """The sample: by name, its file and what it changes, as a line before and after."""
    from mutmut import __main__ as mutmut

    found = {}
    for path in sorted(Path("src", "understudy", options.inside).rglob("*.py")):
        data = mutmut.SourceFileMutationData(path=path)
        data.load()
        found |= dict.fromkeys(data.exit_code_by_key, path)
    drawn: dict[str, tuple[Path, str]] = {}
    for name in random.Random(options.seed).sample(sorted(found), len(found)):
        lines = mutmut.get_diff_for_mutant(name, path=found[name]).splitlines()[2:]
        before, after = (
            " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
        )
        if not is_wording(before, after):
            drawn[name] = (found[name], f"{before} -> {after}")
        if len(drawn) == options.sample:
            break
    return drawn


def is_wording(before: str, after: str) -> bool:
    """Whether only strings of several words differ: what is said, not what is done."""
    sentence = re.compile(r'"[^"]* [^"]*"')
    return sentence.sub("", before) == sentence.sub("", after)


if __name__ == "__main__":
    main()
