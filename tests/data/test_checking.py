"""Checks of whole columns say what a walk over the rows would say."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.manifest import Manifest, check_manifest, labels_of
from understudy.errors import UserError
from understudy.types import Record


def walk(records: list[Record]) -> str:
    """How the message about these rows begins; empty where nothing is wrong with them."""
    if not records:
        return "The manifest has no rows."
    for number, row in enumerate(records, start=1):
        if not row.path:
            return f"Row {number} has no path."
        if not all(labels_of(row)):
            return f"Row {number} ({row.path}) has an empty label."
        if not labels_of(row) and row.split != "train":
            return f"Row {number} ({row.path}) has no label and is in split {row.split}. A"
        if row.start_s is not None and row.end_s is not None and row.end_s <= row.start_s:
            return (
                f"Row {number} ({row.path}) ends at {row.end_s} s, before it starts at "
                f"{row.start_s} s."
            )
    clips = Counter((row.path, row.start_s, row.end_s) for row in records)
    twice = [path for (path, _, _), count in clips.items() if count > 1]
    if twice:
        return f"{len(twice)} clips stand in the manifest more than once: {some(twice)} Keep"
    labelled = [labels_of(row) for row in records if labels_of(row)]
    classes = {label for labels in labelled for label in labels}
    if not classes:
        return f"None of {len(records)} rows has a label; a"
    if len(classes) == 1:
        return f"All {len(labelled)} clips have the label {classes.pop()!r}; a"
    for row in records:
        if row.split not in ("train", "val", "test"):
            return f"{row.path} is in split {row.split!r}; a split is train, val or test."
    splits: dict[str, set[str]] = {}
    for row in records:
        splits.setdefault(row.group, set()).add(row.split)
    shared = sorted(group for group, found in splits.items() if len(found) > 1)
    if shared:
        named = [f"{group} ({', '.join(sorted(splits[group]))})" for group in shared]
        return (
            "Groups that stand in more than one split make figures too good; here are "
            f"{len(shared)}: {some(named)} Correct"
        )
    return ""


def some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}."


def moments(most: float):
    return st.sampled_from([None, 0.0, 0.5, most])


def rows_of(paths: int, labels: list, splits: list[str], groups: int):
    row = st.builds(
        Record,
        path=st.integers(0, paths).map(lambda n: f"{n}.mp4" if n else ""),
        label=st.sampled_from(labels),
        split=st.sampled_from(splits),
        group=st.integers(0, groups).map(lambda n: f"é{n}"),
        start_s=moments(1.0),
        end_s=moments(2.0),
    )
    return st.lists(row, max_size=40)


def test_every_message_is_that_of_a_walk_over_the_rows():
    met = Counter()
    splits = ["train", "val", "test"]

    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(
        rows_of(3, ["a", "b", "", None], splits, 3)
        | rows_of(2000, ["a"], splits, 3)
        | rows_of(2000, ["a", "b"], splits, 9)
        | rows_of(2000, ["a", None], ["train"], 9)
        | rows_of(2000, [None], splits, 9)
        | rows_of(2000, ["a", "b"], [*splits, "tain"], 2000)
        | rows_of(2000, [("a",), ("a", "b"), ("b", ""), ()], splits, 2000)
        | rows_of(60, ["a", "b"], splits, 9)
    )
    def compare(records):
        # Times that end before they start would hide everything else in most lists.
        kept = [r for n, r in enumerate(records) if n % 7 == 0 or (r.path and not backwards(r))]
        expected = walk(kept)
        try:
            check_manifest(Manifest.from_records(kept, Path("/media")))
            found = ""
        except UserError as error:
            found = str(error)
        assert found.startswith(expected)
        assert bool(found) == bool(expected)
        met[expected.partition(" ")[0] if expected else "right"] += 1

    compare()
    assert {"The", "Row", "All", "None", "Groups", "right"} <= set(met), met


def backwards(row: Record) -> bool:
    return row.start_s is not None and row.end_s is not None and row.end_s <= row.start_s


def test_duplicates_and_shared_groups_are_counted_and_five_are_named():
    twice = [Record(f"{n % 8}.mp4", "ab"[n % 2], "train", f"g{n % 8}") for n in range(16)]
    shared = [
        Record(f"{n}.mp4", "ab"[n % 2], ("train", "val")[n // 8], f"g{n % 8}") for n in range(16)
    ]
    for records, named in ((twice, "0.mp4, 1.mp4"), (shared, "g0 (train, val), g1 (train, val)")):
        with pytest.raises(UserError, match="and 3 more") as refused:
            check_manifest(Manifest.from_records(records, Path("/media")))
        assert str(refused.value).startswith(walk(records))
        assert named in str(refused.value)


def test_a_file_named_like_a_part_of_another_is_refused():
    """Clips are told apart by their ids, so two must not share one."""
    records = [
        Record("a.mp4", "sit", "train", "x", 1.0, 2.0),
        Record("a.mp4#t=1,2", "run", "train", "y"),
    ]
    with pytest.raises(UserError, match=r"more than once: a\.mp4"):
        check_manifest(Manifest.from_records(records, Path("/media")))


@pytest.mark.parametrize("label", ["unknown", "Unknown", " UNKNOWN", "warming up"])
def test_what_streams_say_without_a_label_is_no_class(label):
    records = [
        Record("a.mp4", "wave", "train", "a"),
        Record("b.mp4", (label, "wave"), "train", "b"),
    ]
    with pytest.raises(UserError, match=r"called '.*', which is reserved.*Rename the label"):
        check_manifest(Manifest.from_records(records, Path()))
    records[1] = Record("b.mp4", f"{label} person", "train", "b")
    check_manifest(Manifest.from_records(records, Path()))
