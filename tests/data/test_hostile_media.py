"""Files of strangers: each is read or refused with its name, and costs no time, memory or trust."""

import os
import resource
import socket
import struct
import threading
import time
import zlib
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile

from understudy.data import decode, frames, media, pictures, video
from understudy.data.decode import DecodeError, probe, read_frames, read_timeline, stream_frames
from understudy.data.fingerprint import fingerprint
from understudy.data.sampling import sample_times


def everything(path: Path) -> None:
    """Look at a clip in every way there is."""
    timeline = read_timeline(path)
    read_frames(path, sample_times("uniform", 4, timeline), short_side=32)
    if not timeline.is_picture:
        list(islice(stream_frames(path, 0.1), 50))


@pytest.fixture
def still(tmp_path) -> Path:
    Image.new("RGB", (32, 24), "red").save(tmp_path / "a.png")
    return tmp_path / "a.png"


# Whatever a decoder raises

FAULTS = [MemoryError(), RecursionError("too deep"), KeyError("?"), ZeroDivisionError("0")]
FAULTS += [TypeError("None"), AttributeError("None"), AssertionError(), UnicodeError("x")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize(
    "place",
    ["open", "getexif", "load", "av.open", "decode", "to_rgb", "extent"],
)
def test_whatever_a_decoder_raises_is_the_fault_of_the_file(still, film, monkeypatch, fault, place):
    def fail(*arguments, **options):
        raise fault

    clip = film("clip.mp4", 3)
    where = {
        "open": (Image, "open"),
        "getexif": (PngImageFile, "getexif"),
        "load": (PngImageFile, "load"),
        "av.open": (av, "open"),
        "decode": (frames, "check_size"),
        "to_rgb": (video, "to_rgb"),
        "extent": (video, "extent"),
    }
    path = still if place in {"open", "getexif", "load"} else clip
    monkeypatch.setattr(*where[place], fail)
    with pytest.raises(DecodeError) as caught:
        everything(path)
    assert caught.value.path == path
    assert caught.value.reason


def test_a_user_who_stops_it_is_obeyed(still, film, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    clip = film("clip.mp4", 3)
    monkeypatch.setattr(Image, "open", stop)
    monkeypatch.setattr(video, "to_rgb", stop)
    for path in (still, clip):
        with pytest.raises(KeyboardInterrupt):
            everything(path)


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def test_a_truncated_png_whose_exif_is_asked_for(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    image.save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for length in range(8, len(content) - 20, 1000):
        (tmp_path / "a.png").write_bytes(content[:length])
        with pytest.raises(DecodeError):
            everything(tmp_path / "a.png")


def test_a_codec_that_nobody_knows(film):
    path = film("clip.mp4", 3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(DecodeError, match="its codec is none that is known"):
        everything(path)


@pytest.mark.parametrize(
    "name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.gif", "a.png", "a.jpg", "a.webp", "a.tif"]
)
def test_mutated_bytes_give_frames_or_an_error(film, tmp_path, name):
    if name.endswith(("mp4", "mkv", "avi", "ts")):
        path = film(name, 8, codec="mpeg4" if name == "a.avi" else "libx264")
    else:
        path = tmp_path / name
        exif = Image.Exif()
        exif[0x0112] = 6
        more = {"save_all": True} if name == "a.gif" else {"exif": exif}
        Image.effect_noise((40, 30), 80).convert("RGB").save(path, **more)
    content, generator = path.read_bytes(), np.random.default_rng(0)
    refused = []
    for number in range(16):
        mutated = bytearray(content)
        within = len(content) if number % 2 else min(200, len(content))
        for place in generator.integers(0, within, 1 + number):
            mutated[place] = generator.integers(256)
        path.write_bytes(mutated)
        try:
            everything(path)
        except DecodeError as error:
            refused.append(error.path)
    assert set(refused) <= {path}


# Headers that lie


def test_a_picture_may_claim_so_many_pixels_and_no_more(still, tmp_path, monkeypatch):
    monkeypatch.setattr(media, "MAX_PIXELS", 32 * 24)
    everything(still)
    monkeypatch.setattr(media, "MAX_PIXELS", 32 * 24 - 1)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    with pytest.raises(DecodeError, match="32 x 24 are too many pixels; at most"):
        everything(still)


def bombs(folder: Path) -> dict[str, bytes]:
    side = struct.pack("<HH", 16_000, 16_000)
    gif = b"GIF89a" + side + b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0" + side + b"\0\x02\x02L\x01\0;"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    bmp = struct.pack("<2sIHHI", b"BM", 99, 0, 0, 54)
    bmp += struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)
    # A raw AVI of 16,384 x 16,384: the strf chunk says so.
    with av.open(str(folder / "raw.avi"), "w") as container:
        stream = container.add_stream("rawvideo", rate=10)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "bgr24"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="bgr24")
        container.mux(stream.encode(frame))
    avi = bytearray((folder / "raw.avi").read_bytes())
    struct.pack_into("<II", avi, avi.index(b"strf") + 12, 16_384, 16_384)
    return {"a.gif": gif, "a.png": png, "a.bmp": bmp, "a.avi": bytes(avi)}


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.bmp", "a.avi"])
def test_a_header_that_lies_about_size_costs_nothing(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(bombs(tmp_path)[name])
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(DecodeError, match="too many pixels; at most 89,478,485 are decoded"):
        everything(path)
    assert time.process_time() - begun < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_frames_larger_than_their_header_says_are_not_decoded(film, monkeypatch):
    path = film("clip.mp4", 3, size=(64, 48))
    monkeypatch.setitem(video.OPTIONS, "max_pixels", "3000")
    with pytest.raises(DecodeError, match="damaged video"):
        everything(path)


def test_a_line_of_pixels_is_not_blown_up(tmp_path):
    Image.new("L", (65_535, 1)).save(tmp_path / "a.png")
    with pytest.raises(DecodeError, match="one side may be 100 times the other"):
        everything(tmp_path / "a.png")


@pytest.mark.parametrize("claim", [1e15, 1e300, float("inf"), float("nan"), -5e3, 0.0, 1e8])
def test_a_header_that_lies_about_duration_is_not_believed(film, claim):
    path = film("clip.mkv", 30)
    content = bytearray(path.read_bytes())
    struct.pack_into(">d", content, content.index(b"\x44\x89\x88") + 3, claim)  # in milliseconds
    path.write_bytes(content)
    info = probe(path)
    assert info.duration_s == pytest.approx(1.2)
    assert len(list(stream_frames(path, 0.2))) == 6
    assert read_timeline(path).frames == 30


@pytest.mark.parametrize("box", [b"mdhd", b"mvhd"])
@pytest.mark.parametrize("claim", [0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0])
def test_neither_is_that_of_an_mp4(film, box, claim):
    path = film("clip.mp4", 30)
    content = bytearray(path.read_bytes())
    struct.pack_into(">I", content, content.index(box) + 4 + 16, claim)
    path.write_bytes(content)
    assert read_timeline(path).frames == 30
    assert len(list(stream_frames(path, None))) == 30


@pytest.mark.parametrize("field", [20, 24, 32])  # scale, rate and length of the stream
@pytest.mark.parametrize("claim", [0, 1, 10**9, 0x7FFFFFFF, 0xFFFFFFFF])
def test_rates_and_lengths_that_lie_cost_no_time(film, field, claim):
    path = film("clip.avi", 30, codec="mpeg4")
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"strh") + 8 + field, claim)
    path.write_bytes(content)
    begun = time.process_time()
    try:
        everything(path)
        frames = read_timeline(path).frames
    except DecodeError as error:
        frames = 1 if "its times cannot be right" in error.reason else 0
    assert 1 <= frames <= 30
    assert time.process_time() - begun < 2


