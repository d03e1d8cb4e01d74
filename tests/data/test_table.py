"""Arrow reads tables as Python would, and refuses them with the same words."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from understudy.cli import data as verbs
from understudy.data.manifest import Manifest
from understudy.data.sources import csv_text, read_manifest, table
from understudy.data.sources.dialect import dialect_of
from understudy.errors import UserError
from understudy.types import Record

# Text of every kind that UTF-8 and a CSV file can hold; NUL is none that Python's csv module reads.
TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r") | st.sampled_from('",\n\\ é|\x7f'),
    max_size=8,
)


@settings(deadline=None)
@given(st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=20), st.booleans(), st.booleans())
def test_arrow_reads_a_csv_file_as_python_does(tmp_path_factory, lines, mark, windows):
    place = tmp_path_factory.mktemp("csv") / "t.csv"
    with place.open("w", newline="", encoding="utf-8-sig" if mark else "utf-8") as file:
        writer = csv.writer(file, lineterminator="\r\n" if windows else "\n")
        writer.writerow(["path", " label", "note, long"])
        writer.writerows(lines)
    fast = csv_text.read_csv(place)
    slow = slowly(place)
    assert list(fast) == list(slow) == ["path", "label", "note, long"]
    for name in fast:
        assert fast[name].to_pylist() == slow[name].to_pylist()
    filled = [line for line in lines if any(value.strip() for value in line)]
    assert fast["path"].to_pylist() == [line[0].strip() for line in filled]


def slowly(place: Path) -> dict[str, pa.Array]:
    """As Python's csv module reads it."""
    header, columns = csv_text._read_slowly(place, dialect_of(place))
    return csv_text.without_blanks(place, header, columns, [])


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
    "numbers for names": "path,label,1,2020-01-01\na,b,007,2021-01-01\n",
    "header in quotes": '"path","la\nbel"\na,b\n',
    "header alone": "path,label\n",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_odd_csv_files_are_read_alike(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode())
    fast = csv_text.read_csv(tmp_path / "t.csv")
    slow = slowly(tmp_path / "t.csv")
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
    (tmp_path / "t.csv").write_text(f"path,label,end_s,start_s\na,x,1,\nb,y,{text},2\nc,z,-1,-1\n")
    with pytest.raises(UserError, match=f"row 3: '{text}' is no time"):
        table.from_table(tmp_path / "t.csv")


def test_zero_and_minus_zero_are_one_moment_in_a_table(tmp_path):
    (tmp_path / "t.csv").write_text("path,label,start_s,end_s\na,x,0,1\na,y,-0.0,1\nb,y,,\n")
    with pytest.raises(UserError, match="1 clips stand in the manifest more than once: a"):
        read_manifest(tmp_path / "t.csv")


def test_values_with_line_breaks_are_read_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_text, "_BLOCK", 64)
    lines = [f'"{n}\n\n,{n}",b' for n in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *lines]))
    monkeypatch.setattr(csv_text, "_read_slowly", None)
    found = csv_text.read_csv(tmp_path / "t.csv")["path"].to_pylist()
    assert found == [f"{n}\n\n,{n}" for n in range(60)]


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


@pytest.mark.parametrize(("rows", "said"), [(1199, False), (1200, True)])
def test_the_command_tells_the_progress_of_large_tables_alone(tmp_path, monkeypatch, rows, said):
    monkeypatch.setattr(verbs, "LARGE", 1200)
    lines = [f"{n}.mp4,{'ab'[n % 2]},g{n // 4}" for n in range(rows)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,group", *lines]) + "\n")
    words = ["csv", str(tmp_path / "t.csv"), str(tmp_path / "out.parquet")]
    done = CliRunner().invoke(verbs.data_app, words)
    assert done.exit_code == 0
    assert f"{rows} clips, 2 classes" in done.stdout
    stages = ("reading about 1,200 rows", "checking 1,200 rows", "splitting 1,200 rows")
    assert [stage in done.stderr for stage in stages] == [said] * 3
    assert not any(stage in done.stdout for stage in stages)
