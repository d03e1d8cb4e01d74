"""Which file a table's path means, how its text is written, and that no table is written over."""

import pytest
from typer.testing import CliRunner

from understudy.cli.data import data_app
from understudy.data.sources.table import from_table
from understudy.errors import UserError

ROWS = "path,label\na.mp4,run\nb.mp4,sit\n"


@pytest.fixture
def write(tmp_path):
    def make(text: str | bytes, name: str = "t.csv", media: tuple[str, ...] = ()):
        for one in media:
            (tmp_path / one).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / one).touch()
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / name

    return make


def paths(place) -> list[str]:
    return from_table(place).columns.path.to_pylist()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\ufeff" + ROWS, "t.csv"),
        (ROWS.replace(",", ";"), "t.csv"),
        (ROWS.replace(",", "\t"), "t.tsv"),
        (ROWS, "T.CSV"),
        ("sep=,\n" + ROWS, "t.csv"),
        ("sep=;\r\n" + ROWS.replace(",", ";").replace("\n", "\r\n"), "t.csv"),
        (ROWS.replace("\n", ",,\n") + ",,,\n,,,\n", "t.csv"),
        (ROWS.encode("utf-16"), "t.csv"),
        (ROWS.encode("utf-16-le"), "t.csv"),
        (ROWS.encode("utf-32"), "t.csv"),
    ],
)
def test_tables_are_read_as_programs_write_them(write, text, name):
    manifest = from_table(write(text, name))
    assert manifest.columns.path.to_pylist() == ["a.mp4", "b.mp4"]
    assert manifest.classes == ("run", "sit")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROWS.replace("run", "sp\xe4t").encode("cp1252"), "UTF-8"),
        (b"PK\x03\x04 a workbook", "save it as CSV"),
        ("path,label\nhttps://a.org/a.mp4,run\nb.mp4,sit\n", "is an address"),
        ("path,label\nC:\\clips\\a.mp4,run\nb.mp4,sit\n", "a Windows machine"),
    ],
)
def test_what_cannot_be_read_names_the_mend(write, content, message):
    with pytest.raises(UserError, match=message):
        from_table(write(content))


def test_a_file_has_one_spelling(write, tmp_path):
    place = write(
        f"path,label\n./x/../x/a.mp4,run\nx\\b.mp4,sit\nx//c.mp4,run\n{tmp_path}/x/d.mp4,sit\n",
        media=("x/a.mp4", "x/b.mp4", "x/c.mp4", "x/d.mp4"),
    )
    assert paths(place) == ["x/a.mp4", "x/b.mp4", "x/c.mp4", "x/d.mp4"]
    assert "1 paths with backslashes" in " ".join(from_table(place).notes)


def test_paths_that_lead_out_of_the_folder_are_said(write):
    place = write("path,label\n../other/a.mp4,run\n/data/b.mp4,sit\nc.mp4,run\n")
    [note] = [note for note in from_table(place).notes if "lead out" in note]
    assert note == "2 paths lead out of the table's folder, as ../other/a.mp4"


def test_names_without_a_suffix_are_found_or_refused(write):
    text = "video_id,label\na,run\nb,sit\n"
    assert paths(write(text, media=("x/a.mp4", "y/b.avi"))) == ["x/a.mp4", "y/b.avi"]
    with pytest.raises(UserError, match=r"1 names of video_id fit several files: a \("):
        from_table(write(text, media=("z/a.mp4",)))
    with pytest.raises(UserError, match=r"1 of 2 names of video_id: c\."):
        from_table(write(text.replace("a,run", "c,run"), "u.csv"))


def test_no_table_is_written_over_unasked(write):
    place = write(ROWS + "c.mp4,run\nd.mp4,sit\ne.mp4,run\nf.mp4,sit\n")
    out = place.with_name("out.csv")

    def call(*words: str) -> Exception | BaseException | None:
        return CliRunner().invoke(data_app, ["csv", str(place), *words]).exception

    assert call(str(out)) is None
    before = out.read_bytes()
    again = call(str(out))
    assert isinstance(again, UserError)
    assert "--overwrite" in str(again)
    assert out.read_bytes() == before
    assert call(str(out), "--overwrite") is None
    own = call(str(place), "--overwrite")
    assert "is what is read" in str(own)