def test_frames_that_lie_years_apart_are_no_video(film):
    path = film("clip.mkv", 5, ticks=[0, 1, 2, 3, 10**9])
    with pytest.raises(DecodeError, match=r"its times cannot be right: 4e\+07 s in \d+ bytes"):
        everything(path)


# What is no file


@pytest.fixture
def special(tmp_path):
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "link.mp4")
    (tmp_path / "null.mp4").symlink_to("/dev/null")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.mp4").mkdir()
    listener = socket.socket(socket.AF_UNIX)
    here = os.open(".", os.O_RDONLY)
    os.chdir(tmp_path)  # the path of a socket may not be long
    listener.bind("socket.mp4")
    os.fchdir(here)
    os.close(here)
    yield tmp_path
    listener.close()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fifo.mp4", "a FIFO, not a file"),
        ("socket.mp4", "a socket, not a file"),
        ("null.mp4", "a device, not a file"),
        ("zero.png", "a device, not a file"),
        ("link.mp4", "it cannot be opened"),
        ("folder.mp4", "holds no pictures|a folder, not a video"),
        ("nul\0.mp4", "it cannot be opened: embedded null byte"),
        ("x" * 5000, "it cannot be opened: File name too long"),
    ],
)
@pytest.mark.timeout(10)
def test_what_is_no_file_is_never_opened(special, monkeypatch, name, reason):
    opened = []
    really = os.open
    monkeypatch.setattr(os, "open", lambda path, *a, **o: opened.append(path) or really(path, *a))
    for read in (
        probe,
        read_timeline,
        lambda p: read_frames(p, [0.0]),
        lambda p: next(stream_frames(p, None)),
    ):
        with pytest.raises(DecodeError, match=reason):
            read(special / name)
    fingerprint(special / name)
    assert opened == []


