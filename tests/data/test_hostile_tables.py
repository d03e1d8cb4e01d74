"""Tables and folders of strangers: one message in little time, and nothing is written by halves."""

import errno
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.data.manifest import Manifest
from understudy.data.sources import csv_text, read_manifest, write_manifest
from understudy.data.sources.folder import from_folder
from understudy.errors import UserError
from understudy.record import Record


def deep(levels: int) -> pa.DataType:
    kind = pa.int64()
    for _ in range(levels):
        kind = pa.list_(kind)
    return kind


NOT_UTF8 = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff"))
CSV = {
    "a field without end": ("path,label\n" + "x" * 2**24, r"line 2 is longer than 16,777,216"),
    "a quote without end": ('path,label\n"' + "x\n" * 99_999, "field larger than field limit"),
    "a header without end": ("p" * 2**24, "line 1 is longer than"),
    "columns": (",".join(f"c{n}" for n in range(100_000)), "100,000 columns; a manifest has at"),
    "values": ("path,label\n" + "," * 10**6, "The manifest has no rows"),
    "a NUL": ("path,label\na\0b,x\n", r"Row 1: the path 'a\\x00b' is longer"),
    "a long path": (f"path,label\na,x\n{'b' * 5000},y\n", r"Row 2: the path 'b{60}\.\.\.' is"),
    "a long label": (f"path,label\na,{'x' * 5000}\n", r"Row 1 \(a\): the label 'x{60}\.\.\.' is"),
    "a long group": (f"path,label,group\na,x,{'g' * 5000}\n", "Row 1: the group 'g"),
    "a control character": ("path,label\na,x|\x1b[31my\n", r"Row 1 \(a\): the label '\\x1b\[31my'"),
}
PARQUET = {
    "lists": ({"path": [[1]]}, r"the column 'path' holds lists or structures; a man"),
    "lists in lists": ({"label": pa.array([None], deep(45))}, "the column 'label' holds lists or"),
    "too deep": ({"n": pa.array([None], deep(60))}, "no readable Parquet file: .* too deeply"),
    "structs": ({"path": [{"a": 1}]}, "the column 'path' holds lists or structures"),
    "no UTF-8": ({"path": NOT_UTF8}, "no readable Parquet file: path Invalid UTF8"),
    "bytes": ({"label": pa.array([b"\xff"])}, "no readable Parquet file: label Invalid UTF8"),
    "nothing": ({"label": pa.array([None])}, "None of 1 rows has a label"),
    "years": ({"when": pa.array([2**60], pa.timestamp("ms"))}, "no readable Parquet file: when"),
    "columns": ({f"c{n}": ["x"] for n in range(1001)}, "1,003 columns; a manifest has at most"),
}


