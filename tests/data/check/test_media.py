"""Every file decoded: what is told of it, and that it is opened once."""

import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from understudy.data.check import scan as scan_module
from understudy.data.check.look import look_at
from understudy.data.check.scan import files_of, scan
from understudy.data.check.verdict import check_data
from understudy.data.decode import DecodeError, read_frames, read_timeline
from understudy.data.manifest import Manifest
from understudy.errors import UserError
from understudy.record import Record

pytestmark = pytest.mark.usefixtures("here")


def said(checked) -> set[tuple[str, str, str]]:
    return {(one.kind, one.path, one.reason) for one in checked.findings}


def seen(path):
    return look_at(str(path), lambda: None)


def read_whole(path):
    timeline = read_timeline(path)
    return read_frames(path, [timeline.time_of(number) for number in range(timeline.frames)])


def test_a_sound_film_has_all_of_its_frames(film):
    found = seen(film("a.mp4", 30))
    assert (found.kind, found.reason, found.frames, found.promised) == ("video", None, 30, 30)
    assert (found.seconds, found.fps) == (pytest.approx(1.2), 25)
    assert not found.gaps
    assert not found.turned
    assert found.uneven == 0


def test_what_cannot_be_read_is_told_as_training_tells_it(film, table, tmp_path, pattern):
    whole = film("whole.avi", 30, codec="mpeg4", picture=pattern(0)).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no film")
    os.mkfifo(tmp_path / "fifo.mp4")
    names = ["cut.avi", "empty.mp4", "text.mp4", "fifo.mp4", "gone.mp4"]
    rows = [(name, "ab"[n % 2], "train", f"g{n}") for n, name in enumerate(["whole.avi", *names])]
    found = {one.path: one for one in check_data(table(*rows)).findings if one.rows}
    assert list(found) == names
    for name in names[:-1]:
        with pytest.raises(DecodeError) as error:
            read_whole(tmp_path / name)
        assert found[name].reason.endswith(error.value.reason), name
    kinds = [one.kind for one in found.values()]
    assert kinds == ["truncated", *["unreadable"] * 3, "missing"]
    assert re.match(r"1\d of 30 frames: ", found["cut.avi"].reason)
    assert [one.drop for one in found.values()] == [(n,) for n in range(1, 6)]


def test_rate_pauses_and_shape_are_told(film, table, tmp_path):
    film("paused.mkv", 20, ticks=[*range(10), *range(100, 110)])
    film("uneven.mkv", 20, ticks=[n + n // 2 for n in range(20)])
    film("one.mp4", 1)
    film("even.mkv", 20)
    names = ["paused.mkv", "uneven.mkv", "one.mp4", "even.mkv"]
    checked = check_data(table(*[(n, n[0], "train", n) for n in names]))
    told = [one for one in checked.findings if one.kind in {"pause", "variable_rate", "one_frame"}]
    assert all(one.rows for one in told), "so that each can be shown"
    found = said(checked)
    assert ("pause", "paused.mkv", "no frame from 0.4 s to 4.0 s") in found
    assert ("one_frame", "one.mp4", "one frame of 64 x 48") in found
    assert {path for kind, path, _ in found if kind == "variable_rate"} == {"uneven.mkv"}
    assert {kind for kind, path, _ in found if path == "even.mkv"} <= {"two_labels"}


def test_parts_are_held_against_their_file(film, table):
    film("film.mp4", 50)
    rows = [("0", "1"), ("1", "2"), ("2.5", "3"), ("1.5", "9"), ("", "")]
    parts = [("film.mp4", "ab"[n % 2], "train", "g", *times) for n, times in enumerate(rows)]
    checked = check_data(table(*parts))
    found = {(one.kind, one.rows, one.reason) for one in checked.findings if one.rows}
    assert found == {
        ("outside", (2,), "nothing is left between 2.5 s and 3.0 s of its 2.00 s"),
        ("past_end", (3,), "its part ends at 9 s, the file at 2.0 s"),
    }


def test_of_a_file_that_breaks_off_only_parts_behind_that_go(film, table, tmp_path, pattern):
    whole = film("whole.avi", 50, codec="mpeg4", picture=pattern(0)).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    times = [("0", "0.5"), ("1.5", "2"), ("", "")]
    rows = [("cut.avi", "ab"[n % 2], "train", "g", *some) for n, some in enumerate(times)]
    [found] = [one for one in check_data(table(*rows)).findings if one.kind == "truncated"]
    assert (found.rows, found.drop) == ((0, 1, 2), (1, 2))


def test_a_frame_folder_tells_which_frame(table, tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / f"f_{number}.png")
    (folder / "f_2.png").write_bytes(b"\x89PNG nothing")
    found = seen(folder)
    assert (found.kind, found.frames, found.promised) == ("frames", 2, 4)
    assert found.reason.startswith("f_2.png: no readable picture")


def test_each_file_is_opened_once_and_after_a_stop_only_what_is_left(film, tmp_path, monkeypatch):
    for number in range(4):
        film(f"{number}.mp4", 3 + number)
    records = [
        Record(f"{row % 4}.mp4", "x", "train", "g", start_s=row / 100, end_s=None)
        for row in range(8)
    ]
    files = files_of(Manifest.from_records(records, tmp_path))
    assert sorted(files.values()) == [[0, 4], [1, 5], [2, 6], [3, 7]]
    opened = []

    def stops(path, alive):
        if len(opened) == 2:
            raise KeyboardInterrupt
        opened.append(path)
        return look_at(path, alive)

    state = tmp_path / "state.jsonl"
    monkeypatch.setattr(scan_module, "look_at", stops)
    with pytest.raises(KeyboardInterrupt):
        scan(list(files), state)
    content = state.read_bytes()
    state.write_bytes(content[:-9])  # killed while the second was written
    shutil.copystat(tmp_path / "0.mp4", tmp_path / "0.mp4")
    opened.clear()
    monkeypatch.setattr(
        scan_module, "look_at", lambda path, alive: opened.append(path) or look_at(path, alive)
    )
    found = scan(list(files), state)
    assert opened == list(files)[1:]
    assert {path: one.frames for path, one in found.items()} == {
        path: 3 + number for number, path in enumerate(files)
    }
    opened.clear()
    film("3.mp4", 9)
    assert scan(list(files), state) == found | {list(files)[3]: seen(tmp_path / "3.mp4")}
    assert opened == [list(files)[3]]


def test_a_state_is_never_written_into_something_else(tmp_path):
    (tmp_path / "notes.jsonl").write_text("mine")
    with pytest.raises(UserError, match="no state of a check"):
        scan([], tmp_path / "notes.jsonl")
    assert (tmp_path / "notes.jsonl").read_text() == "mine"
