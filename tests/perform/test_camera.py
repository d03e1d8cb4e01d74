"""Live sources that end, fall silent, come back, fail: nothing is piled up and nothing hangs."""

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.errors import UserError
from understudy.perform import camera, newest
from understudy.perform.camera import Camera, find_camera
from understudy.perform.newest import LostError, Newest


class Source:
    """Plays a script, one connection after the other: numbers are frames 5 ms apart.

    "end" is the end of a recording, "stall" is silent until the test is over, and an
    exception is raised.
    """

    def __init__(self, *connections: list) -> None:
        self.connections = iter(connections)
        self.opened = 0
        self.closed = threading.Event()

    def __call__(self) -> Iterator[int | None]:
        self.opened += 1
        for act in next(self.connections, [OSError("gone")]):
            if act == "end":
                return
            if act == "stall":
                self.closed.wait(30)
            elif isinstance(act, Exception):
                raise act
            else:
                time.sleep(0.005)
                yield act


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "RETRY_S", 0.02)


def watch(source: Source, step_s: float | None = None, **options) -> tuple[list, list[str], str]:
    """Everything that came, what was noted, and how it ended."""
    noted: list[str] = []
    options = {"open_s": 0.15, "stall_s": 0.15, "reconnect_s": 0.3} | options
    reader = Newest(source, step_s, note=noted.append, **options)
    seen = []
    begun = time.monotonic()
    try:
        with pytest.raises(LostError) as lost:
            seen.extend((content, fresh) for _, content, fresh in reader)
        assert time.monotonic() - begun < 3, "nothing hangs"
    finally:
        source.closed.set()
        reader.close()
    assert not any(link.thread.is_alive() for link in reader._connections)
    return seen, noted, str(lost.value)


GONE = LostError("it ended")


def test_a_source_that_goes_away_is_tried_again_and_then_ends_clearly():
    source = Source([1, 2, 3, GONE])
    seen, noted, ended = watch(source)
    assert seen == [(1, True), (2, False), (3, False)]
    assert noted[0].startswith("Lost at 0.0 s: it ended. Trying to reconnect for 0.3 s")
    assert "it ended; it did not come back within 0.3 s" in ended
    assert source.opened > 3, "tried more than once"


def test_a_source_that_comes_back_begins_anew():
    source = Source([1, 2, GONE], [OSError("busy")], [3, 4, OSError("unplugged")])
    seen, noted, ended = watch(source)
    assert seen == [(1, True), (2, False), (3, True), (4, False)]
    assert [sentence.split()[0] for sentence in noted] == ["Lost", "Back", "Lost"]
    assert "unplugged; it did not come back" in ended


def test_a_source_that_stalls_is_left_and_opened_again():
    source = Source([1, "stall"], [2, "stall"], ["stall"], ["stall"])
    seen, noted, ended = watch(source)
    assert seen == [(1, True), (2, True)]
    assert "no frame came for 0.15 s" in noted[0]
    assert "no frame came" in ended


def test_a_source_that_cannot_be_opened_is_not_tried_for_long():
    source = Source([FileNotFoundError(2, "No such device")])
    seen, noted, ended = watch(source)
    assert (seen, noted, ended, source.opened) == ([], [], "No such device", 1)
    assert watch(Source(["stall"]))[2] == "no frame came for 0.15 s"
    assert watch(Source(["end"]))[2] == "it gives no frame"


def test_a_recording_that_ends_is_not_opened_again():
    source = Source([1, 2, "end"], [3, "end"])
    reader = Newest(source, None, stall_s=1)
    assert [content for _, content, _ in reader] in ([1, 2], [2])
    assert source.opened == 1


def test_without_reconnecting_the_first_loss_is_the_end():
    source = Source([1, GONE], [2, GONE])
    seen, noted, ended = watch(source, reconnect_s=0)
    assert (seen, noted, source.opened) == ([(1, True)], [], 1)
    assert ended.startswith("lost at 0.0 s: it ended")


