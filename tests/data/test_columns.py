"""Columns answer as a list of records would."""

import hashlib
import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data import columns as columns_module
from understudy.data.columns import Text, distinct
from understudy.data.manifest import Manifest, check_manifest, labels_of
from understudy.data.sources import read_manifest, write_manifest
from understudy.errors import UserError
from understudy.types import Record

TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r") | st.sampled_from('",\n\\ é|\x7f'),
    max_size=8,
)
SECONDS = st.none() | st.floats(0, 1e9) | st.sampled_from([0.0, 1e-7, 2.0, 0.1, 1e300])
NAMES = st.sampled_from(["a", "b", "ü x", "0"])


def records(labels):
    return st.lists(
        st.builds(
            Record,
            path=TEXT,
            label=labels,
            split=st.sampled_from(["train", "val", "test", "", "other"]),
            group=st.sampled_from(["ann", "bob", "é", '"'])
            | TEXT.filter(bool),  # an empty one becomes the path
            start_s=SECONDS,
            end_s=SECONDS,
        ),
        max_size=30,
    )


ANY = records(NAMES | st.none()) | records(
    st.sets(NAMES, max_size=3).map(lambda some: tuple(sorted(some)) or None) | st.just(("a",))
)


@settings(deadline=None)
@given(ANY)
def test_questions_are_answered_as_by_the_records(rows):
    manifest = Manifest.from_records(rows, Path("/media"))
    assert len(manifest) == len(manifest.records) == len(rows)
    assert manifest.records == tuple(rows)
    assert list(manifest.records) == rows
    assert manifest.records[1:-1:2] == tuple(rows[1:-1:2])
    assert [manifest.records[n - len(rows)] for n in range(len(rows))] == rows
    labels = [labels_of(row) for row in rows]
    assert manifest.classes == tuple(sorted({label for some in labels for label in some}))
    places = np.arange(len(rows))[::-1]
    assert manifest.groups(places) == [row.group for row in rows[::-1]]
    targets = [[manifest.classes.index(label) for label in some] for some in labels]
    if manifest.is_multi_label:
        assert [manifest.target_of(n) for n in range(len(rows))] == targets
    else:
        expected = [indices[0] if indices else -1 for indices in targets]
        assert [manifest.target_of(n) for n in range(len(rows))] == expected
        assert manifest.targets(places).tolist() == expected[::-1]
        assert manifest.targets(places).dtype == np.int64
    counts = Counter((row.split, label) for row in rows for label in labels_of(row))
    assert manifest.counts() == {
        split: {label: counts[split, label] for label in manifest.classes}
        for split in manifest.splits
    }
    assert set(manifest.splits) == {row.split for row in rows}
    for split in manifest.splits:
        held = [n for n, row in enumerate(rows) if row.split == split]
        assert manifest.rows(split) == held
        assert manifest.clip_counts()[split] == len(held)
        assert manifest.group_counts()[split] == len({rows[n].group for n in held})
    assert manifest.take(places).records == tuple(rows[::-1])


@settings(deadline=None)
@given(ANY)
def test_the_fingerprint_is_that_of_one_json_line_a_row(rows):
    """Runs keep it, so what is hashed must not change."""
    lines = (
        json.dumps((row.path, labels_of(row), row.split, row.group, row.start_s, row.end_s))
        for row in rows
    )
    expected = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    assert Manifest.from_records(rows, Path("/media")).fingerprint() == expected


def test_every_sign_that_json_escapes_is_escaped_in_what_is_hashed():
    rows = [Record(f"{chr(n)}x", "a", "train", "g") for n in range(0x180)]
    lines = (json.dumps((row.path, ["a"], "train", "g", None, None)) for row in rows)
    expected = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    assert Manifest.from_records(rows, Path("/media")).fingerprint() == expected


def test_a_fingerprint_does_not_depend_on_how_many_rows_are_written_at_a_time(monkeypatch):
    rows = [Record(f"{n}", ("a", "b")[: 1 + n % 2], "train", f"g{n}", n / 7) for n in range(50)]
    whole = Manifest.from_records(rows, Path("/media")).fingerprint()
    monkeypatch.setattr("understudy.data.identity._ROWS", 7)
    assert Manifest.from_records(rows, Path("/media")).fingerprint() == whole