@pytest.mark.parametrize("kind", CSV)
def test_a_csv_of_absurd_size_or_content_is_refused_at_once(tmp_path, kind):
    text, message = CSV[kind]
    (tmp_path / "t.csv").write_text(text)
    begun = time.process_time()
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(tmp_path / "t.csv")
    assert time.process_time() - begun < 2
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", PARQUET)
def test_a_parquet_file_of_absurd_types_is_refused_at_once(tmp_path, kind):
    more, message = PARQUET[kind]
    pq.write_table(pa.table({"path": ["a"], "label": ["x"]} | more), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(tmp_path / "t.parquet")
    assert len(str(caught.value)) < 500


def test_a_value_that_fills_memory_is_no_path(tmp_path):
    columns = {"path": ["a" * 5_000_000, "b"], "label": ["x", "y"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", compression="zstd")
    assert (tmp_path / "t.parquet").stat().st_size < 100_000
    with pytest.raises(UserError, match="Row 1: the path 'aaa"):
        read_manifest(tmp_path / "t.parquet")


def test_neighbouring_folders_are_no_columns(tmp_path):
    """Arrow would read `label=x/` in a path as a column of the table."""
    (tmp_path / "label=x").mkdir()
    columns = {"path": ["a", "b"] * 5, "label": ["y", "z"] * 5, "group": [*"aabbccddee"]}
    columns["path"] = [f"{n}.mp4" for n in range(10)]
    pq.write_table(pa.table(columns), tmp_path / "label=x" / "t.parquet")
    assert read_manifest(tmp_path / "label=x" / "t.parquet").classes == ("y", "z")


# What is no file


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "folder"])
def test_a_fifo_is_no_manifest(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=f"{name} is a FIFO; a manifest is"):
        read_manifest(tmp_path / name)


@pytest.mark.timeout(10)
def test_what_is_no_file_is_no_clip(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(4):
            (tmp_path / label / f"{number}.mp4").touch()
    os.mkfifo(tmp_path / "a" / "fifo.mp4")
    (tmp_path / "a" / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "a" / "folder.mp4").mkdir()
    found = from_folder(tmp_path)
    assert len(found) == 8
    assert set(found.ignored) == {"a/fifo.mp4", "a/device.mp4"}


# Links


def linked(folder: Path) -> Path:
    for label in "ab":
        (folder / label / "deep").mkdir(parents=True)
        for number in range(4):
            (folder / label / "deep" / f"{number}.mp4").touch()
    (folder / "a" / "up").symlink_to(folder)
    (folder / "a" / "self").symlink_to(folder / "a")
    (folder / "a" / "deep" / "twice").symlink_to(folder / "a" / "deep")
    (folder / "a" / "to_b").symlink_to(folder / "b")
    (folder / "b" / "to_a").symlink_to(folder / "a")
    (folder / "round").symlink_to(folder / "round")
    return folder


@pytest.mark.timeout(10)
def test_loops_of_links_are_walked_once(tmp_path):
    manifest = from_folder(linked(tmp_path))
    assert [(row.path, row.label) for row in manifest.records] == [
        (f"{label}/deep/{number}.mp4", label) for label in "ab" for number in range(4)
    ]
    assert "8 links lead to clips that are there already" in manifest.notes[0]


def test_folders_without_end_are_refused(tmp_path):
    place = tmp_path / "a"
    for _ in range(120):
        place /= "b"
    place.mkdir(parents=True)
    with pytest.raises(UserError, match="more than 100 folders deep"):
        from_folder(tmp_path)


@pytest.mark.skipif(os.sep != "/", reason="a file system that takes any bytes for a name")
@pytest.mark.parametrize("name", [b"a/\xff.mp4", b"\xff/a.mp4"])
def test_names_that_are_no_utf8_are_refused(tmp_path, name):
    path = os.fsencode(tmp_path) + b"/" + name
    os.makedirs(os.path.dirname(path))
    with open(path, "w"):
        pass
    with pytest.raises(UserError, match=r"'.*\\udcff.*' is no text in UTF-8. Rename it"):
        from_folder(tmp_path)


# Whole or not at all


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    records = [Record(f"{n}.mp4", "ab"[n % 2], "train", f"{n}") for n in range(6)]
    return Manifest.from_records(records, tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_full_disk_leaves_the_old_table_and_nothing_else(tmp_path, manifest, monkeypatch, suffix):
    out = tmp_path / f"t.{suffix}"
    out.write_text("before")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("understudy.data.whole_files.os.replace", full)
    with pytest.raises(UserError, match=r"t\.\w+ cannot be written: No space left on device"):
        write_manifest(manifest, out)
    with pytest.raises(UserError, match="cannot be written"):
        write_manifest(manifest, tmp_path / "new" / "folder" / f"t.{suffix}")
    assert out.read_text() == "before"
    assert os.listdir(tmp_path) == [out.name]


def test_where_a_table_may_be_written(tmp_path, manifest):
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "null.csv").symlink_to("/dev/null")
    for name, kind in (("fifo.csv", "a FIFO"), ("null.csv", "a device")):
        with pytest.raises(UserError, match=f"{name} is {kind}; name a file to write"):
            write_manifest(manifest, tmp_path / name)
    with pytest.raises(UserError, match=r"written as \.csv or \.parquet"):
        write_manifest(manifest, tmp_path / "new" / "t.txt")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    write_manifest(manifest, tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("path,label")


@pytest.mark.parametrize("name", ["2026-01-01T12:30:00.csv", "a:b.parquet", "file:x.parquet"])
def test_a_table_may_have_a_colon_in_its_name(tmp_path, manifest, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_manifest(manifest, Path(name))
    assert len(read_manifest(Path(name))) == 6


def test_an_ordinary_row_may_be_long(tmp_path):
    """Text of further columns is kept, however much there is of it."""
    text = "word " * 20_000
    (tmp_path / "t.csv").write_text(f"path,label,note\na,x,{text}\nb,y,\n")
    assert csv_text.read_csv(tmp_path / "t.csv")["note"][0].as_py() == text.strip()
