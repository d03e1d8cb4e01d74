"""`understudy data pack` with real worker processes."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from understudy.cli.data import data_app


@pytest.mark.slow
def test_the_verb_packs_goes_on_and_names_what_it_could_not(film, tmp_path):
    rows = ["path,label"]
    for number in range(3):
        film(f"{number}.mp4", 6 + number // 2, size=(48, 40))  # the first two are the same
        rows += [f"{number}.mp4,{'ab'[number % 2]}"]
    (tmp_path / "bad.mp4").write_text("no video")
    (tmp_path / "t.csv").write_text("\n".join([*rows, "bad.mp4,a"]) + "\n")
    words = ["pack", str(tmp_path / "t.csv"), str(tmp_path / "out"), "--size", "32"]
    done = CliRunner().invoke(data_app, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert "3 of 4 clips, 0.0 MB; 3 files packed now" in done.stdout
    assert "not packed: bad.mp4: no readable video" in done.stdout
    assert "3 files, 13 frames: about 0.0 MB to write" in done.stderr
    [shard] = Path(tmp_path / "out").glob("*.safetensors")
    assert 13 * 3 * 32 * 38 < shard.stat().st_size < 13 * 3 * 32 * 38 + 5000