@settings(deadline=None)
@given(ANY, st.booleans())
def test_an_arrow_table_gives_the_manifest_back(tmp_path_factory, rows, through_a_file):
    extras = {"camera": [f"é{n}" for n in range(len(rows))], "id": ["x"] * len(rows)}
    manifest = Manifest.from_records(rows, Path("/media"), extras)
    given = manifest.to_table()
    if through_a_file:
        place = tmp_path_factory.mktemp("arrow") / "m.parquet"
        pq.write_table(given, place)
        given = pq.read_table(place)
    assert given["id"].to_pylist() == [manifest.id_of(n) for n in range(len(rows))]
    assert given.schema.metadata[b"root"] == b"/media"
    again = Manifest.from_arrow(given, Path("/elsewhere"))
    assert again.records == manifest.records
    assert again.root == Path("/elsewhere")
    assert again.extras == extras
    assert again.classes == manifest.classes
    assert again.is_multi_label == manifest.is_multi_label
    assert again.fingerprint() == manifest.fingerprint()


def test_an_arrow_table_may_lack_all_but_path_and_label():
    given = pa.table({"path": ["a", "b"], "label": ["x|y", None]})
    assert Manifest.from_arrow(given, Path("/media")).records == (
        Record("a", ("x", "y"), "", "a"),
        Record("b", None, "", "b"),
    )
    given = given.append_column("group", pa.array([None, "g"]))
    given = given.append_column("split", pa.array(["val", None]))
    found = Manifest.from_arrow(given, Path("/media")).records
    assert [(row.group, row.split) for row in found] == [("a", "val"), ("g", "")]


def test_ids_are_media_fragments_and_no_two_clips_share_one():
    rows = [
        Record("a.mp4", "x", "train", "g"),
        Record("a.mp4", "x", "train", "g", 1.0, 2.5),
        Record("a.mp4", "y", "train", "g", None, 2.5),
        Record("a.mp4", "y", "train", "g", 1.0),
        Record("a.mp4", "y", "train", "g", 0.0, 1e-7),
        Record("a.mp4", "y", "train", "g", 0.1 + 0.2, 1e16),
    ]
    manifest = Manifest.from_records(rows, Path("/media"))
    check_manifest(manifest)
    assert manifest.ids().to_pylist() == [
        "a.mp4",
        "a.mp4#t=1,2.5",
        "a.mp4#t=,2.5",
        "a.mp4#t=1",
        "a.mp4#t=0,0.0000001",
        "a.mp4#t=0.30000000000000004,10000000000000000",
    ]
    assert manifest.id_of(-1) == manifest.ids()[5].as_py()


def test_zero_and_minus_zero_are_one_moment():
    rows = [Record("a", "xy"[n], "train", "g", start) for n, start in enumerate((0.0, -0.0))]
    with pytest.raises(UserError, match="more than once"):
        check_manifest(Manifest.from_records(rows, Path("/media")))


def test_a_pickled_manifest_is_the_same():
    """Worker processes are sent one."""
    rows = [Record(f"{n}.mp4", "ab"[n % 2], "train", f"g{n}", None, n + 1.0) for n in range(9)]
    manifest = Manifest.from_records(rows, Path("/media"), {"note": ["é"] * 9}, ["x.txt"])
    again = pickle.loads(pickle.dumps(manifest))
    assert again.records == manifest.records
    assert again.extras == manifest.extras
    assert (again.root, again.ignored) == (manifest.root, ("x.txt",))


def test_text_that_is_no_utf_8_is_named():
    with pytest.raises(UserError, match="no text in UTF-8"):
        Manifest.from_records([Record("\udcff.mp4", "a", "train", "g")], Path("/media"))


def test_a_text_column_is_equal_to_what_it_holds():
    text = Text(["a", "", "é"])
    assert text == ("a", "", "é") == text
    assert text == ["a", "", "é"]
    assert text != ("a", "", "e")
    assert text != ("a", "")
    assert text[1:] == ("", "é")
    assert text[-1] == "é"


@given(st.lists(st.integers(-5, 5)))
def test_distinct_numbers_are_sorted_and_once_each(numbers):
    assert distinct(np.array(numbers, np.int64)).tolist() == sorted(set(numbers))


def test_no_record_is_built_to_read_check_split_and_count(tmp_path, monkeypatch):
    lines = [f"{n}.mp4,{'abc'[n % 3]},g{n // 4}" for n in range(400)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,group", *lines]))

    def refuse(*args, **options):
        raise AssertionError("a Record was built")

    monkeypatch.setattr(columns_module, "Record", refuse)
    manifest = read_manifest(tmp_path / "t.csv")
    manifest.fingerprint()
    manifest.to_table()
    write_manifest(manifest, tmp_path / "again.csv")
    assert sum(manifest.clip_counts().values()) == 400
    with pytest.raises(AssertionError, match="a Record"):
        manifest.records[0]
