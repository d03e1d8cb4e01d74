"""Columns by other names and times in other units are the right ones, and said, or refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from understudy.cli.data import data_app
from understudy.data.folds import read_clips
from understudy.data.sources import read_manifest
from understudy.data.sources.table import from_table
from understudy.errors import UserError
from understudy.recipe import Data


@pytest.fixture
def table(tmp_path):
    def write(header: str, *rows: str):
        place = tmp_path / "t.csv"
        place.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return place

    return write


def times(manifest):
    return [(row.start_s, row.end_s) for row in manifest.records]


@pytest.mark.parametrize(
    ("header", "path", "label"),
    [
        ("video,class", "video", "class"),
        ("video_id,action", "video_id", "action"),
        ("clip,gloss", "clip", "gloss"),
        ("fileName,className", "fileName", "className"),
        ("File Path,Action Label", "File Path", "Action Label"),
        ("PATH,LABEL", "PATH", "LABEL"),
        ("image_path,category_id", "image_path", "category_id"),
    ],
)
def test_paths_and_labels_by_other_names_are_found_and_said(table, header, path, label):
    manifest = from_table(table(header, "a.mp4,run", "b.mp4,sit"))
    assert [row.path for row in manifest.records] == ["a.mp4", "b.mp4"]
    assert manifest.classes == ("run", "sit")
    assert manifest.notes == (f"columns by other names: path is {path}, label is {label}",)
    assert not manifest.extras


@pytest.mark.parametrize(
    "name", ["signer", "subject_id", "Person", "participantID", "source_video"]
)
def test_people_under_other_names_are_the_groups(table, name):
    manifest = from_table(table(f"path,label,{name}", "a.mp4,run,ann", "b.mp4,sit,bob"))
    assert [row.group for row in manifest.records] == ["ann", "bob"]
    assert f"group is {name}" in manifest.notes[0]


def test_splits_under_other_names(table):
    names = ["Training", "validation", "TEST", "Valid"]
    rows = [f"{n}.mp4,{'ab'[n % 2]},{names[n % 4]}" for n in range(8)]
    manifest = from_table(table("path,label,subset", *rows))
    assert manifest.splits == ("train", "val", "test")
    assert "splits by other names: Training is train, validation is val, TEST is test" in (
        " ".join(manifest.notes)
    )


def test_the_surest_name_is_taken_and_the_others_are_named(table):
    manifest = from_table(
        table("label,class,video_id,path,class_id,fps,note", "run,a,b,x.mp4,1,25,hello")
    )
    assert (manifest.records[0].path, manifest.records[0].label) == ("x.mp4", "run")
    assert manifest.notes == ("columns that are not used: class, video_id, class_id, fps, note",)
    assert list(manifest.extras) == ["class", "video_id", "class_id", "fps", "note"]


@pytest.mark.parametrize(
    ("header", "meaning", "column"),
    [
        ("path,class,action", "label", "class and action"),
        ("video,clip,label", "path", "video and clip"),
        ("path,label,signer,subject", "group", "signer and subject"),
        ("path,label,start,begin", "start_s", "start and begin"),
    ],
)
def test_two_columns_that_could_be_meant_are_refused_with_the_mapping(
    table, header, meaning, column
):
    place = table(header, ",".join(["1.mp4"] * (header.count(",") + 1)))
    with pytest.raises(UserError, match=f"{column} could each be it.*--column {meaning}="):
        from_table(place)
    chosen = column.split(" and ")[1]
    if meaning == "start_s":
        return  # 1.mp4 is no time
    found = from_table(place, {meaning: chosen})
    assert column.split(" and ")[0] in found.extras
    assert chosen not in found.extras


# Times

SAME = [(0.5, 1.5), (None, None), (62.0, 63.25)]


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("start,end", ("0.5,1.5", ",", "62,63.25"), "start is read as seconds"),
        ("time_start,time_end", ("0.5,1.5", ",", "62,63.25"), "time_start is read as seconds"),
        ("begin,stop", ("0.5,1.5", ",", "62,63.25"), "begin is read as seconds"),
        ("t_start,t_end", ("0.5,1.5", ",", "62,63.25"), "t_end is read as seconds"),
        ("from,to", ("0.5,1.5", ",", "62,63.25"), "to is read as seconds"),
        ("Start (s),End (s)", ("0.5,1.5", ",", "62,63.25"), "End (s) is read as seconds"),
        ("start_ms,end_ms", ("500,1500", ",", "62000,63250"), "read as milliseconds"),
        ("startTimeMs,endTimeMs", ("500,1500", ",", "62000,63250"), "read as milliseconds"),
        ("start,end", ("0:00.5,0:01.5", ",", "1:02,01:03.25"), "with clock times"),
        ("start,end", ("0.5s,1500 ms", ",", "62 sec,63.25 s"), "start is read as seconds"),
        ("start_timestamp,stop_timestamp", ("00:00:00.50,0:00:01.5", ",", "0:01:02,0:01:03.250"),
         "with clock times"),
        ("start_frame,end_frame,fps", ("5,15,10", ",,", "248,253,4"), "read as frames"),
        ("frame_start,frame_end,fps", ("5,15,10", ",,", "248,253,4"), "frame_end is read as"),
        ('start_s,end_s', ('"0,5","1,5"', ",", '62,"63,25"'), "with a decimal comma"),
        ("start_s,duration_s", ("0.5,1", ",", "62,1.25"), ""),
    ],
)  # fmt: skip
def test_times_are_read_in_their_unit_and_it_is_said(table, header, rows, said):
    asked = {"duration_s": "duration_s"} if "duration" in header else None
    manifest = from_table(
        table(f"path,label,{header}", *(f"{n}.mp4,a,{row}" for n, row in enumerate(rows))), asked
    )
    assert times(manifest) == SAME
    assert said in " ".join(manifest.notes)
    assert not manifest.extras
    assert all(name not in str(manifest.notes) for name in ("not used",))


def test_an_end_of_minus_one_is_the_last_frame(table):
    place = table("video_id,gloss,frame_start,frame_end", "a.mp4,book,26,-1", "b.mp4,run,1,26")
    assert times(from_table(place, {"fps": "25"})) == [(1.04, None), (0.04, 1.04)]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("start,end", "20,4000", "whole numbers .*: seconds, milliseconds or frames"),
        ("start,end,fps", "20,24,25", "frames per second beside them.*--column start_frame=start"),
        ("start_frame,end_frame", "20,40", "counts frames.*--column fps=25"),
        ("start_frame,end_frame,fps", "20,40,0", "'0' is no number of frames in a second"),
        ("start_frame,end_frame,fps", "20,40,", "'' is no number of frames in a second"),
        ("start_frame,end_frame,fps", "soon,40,25", "'soon' is no time in frames"),
        ("start,end", "0:75,1:20", "'0:75' is no time in seconds"),
        ("start_ms,end_ms", "0:15,1:20", "'0:15' is no time in milliseconds"),
        ("start,end", "00:00:10:12,00:00:12:00", "HH:MM:SS:FF"),
        ("start_s,end_s", '"1,500","2,500"', "thousands, or a decimal comma"),
        ("start,duration", "1.5,2.5", "'?duration'? looks like times.*--column duration_s=dura"),
        ("start_position,span", "1.5,2.5", "start_position looks like times.*--column start_s="),
        ("segment,other", '"[1.5, 2.5]",x', "segment looks like times"),
        ("timestamps,x", "0:10-0:20,x", "timestamps looks like times"),
        ("beginning_of_it,x", "10,x", "beginning_of_it looks like times"),
    ],
)
def test_times_that_are_not_sure_are_never_left_lying(table, header, row, message):
    with pytest.raises(UserError, match=message):
        from_table(table(f"path,label,{header}", f"a.mp4,run,{row}"))


def test_a_date_and_a_camera_are_no_times(table):
    place = table("path,label,start_date,end_camera,time,seconds", "a.mp4,run,1 May,left,12:30,3")
    assert times(from_table(place)) == [(None, None)]
    place = table("path,label,start_x", "a.mp4,run,12")
    with pytest.raises(
        UserError, match=r"column 'start_x'. Did you mean start_s.*--column start_s= with"
    ):
        from_table(place)
    assert times(from_table(place, {"start_s": ""})) == [(None, None)]


def test_a_start_without_an_end_is_said(table):
    manifest = from_table(table("path,label,start", "a.mp4,run,1.5"))
    assert times(manifest) == [(1.5, None)]
    assert "no column says where clips end" in manifest.notes[-1]


def test_times_of_parquet_in_its_own_types(tmp_path):
    columns = {
        "path": ["a.mp4", "b.mp4"],
        "label": ["x", "y"],
        "start": pa.array([500, None], pa.time32("ms")),
        "end": pa.array([1500, None], pa.duration("ms")),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert times(from_table(tmp_path / "t.parquet")) == [(0.5, 1.5), (None, None)]


def test_not_a_number_is_no_value_in_parquet_and_a_mistake_in_text(tmp_path, table):
    columns = {"path": ["a", "b"], "label": ["x", None], "start_s": [float("nan"), 2.0]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    manifest = from_table(tmp_path / "t.parquet")
    assert times(manifest) == [(None, None), (2.0, None)]
    assert manifest.records[1].label is None
    with pytest.raises(UserError, match=r"row 2: 'nan' is no time.*Leave the cell empty"):
        from_table(table("path,label,start_s", "a,x,nan"))
    for header, word in (("group", "nan"), ("group", "None"), ("split", "<NA>"), ("note", "")):
        place = table(f"path,label,{header}", f"a,x,{word}", "b,y,z")
        if word:
            with pytest.raises(UserError, match=f"row 2: the {header} '{word}'.*no value"):
                from_table(place)
    with pytest.raises(UserError, match="row 3: the label 'nan'"):
        from_table(table("path,label", "a,None", "b,nan"))


# Labels in lists, numbers with gaps


def test_lists_of_labels_are_several_labels(tmp_path):
    columns = {"path": ["a", "b", "c"], "labels": [["x", "y"], ["y"], None], "faces": [[1], [], []]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    manifest = from_table(tmp_path / "t.parquet")
    assert [row.label for row in manifest.records] == [("x", "y"), ("y",), None]
    assert "columns that are not used: faces" in manifest.notes
    pq.write_table(pa.table({"path": ["a"], "label": [["x|y"]]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"\| is part of a label"):
        from_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("label", ["['run', 'sit']", '["run"]', "('run', 'sit')"])
def test_a_list_written_as_text_is_no_label(table, label):
    with pytest.raises(UserError, match=r"row 2: .* is a list written as text.*first\|second"):
        from_table(table("path\tlabel", f"a\t{label}"))


def test_whole_numbers_with_gaps_are_the_labels_that_they_were(tmp_path):
    columns = {"path": ["a", "b", "c"], "label": [1.0, 2.0, None], "subject": [7.0, None, 9.0]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    manifest = from_table(tmp_path / "t.parquet")
    assert manifest.classes == ("1", "2")
    assert [row.group for row in manifest.records] == ["7", "b", "9"]


def test_letters_with_accents_have_one_spelling(table):
    manifest = from_table(
        table("path,label,group", "a,caf\u00e9,jos\u00e9", "b,cafe\u0301,jose\u0301")
    )
    assert manifest.classes == ("caf\u00e9",)
    assert len(set(manifest.groups([0, 1]))) == 1


# What is asked for


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"lable": "a"}, "cannot be 'lable'; it is path, label.*Did you mean label"),
        ({"label": "clas"}, "no column 'clas' to be label.*Did you mean class"),
        ({"fps": "25"}, "no column of frames; --column fps=25 has no use"),
        ({"fps": "soon"}, "no column 'soon' to be fps"),
    ],
)
def test_what_is_asked_for_in_vain_is_refused(table, asked, message):
    with pytest.raises(UserError, match=message):
        from_table(table("path,class", "a,x"), asked)


def test_a_column_that_was_put_aside_is_kept_by_another_name(table, tmp_path):
    place = table("path,label,action", "a.mp4,1,run", "b.mp4,2,sit")
    manifest = from_table(place, {"label": "action"})
    assert manifest.classes == ("run", "sit")
    assert manifest.extras == {"original_label": ("1", "2")}


def test_the_command_says_how_columns_were_read(table, tmp_path):
    rows = [f"{n}.mp4,{'ab'[n % 2]},{n}000,{n + 1}000,p{n // 2}" for n in range(20)]
    place = table("video,action,t0,t1,who", *rows)
    words = ["csv", str(place), str(tmp_path / "out.csv")]
    for column in ("start_ms=t0", "end_ms=t1", "group=who"):
        words += ["--column", column]
    done = CliRunner().invoke(data_app, words)
    assert done.exit_code == 0, done.output
    assert "columns by other names: path is video, label is action, group is who" in done.stdout
    assert "t0 is read as milliseconds" in done.stdout
    again = read_manifest(tmp_path / "out.csv")
    assert (again.records[3].start_s, again.records[3].end_s) == (3.0, 4.0)
    assert again.records[3].group == "p1"
    assert not again.notes
    done = CliRunner().invoke(data_app, [*words[:2], str(tmp_path / "x.csv"), "--column", "start"])
    assert "give MEANING=NAME" in str(done.exception)


def test_a_recipe_says_what_columns_are(table, tmp_path):
    rows = [f"{n}.mp4,{'ab'[n % 2]},{n}0,{n + 1}0,p{n // 2}" for n in range(20)]
    place = str(table("path,label,t0,t1,who", *rows))
    columns = {"start_frame": "t0", "end_frame": "t1", "fps": 10, "group": "who"}
    data = Data.model_validate({"manifest": place, "columns": columns})
    for manifest in (read_clips(data), read_clips(data.model_copy(update={"folds": 2, "fold": 1}))):
        assert times(manifest)[3] == (3.0, 4.0)
        assert manifest.records[3].group == "p1"
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match="is a folder; columns are those of a table"):
        read_clips(data.model_copy(update={"manifest": str(tmp_path)}))
