"""Columns answer as a list of records would."""

import csv
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
from understudy.data.sources import csv_text, read_manifest, table, write_manifest
from understudy.errors import UserError
from understudy.types import Record

# Text of every kind that UTF-8 and a CSV file can hold; NUL is none that Python's csv module reads.
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
    assert [manifest.label_of(n) for n in range(len(rows))] == [row.label for row in rows]
    places = np.arange(len(rows))[::-1]
    assert manifest.groups(places) == [row.group for row in rows[::-1]]
    assert [manifest.group_of(n) for n in places] == manifest.groups(places)
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


# Tables


@settings(deadline=None)
@given(st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=20), st.booleans(), st.booleans())
def test_arrow_reads_a_csv_file_as_python_does(tmp_path_factory, lines, mark, windows):
    place = tmp_path_factory.mktemp("csv") / "t.csv"
    with place.open("w", newline="", encoding="utf-8-sig" if mark else "utf-8") as file:
        writer = csv.writer(file, lineterminator="\r\n" if windows else "\n")
        writer.writerow(["path", " label", "note, long"])
        writer.writerows(lines)
    fast = csv_text.read_csv(place)
    slow = csv_text._read_slowly(place)
    assert list(fast) == list(slow) == ["path", "label", "note, long"]
    for name in fast:
        assert fast[name].to_pylist() == slow[name].to_pylist()
    assert fast["path"].to_pylist() == [line[0].strip() for line in lines]


ODD = {
    "blank lines": "\n\npath,label\n\na,b\n\n\nc,d\n",
    "a quote inside": 'path,label\na"b"c,"d"e\n"f""g",h\n',
    "an open quote": 'path,label\na,b\nc,"d\n',
    "a line break inside": 'path,label\n"a\nb",c\n"d\r\ne",f\n',
    "old line ends": "path,label\ra,b\rc,d\r",
    "no last line end": "path,label\na,b",
    "blanks": " path ,\tlabel\n a , b \n\u3000c\u00a0,d\n",
    "missing words": "path,label\nNA,null\n,nan\n",
    "numbers": "path,label\n007,1e5\n1.0,true\n",
    "header in quotes": '"path","la\nbel"\na,b\n',
    "header alone": "path,label\n",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_odd_csv_files_are_read_alike(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode())
    fast = csv_text.read_csv(tmp_path / "t.csv")
    slow = csv_text._read_slowly(tmp_path / "t.csv")
    assert {name: values.to_pylist() for name, values in fast.items()} == {
        name: values.to_pylist() for name, values in slow.items()
    }


def test_an_ordinary_csv_file_is_read_by_arrow_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_text, "_read_slowly", None)
    (tmp_path / "t.csv").write_text('path,label\n"a,\n b",x\nc,y\n')
    assert csv_text.read_csv(tmp_path / "t.csv")["path"].to_pylist() == ["a,\n b", "c"]


def test_a_wrong_row_is_named_however_far_down_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_text, "_ROWS", 4)
    lines = ["path,label", *(f"{n},b" for n in range(30))]
    lines[23] = "x,y,z"
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="row 24: 3 values under 2 columns"):
        csv_text.read_csv(tmp_path / "t.csv")
    # What is no UTF-8 further down is told first: nothing else can be trusted then.
    (tmp_path / "t.csv").write_bytes("\n".join([*lines, "é,b"]).encode("latin-1"))
    with pytest.raises(UserError, match="no readable CSV file in UTF-8"):
        csv_text.read_csv(tmp_path / "t.csv")


@pytest.mark.parametrize("text", ["1_0", "+1.5", "１", "1e3", ".5", "5.", "007", "1e-400", "-0"])
def test_times_are_what_python_reads_as_numbers(tmp_path, text):
    (tmp_path / "t.csv").write_text(f"path,label,start_s\na,x,{text}\nb,y,\n", encoding="utf-8")
    manifest = table.from_table(tmp_path / "t.csv")
    assert manifest.records[0].start_s == float(text)
    assert manifest.records[1].start_s is None


@pytest.mark.parametrize("text", ["inf", "-1", "1e999", "NaN", "0x1", "infinity", "soon"])
def test_the_first_time_that_is_none_is_named(tmp_path, text):
    (tmp_path / "t.csv").write_text(f"path,label,end_s,start_s\na,x,1,\nb,y,{text},x\nc,z,x,x\n")
    with pytest.raises(UserError, match="row 3: 'x' is no time"):
        table.from_table(tmp_path / "t.csv")


def test_parquet_columns_of_other_types_are_read_as_python_writes_them(tmp_path):
    columns = {
        "path": pa.array([" a ", "b", "c"]).dictionary_encode(),
        "label": pa.array([1, 20, 3], pa.int8()),
        "start_s": pa.array([0.5, None, 2.0], pa.float32()),
        "end_s": pa.array([1, None, 3], pa.int64()),
        "half": pa.array([1.0, 1e16, None]),
        "yes": pa.array([True, None, False]),
        "text": pa.array(["é", None, " x"], pa.large_string()),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    manifest = table.from_table(tmp_path / "t.parquet")
    assert manifest.records == (
        Record("a", "1", "", "a", 0.5, 1.0),
        Record("b", "20", "", "b"),
        Record("c", "3", "", "c", 2.0, 3.0),
    )
    assert manifest.extras == {
        "half": ("1.0", "1e+16", ""),
        "yes": ("True", "", "False"),
        "text": ("é", "", "x"),
    }


@settings(deadline=None)
@given(
    st.lists(st.text(st.sampled_from("./aé"), min_size=1, max_size=9), min_size=1, max_size=12),
    st.sampled_from(["/media", "/media/a", "/media/a/é", "/", "/other"]),
)
def test_paths_are_written_as_pathlib_writes_them(paths, folder):
    manifest = Manifest.from_records([Record(p, "a", "", "g") for p in paths], Path("/media"))
    expected = []
    for row in range(len(paths)):
        path = manifest.path_of(row)
        below = path.relative_to(folder) if path.is_relative_to(folder) else path
        expected.append(below.as_posix())
    assert table._relative(manifest, Path(folder)).to_pylist() == expected


def test_progress_names_every_stage_and_the_rows(tmp_path):
    lines = [f"{n}.mp4,{'ab'[n % 2]},g{n // 4}" for n in range(1200)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,group", *lines]) + "\n")
    told: list[str] = []
    read_manifest(tmp_path / "t.csv", progress=told.append)
    assert [line.partition(f" of {tmp_path}")[0] for line in told] == [
        "reading about 1,200 rows",
        "checking 1,200 rows",
        "splitting 1,200 rows of 300 groups",
    ]
    pq.write_table(pa.table({"path": ["a"], "label": ["b"]}), tmp_path / "t.parquet")
    assert table.about_rows(tmp_path / "t.parquet") == 1
    assert table.about_rows(tmp_path) == table.about_rows(tmp_path / "none.csv") == 0
