"""The verbs of `understudy data`: they answer at once, say what is missing, and leave no halves."""

import subprocess
import sys

QUICK = """
import sys
from understudy.cli.data import data_app
for words in (["folder", "tree", "f.csv"], ["csv", "f.csv", "o.parquet"], ["check", "o.parquet"]):
    data_app(words, standalone_mode=False)
slow = {"torch", "torchvision", "av", "scipy", "PIL"} & set(sys.modules)
assert not slow, slow
"""


def test_tables_are_read_without_loading_pytorch(tmp_path):
    for label in "ab":
        (tmp_path / "tree" / label).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "tree" / label / f"{number}.mp4").touch()
    done = subprocess.run(
        [sys.executable, "-c", QUICK], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("12 clips, 2 classes") == 3