def test_a_defect_of_ours_is_raised_as_it_is():
    reader = Newest(Source([1, KeyError("defect")]), None, stall_s=1)
    with pytest.raises(KeyError, match="defect"):
        list(reader)


def test_a_slow_model_gets_the_newest_frame_and_the_others_are_counted():
    source = Source([*range(1, 41), "stall"])
    reader = Newest(source, None, stall_s=2)
    seen = []
    for time_s, content, _ in reader:
        seen.append((time_s, content))
        if content == 40:
            break
        time.sleep(0.03)
    source.closed.set()
    reader.close()
    numbers = [content for _, content in seen]
    assert len(numbers) < 20
    assert numbers == sorted(set(numbers)), "time runs forwards"
    assert len(numbers) + reader.dropped == 40
    assert seen[0][0] == 0


def test_frames_that_are_not_due_are_not_dropped():
    """A camera of 200 frames a second for a model that takes 20."""
    source = Source([*range(100), "stall"])
    reader = Newest(source, 0.05, stall_s=0.2, reconnect_s=0)
    times = []
    with pytest.raises(LostError):
        times.extend(time_s for time_s, _, _ in reader)
    source.closed.set()
    reader.close()
    assert reader.dropped == 0
    rate = (len(times) - 1) / (times[-1] - times[0])
    assert rate == pytest.approx(20, rel=0.3), "due times keep their pace"


def test_damaged_frames_are_counted():
    reader = Newest(Source([1, None, None, 2, "end"]), None, stall_s=1)
    assert list(reader)[-1][1] == 2
    assert reader.damaged == 2


def test_ffmpeg_draws_a_live_picture():
    drawn = find_camera("lavfi:testsrc=size=64x48:rate=50,realtime")
    reader = Newest(drawn.frames, 0.06, stall_s=5, reconnect_s=0)
    frames = list(itertools.islice(reader, 4))
    reader.close()
    assert [(f.width, f.height) for _, f, _ in frames] == [(64, 48)] * 4
    times = [time_s for time_s, _, _ in frames]
    assert times[-1] == pytest.approx(0.18, abs=0.06)


def test_a_picture_that_ffmpeg_draws_for_a_while_ends():
    drawn = find_camera("lavfi:testsrc=size=64x48:rate=50:duration=0.2,realtime")
    assert 1 <= len(list(Newest(drawn.frames, None, stall_s=5))) <= 10


def test_what_ffmpeg_cannot_open_says_why():
    with pytest.raises(LostError, match=r"refused|reach|route"):
        list(Newest(find_camera("tcp://127.0.0.1:9").frames, None, stall_s=5))
    with pytest.raises(LostError, match=r"no video|Invalid|Option"):
        list(Newest(find_camera("lavfi:sine=frequency=440,anull").frames, None, stall_s=5))


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_cameras_of_each_system(system: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(camera.sys, "platform", system)
    monkeypatch.setattr(camera, "_is_device", lambda path: str(path) == "/dev/video0")
    monkeypatch.setattr(camera, "list_cameras", lambda: ["FaceTime HD Camera"])
    expected = {
        "linux": Camera("/dev/video0", "v4l2"),
        "darwin": Camera("0", "avfoundation", {"framerate": "30"}),
        "win32": Camera("video=FaceTime HD Camera", "dshow"),
    }
    assert find_camera("0") == expected[system]
    if system != "darwin":
        with pytest.raises(UserError, match=r"no camera 7\. Cameras here: FaceTime HD Camera"):
            find_camera("7")


def test_addresses_and_what_is_no_camera(tmp_path: Path):
    assert find_camera("http://host/a.m3u8") == Camera("http://host/a.m3u8")
    assert find_camera("rtsp://host/a").options == {"rtsp_transport": "tcp"}
    film = tmp_path / "film.mp4"
    film.write_bytes(b"")
    with pytest.raises(
        UserError, match=r"is a file, no camera\. Read it with: understudy stream RUN "
    ):
        find_camera(str(film))
    with pytest.raises(UserError, match="--camera x: give a number such as 0, a device such as"):
        find_camera("x")
