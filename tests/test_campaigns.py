"""The campaigns of benchmarks/: a sample of each holds, and each can tell when one does not."""

import importlib
import subprocess
import sys
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"

TRACEBACK = """epoch 1
Traceback (most recent call last):
  File "/x/src/understudy/cli/__init__.py", line 149, in main
    app()
  File "/x/src/understudy/data/stage/film.py", line 166, in write_video
    container.mux()
  File "av/error.pyx", line 3, in av.error
av.error.OSError: [Errno 28] No space left on device
"""
WHERE = """Fatal Python error: Cpu time limit
  File "/x/lib/yaml/composer.py", line 13 in compose
  File "/x/src/understudy/recipe/reading.py", line 42 in load_recipe
  File "/x/src/understudy/cli/__init__.py", line 149 in main
"""


@pytest.fixture
def campaigns(monkeypatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("forked", "mutate", "outcome")
    return {name: importlib.import_module(f"campaigns.{name}") for name in names}


@pytest.mark.parametrize(
    ("ended", "outcome", "place"),
    [
        ({"out": "walk 0.93\n"}, "right", ""),
        ({"code": 2, "err": "understudy: There is no run at x.\n"}, "refused", ""),
        ({"code": 2}, "crashed", "exit code 2"),
        ({"code": 1, "err": "understudy: x\n"}, "crashed", "exit code 1"),
        ({"code": 1, "err": TRACEBACK}, "crashed", "OSError in data/stage/film.py write_video"),
        ({"code": None, "signal": 11}, "crashed", "signal 11"),
        ({"code": None, "signal": 24, "hung": True, "err": WHERE}, "hung",
         "recipe/reading.py:42 load_recipe"),
        ({"out": "\x1b[2Jred\n"}, "wrong", "control characters reach the terminal"),
        ({"connections": ["connect x"]}, "wrong", "opens a connection: connect x"),
    ],
)  # fmt: skip
def test_what_came_of_a_call_is_told_from_how_it_ended(campaigns, ended, outcome, place):
    whole = {"code": 0, "signal": None, "out": "", "err": "", "seconds": 0.0, "grown_mb": 0.0,
             "hung": False, "changes": 0}  # fmt: skip
    found = campaigns["outcome"].of_call(campaigns["forked"].Ended(**whole | ended))
    assert found == (outcome, place)


def test_a_seed_breaks_a_file_in_one_way(campaigns):
    mutate = campaigns["mutate"]
    content, tree = bytes(range(200)), {"classes": ["a", "b"], "graphs": {"clip": {"file": "x"}}}
    for seed in range(50):
        broken, what = mutate.damage(content, Random(seed))
        assert (broken, what) == mutate.damage(content, Random(seed))
        other, said = mutate.damage_tree(tree, Random(seed))
        assert said
        assert repr(other) == repr(mutate.damage_tree(tree, Random(seed))[0])
    assert len({mutate.damage(content, Random(seed))[0] for seed in range(50)}) > 40
    assert tree == {"classes": ["a", "b"], "graphs": {"clip": {"file": "x"}}}


CHILDREN = """
import sys
from pathlib import Path
from campaigns.forked import Kill, Limits, run
from campaigns.outcome import of_call
import understudy.cli.data, understudy.data.sources as sources
here, words = Path(sys.argv[1]), ["data", "csv", "clips.csv", "out.csv"]
killed = run(words, here, kill=Kill(before_change=1))
assert (killed.signal, killed.changes) == (9, 1), killed
assert not (here / "out.csv").exists()
hung = run(words, here, limits=Limits(wall_s=0.05))
assert of_call(hung)[0] == "hung", hung
fine = run(words, here)
assert of_call(fine) == ("right", ""), fine
assert fine.changes and (here / "out.csv").exists()
def broken(*given):
    1 / 0
sources.write_manifest = broken
assert of_call(run([*words, "--overwrite"], here)) == (
    "crashed", "ZeroDivisionError in cli/data.py data_csv")
left = sorted(file.name for file in here.iterdir())
assert left == ["clips.csv", "out.csv"], left
"""


def test_a_child_can_be_killed_timed_and_watched(tmp_path):
    rows = "".join(f"{n}.mp4,{n % 2},{split},{n}\n" for n, split in
                   enumerate(("train", "train", "val", "val", "test", "test")))  # fmt: skip
    (tmp_path / "clips.csv").write_text("path,label,split,group\n" + rows, encoding="utf-8")
    run_script("-c", CHILDREN, str(tmp_path))


@pytest.mark.parametrize("name", ["chaos", "fuzz"])
def test_the_page_says_what_the_newest_table_says(campaigns, name):
    outcome = campaigns["outcome"]
    lines = outcome.summary(outcome.read(max((ROOT / "results").glob(f"{name}_2*.csv"))))
    assert len(lines) > 5
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert [line for line in lines if line not in text] == []


KILLS = (1, 3, 4, 13, 14, 28, 54)
PAIRS = (101, 117)
DISKS = (119, 128, 143, 147, 152)


@pytest.mark.slow
def test_a_sample_of_kills_pairs_and_disks_is_right_or_refused(tmp_path):
    cases = [str(case) for case in (*KILLS, *PAIRS, *DISKS)]
    run_script(str(BENCHMARKS / "chaos.py"), "--out", str(tmp_path), "--case", *cases)


@pytest.mark.slow
def test_a_sample_of_broken_files_is_right_or_refused(tmp_path):
    kinds = ["tables", "media", "runs", "recipes"]
    script = str(BENCHMARKS / "fuzz.py")
    run_script(script, "--out", str(tmp_path), "--cases", "60", "--kinds", *kinds)
    assert len(next(tmp_path.glob("*.csv")).read_text().splitlines()) > 30


def run_script(*words: str) -> None:
    """In a process of its own, which may fork; all that it says is shown where it fails."""
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=BENCHMARKS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
