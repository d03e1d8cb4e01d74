"""Rows, groups, classes and copies: all of it is listed, and nothing is refused at the first."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from understudy.cli.data import data_app
from understudy.data.check.findings import must_mend
from understudy.data.check.rows import to_drop, without
from understudy.data.check.verdict import check_data
from understudy.data.sources import read_manifest


def of(checked, kind):
    return [one for one in checked.findings if one.kind == kind]


def rows_of(*texts):
    """'a x train g' -> a row; the files need not be there."""
    return [tuple(text.split()) for text in texts]


def test_all_shared_groups_are_listed(table):
    path = table(*rows_of("1 x train g", "2 y train g", "3 x val g", "4 y val h", "5 x test h",
                          "6 y test i", "7 x train i", "8 y train j"))  # fmt: skip
    found = of(check_data(path, media=False), "shared_group")
    assert [(one.path, one.reason, one.rows, one.drop) for one in found] == [
        ("g", "clips: 2 in train, 1 in val", (0, 1, 2), (2,)),
        ("h", "clips: 1 in val, 1 in test", (3, 4), (3,)),
        ("i", "clips: 1 in train, 1 in test", (5, 6), (5,)),
    ] or [one.path for one in found] == ["g", "h", "i"]
    assert not of(check_data(path, media=False, allow_shared_groups=True), "shared_group")


def test_classes_that_a_split_lacks_and_imbalance(table):
    many = [f"m{n} x train g{n}" for n in range(20)]
    path = table(*rows_of(*many, "a y train a", "b x val b", "c z test c", "d x test d"))
    checked = check_data(path, media=False)
    assert {one.path for one in of(checked, "no_train_class")} == {"z"}
    assert {(one.path, one.reason) for one in of(checked, "no_class")} == {
        ("y", "val has no clip of it"), ("z", "val has no clip of it"),
        ("y", "test has no clip of it"),
    }  # fmt: skip
    [found] = of(checked, "imbalance")
    assert (found.path, found.reason) == ("y", "1 clips in train, where x has 20")


def test_a_table_with_a_fault_is_still_checked_for_the_rest(table, tmp_path):
    path = table(*rows_of("1 x trian g", "2 y val g", "3 x test h"))
    checked = check_data(path, media=False)
    [fault] = of(checked, "table")
    assert "Did you mean train?" in fault.reason
    assert len(of(checked, "missing")) == 3


@pytest.mark.usefixtures("here")
def test_the_same_frames_under_other_names(film, table, tmp_path, pattern):
    film("a.mp4", 12, picture=pattern(1), codec="libx264rgb", pixels="rgb24")
    shutil.copy(tmp_path / "a.mp4", tmp_path / "renamed.mp4")
    film("a.mkv", 12, picture=pattern(1), codec="libx264rgb", pixels="rgb24")  # other container
    film("b.mp4", 12, picture=pattern(2))
    path = table(*rows_of("a.mp4 x train a", "renamed.mp4 x test r", "a.mkv y train m",
                          "b.mp4 y test b"))  # fmt: skip
    checked = check_data(path)
    [leak] = of(checked, "leak")
    assert (leak.path, leak.beside, leak.drop) == ("renamed.mp4", "a.mp4", (0,))
    [labels] = of(checked, "two_labels")
    assert (labels.path, labels.reason) == ("a.mkv", "y here, x there")
    assert must_mend(checked.findings)
    kept = without(checked.manifest, to_drop(checked.findings))
    assert [record.path for record in kept.records] == ["renamed.mp4", "b.mp4"]


@pytest.mark.usefixtures("here")
def test_the_verb_answers_with_one_document_and_an_exit_code(film, table, tmp_path, pattern):
    names = [f"{n}.mp4" for n in range(6)]
    for number, name in enumerate(names):
        film(name, 6, picture=pattern(number))
    splits = ["train", "train", "val", "val", "test", "test"]
    rows = [(n, "xy"[i % 2], s, n) for i, (n, s) in enumerate(zip(names, splits, strict=True))]
    sound = table(*rows, name="sound.csv")
    done = CliRunner().invoke(data_app, ["check", str(sound)])
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "6 clips, 2 classes")
    assert done.stdout.splitlines()[-1] == "Nothing must be mended."
    broken = table(*rows, ("gone.mp4", "x", "train", "g"), name="broken.csv")
    clean = tmp_path / "clean.csv"
    words = ["check", str(broken), "--json", "--write-clean", str(clean)]
    done = CliRunner().invoke(data_app, words)
    content = json.loads(done.stdout)
    assert (done.exit_code, content["must_mend"]) == (1, True)
    [finding] = content["findings"]
    assert (finding["kind"], finding["path"], finding["drop"]) == (
        "missing",
        "gone.mp4",
        ["gone.mp4"],
    )
    assert [record.path for record in read_manifest(clean).records] == names
    done = CliRunner().invoke(data_app, words)
    assert "is there already" in str(done.exception)
