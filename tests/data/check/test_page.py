"""The page of a check, and the list that it gives back to the verb."""

import html
import json
import re

import pytest
from typer.testing import CliRunner

from understudy.cli.data import data_app
from understudy.data.sources import read_manifest


def check(*words):
    return CliRunner().invoke(data_app, ["check", *map(str, words)])


@pytest.mark.usefixtures("here")
def test_every_finding_is_on_the_page_with_its_pictures_and_what_to_drop(
    film, table, tmp_path, pattern
):
    for number in range(4):
        film(f"{number}.mp4", 8, picture=pattern(number))
    (tmp_path / "again.mp4").write_bytes((tmp_path / "1.mp4").read_bytes())
    (tmp_path / "<b>.mp4").touch()
    names = ["0.mp4", "1.mp4", "2.mp4", "3.mp4", "<b>.mp4", "again.mp4"]
    splits = ["train", "train", "val", "val", "test", "test"]
    rows = [(n, "xy"[i % 2], s) for i, (n, s) in enumerate(zip(names, splits, strict=True))]
    out = tmp_path / "check.html"
    done = check(table(*rows), "--out", out)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (1, str(out))
    page = out.read_text(encoding="utf-8")
    assert "its frames are those of a clip of train; it is in test" in page
    assert "&lt;b&gt;.mp4" in page
    assert "<b>.mp4" not in page
    assert not re.search(r"""(src|href)=["']?(http|//)""", page), "nothing is fetched"
    ticked = re.findall(r'data-drop="([^"]+)" checked', page)
    assert [json.loads(html.unescape(one)) for one in ticked] == [["<b>.mp4"], ["1.mp4"]]
    leak = page[page.index('id="leak"') :]
    assert leak.count("data:image/jpeg;base64,") == 2, "both clips are shown"
    assert "data:image" not in check_without_pictures(table(*rows), tmp_path)
    # The list goes back, with what the user thinks better.
    (tmp_path / "drop.txt").write_text("<b>.mp4\n2.mp4\n")
    words = ["--drop", tmp_path / "drop.txt", "--write-clean", tmp_path / "clean.csv"]
    assert check(table(*rows), *words).exit_code == 1
    kept = [record.path for record in read_manifest(tmp_path / "clean.csv").records]
    assert kept == ["0.mp4", "1.mp4", "3.mp4", "again.mp4"]
    (tmp_path / "drop.txt").write_text("elsewhere.mp4\n")
    words[-1] = tmp_path / "other.csv"
    assert "name no clip of the manifest" in str(check(table(*rows), *words).exception)
    assert not words[-1].exists()


def check_without_pictures(manifest, folder):
    check(manifest, "--out", folder / "plain.html", "--no-pictures")
    return (folder / "plain.html").read_text(encoding="utf-8").replace("data:,", "")