@pytest.mark.timeout(10)
def test_a_fifo_among_the_frames_of_a_folder(special):
    Image.new("RGB", (8, 8)).save(special / "folder.mp4" / "1.png")
    os.mkfifo(special / "folder.mp4" / "2.png")
    with pytest.raises(DecodeError, match="a FIFO, not a file"):
        everything(special / "folder.mp4")


# Names

NAMES = [
    "2026-01-01T12:30:00.mp4",
    "file:a.mp4",
    "concat:a|b.mp4",
    "http:a.mp4",
    "pipe:0",
    "-i.mp4",
    "clip%03d.gif",
    "what?.mp4",
    "a#t=1.mp4",
    "two\nlines.mp4",
    "*{a,b}[c].mp4",
    "ünï '\".mp4",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["video", "gif", "picture"])
def test_a_name_means_nothing(film, tmp_path, monkeypatch, name, kind):
    if kind == "video":
        path = film("plain.mp4", 5)
    else:
        path = tmp_path / f"plain.{'gif' if kind == 'gif' else 'png'}"
        Image.new("RGB", (32, 24), "red").save(path)
    expected = read_frames(path, [0.0])
    path.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / name, Path(name)):
        assert torch.equal(read_frames(place, [0.0]), expected)
        assert probe(place).height == expected.shape[-2]


# Playlists


def playlists(target: Path, port: int) -> dict[str, str]:
    http = f"http://127.0.0.1:{port}/a.ts"
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="video/mp4">'
        '<Representation id="1" bandwidth="9"><BaseURL>{}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    )
    return {
        "hls of a file": hls.format(target),
        "hls of an address": hls.format(http),
        "concat of a file": f"ffconcat version 1.0\nfile '{target}'\n",
        "concat of an address": f"ffconcat version 1.0\nfile '{http}'\n",
        "dash of a file": dash.format(target),
        "dash of an address": dash.format(http),
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} "
        "RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    }


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ffconcat", ".mpd", ".sdp", ".ts"])
@pytest.mark.parametrize("kind", list(playlists(Path(), 0)))
def test_a_file_opens_no_other(film, tmp_path, kind, suffix):
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = tmp_path / f"list{suffix}"
        path.write_text(playlists(film("clip.ts", 5), server.getsockname()[1])[kind])
        for read in (probe, lambda p: next(stream_frames(p, None))):
            with pytest.raises(DecodeError, match=r"neither a picture nor a video|no readable"):
                read(path)
        server.settimeout(0.02)
        with pytest.raises(TimeoutError):
            server.accept()


def test_without_the_rule_a_playlist_is_followed(film, tmp_path, monkeypatch):
    """What the test above would miss if FFmpeg followed no playlists anyway."""
    path = tmp_path / "list.mp4"
    path.write_text(playlists(film("clip.ts", 5), 0)["concat of a file"])
    with av.open(str(path), options={"safe": "0"}) as container:
        assert next(container.decode(video=0)).width == 64


def test_pillow_starts_no_program(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DecodeError):
        everything(tmp_path / "a.png")
    assert "EPS" not in pictures._formats(b"") + pictures._formats(b"\0\0\0\x18ftypheic")


def test_threads_share_nothing(film, still):
    """Each opens files of its own."""
    clip, found = film("clip.mp4", 5), []
    threads = [threading.Thread(target=lambda: found.append(probe(clip))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert decode.probe(still).kind == "picture"
