"""Groups from a column, a folder of the path, a pattern and neighbouring numbers, for any rows."""

from pathlib import Path

import pytest

from understudy.data.grouping import Grouping
from understudy.data.manifest import Manifest
from understudy.errors import UserError
from understudy.record import Record


def made(*paths: str, **extras: list[str]) -> Manifest:
    rows = [Record(path, "wave", "", group=path) for path in paths]
    return Manifest.from_records(rows, Path("/clips"), extras)


def groups(manifest: Manifest) -> list[str]:
    return [row.group for row in manifest.records]


def test_a_column_names_groups_and_a_row_without_one_stands_for_itself():
    manifest = made("a.mp4", "b.mp4", "c.mp4", signer=["ann", "", "ann"], take=["1", "2", "3"])
    found = Grouping(column="signer")(manifest)
    assert groups(found) == ["ann", "b.mp4", "ann"]
    assert found.notes == ("1 of 3 clips name no signer: each file is a group of its own.",)
    assert found.extras == manifest.extras


def test_a_column_that_tells_every_clip_apart_is_said_to_group_nothing():
    found = Grouping(column="take")(made("a.mp4", "b.mp4", take=["1", "2"]))
    assert "Every clip is a group of its own" in found.notes[0]


@pytest.mark.parametrize(
    ("level", "expected"), [(1, "wave"), (2, "ann"), (-1, "day 1"), (-2, "ann"), (3, "day 1")]
)
def test_a_folder_of_the_path_is_the_group(level, expected):
    for path in ("wave/ann/day 1/0.mp4", "/wave/ann/day 1/0.mp4", "../wave/ann/day 1/0.mp4"):
        assert groups(Grouping(level=level)(made(path, path))) == [expected] * 2


def test_parts_of_one_file_stay_in_one_block_of_neighbours():
    names = ("a", "b", "c", "a", "b", "c")
    rows = [Record(f"{n // 3}.mp4", label, "", "", n) for n, label in enumerate(names)]
    found = Grouping(neighbours=1)(Manifest.from_records(rows, Path("/clips")))
    assert groups(found) == ["from-0"] * 3 + ["from-1"] * 3
    rows[1], rows[2] = rows[2], rows[1]  # the labels of a file in no order
    found = Grouping(neighbours=1)(Manifest.from_records(rows, Path("/clips")))
    assert groups(found) == ["from-0"] * 3 + ["from-1"] * 3


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Grouping(column="singer"), r"no column 'singer'.*There: group, signer\. Did you mean sig"),
        (Grouping(column="empty"), "'empty' is empty"),
        (Grouping(level=3), r"wave/ann/0.mp4 has no such folder\. There: 1 wave, 2 ann; -1 is"),
        (Grouping(level=0), "no such folder"),
        (Grouping(level=-3), "no such folder"),
        (Grouping(level=1, column="signer"), "group_column and group_level both say"),
        (Grouping(pattern="(x)"), r"finds no group in wave/ann/0\.mp4"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(rule, message):
    extras = {"signer": ["ann", "ann"], "empty": ["", ""]}
    if rule.column == "empty":
        extras = {"empty": ["", ""]}
    elif rule.column:
        del extras["empty"]
    with pytest.raises(UserError, match=message):
        rule(made("wave/ann/0.mp4", "wave/ann/1.mp4", **extras))


def test_a_column_called_group_is_the_groups_that_are_there():
    manifest = made("a.mp4", "b.mp4")
    assert Grouping(column="group")(manifest) is manifest
    assert Grouping()(manifest) is manifest
