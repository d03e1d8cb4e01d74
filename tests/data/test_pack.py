"""A pack gives the pixels that files give; what is wrong with it is named and not used."""

import json
import os
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from faults import fill_the_disk
from understudy.data.check.workers import Lost
from understudy.data.decode import DecodeError
from understudy.data.fingerprint import fingerprints
from understudy.data.manifest import Manifest
from understudy.data.pack import making
from understudy.data.pack.making import Made, make_pack
from understudy.data.pack.opened import Pack
from understudy.data.pack.reading import PackReader, notes_on, open_pack, open_reader, with_pack
from understudy.data.pack.shards import Settings
from understudy.data.pack.writing import PackedFile, Part, pack_part
from understudy.data.reader import FileReader
from understudy.errors import UserError
from understudy.recipe import Augment, Data, Pseudo
from understudy.record import Record
from understudy.types import Sampling

DRAWN = Augment(crop_scale=0.5, flip=0.5, brightness=0.3, rotation_degrees=8, erase=0.5)


@pytest.fixture
def manifest(film, tmp_path) -> Manifest:
    """Two videos, one of three rows, a picture and a folder of frames."""
    film("long.mp4", 40, size=(64, 48))
    film("short.avi", 5, size=(40, 56), codec="mpeg4")
    noise = np.random.default_rng(0).integers(0, 256, (6, 44, 60, 3), np.uint8)
    Image.fromarray(noise[0]).save(tmp_path / "still.png")
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(noise[1:]):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{number}.png")
    rows = [
        ("long.mp4", None, None),
        ("long.mp4", 0.3, 0.9),
        ("long.mp4", 1.2, 99.0),
        ("short.avi", None, None),
        ("still.png", None, None),
        ("frames", None, None),
    ]
    records = [Record(path, "a", "train", path, start, end) for path, start, end in rows]
    return noted(Manifest.from_records(records, tmp_path))


def noted(manifest: Manifest) -> Manifest:
    paths = [manifest.path_of(row) for row in range(len(manifest))]
    return manifest.with_fingerprints(list(fingerprints(paths)))


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """A new process takes two seconds to load the decoders; one test of the verb has them."""

    def each(work, items, count):
        return ((item, work(item, lambda: None)) for item in items)

    monkeypatch.setattr(making, "each", each)


def packed(manifest: Manifest, folder: Path, **settings) -> Made:
    return make_pack(manifest, folder, Settings.model_validate({"short_side": 32} | settings))


def config(folder: Path | None, **changes) -> Data:
    content = {
        "manifest": "-",
        "size": 24,
        "frames": 4,
        "short_side": 32,
        "pack": folder and str(folder),
    }
    return Data.model_validate(content | changes)


def no_files(monkeypatch) -> None:
    def refuse(*a):
        raise AssertionError("a file was decoded")

    monkeypatch.setattr("understudy.data.reader.read_views", refuse)
    monkeypatch.setattr("understudy.data.reader.read_timeline", refuse)


LOOKS = {
    "uniform": {},
    "first": {"sampling": "first"},
    "centre": {"sampling": "centre"},
    "random_segment": {"sampling": "random_segment"},
    "dense": {"sampling": "dense", "stride_s": 0.08},
    "pictures": {"pseudo": Pseudo()},
}


@pytest.mark.parametrize("jpeg_quality", [None, 90])
@pytest.mark.parametrize("name", LOOKS)
def test_a_pack_gives_the_pixels_that_files_give(
    manifest, tmp_path, monkeypatch, name, jpeg_quality
):
    """Every clip, every view, for a student and a teacher that looks at another size."""
    packed(manifest, tmp_path / "pack", jpeg_quality=jpeg_quality)
    changes = {**LOOKS[name], "augment": DRAWN, "jpeg_quality": jpeg_quality}
    files = FileReader(manifest, config(None, **changes))
    data = config(tmp_path / "pack", **changes)
    pack = open_reader(manifest, data)
    assert isinstance(pack, PackReader)
    look = Sampling(24, 4, data.sampling, data.stride_s, hold_pictures=data.pseudo is not None)
    looks = [look, Sampling(32, 3)]
    expected = [
        files.read(row, view, looks) for row in range(len(manifest)) for view in (None, 0, 1)
    ]
    no_files(monkeypatch)
    found = [pack.read(row, view, looks) for row in range(len(manifest)) for view in (None, 0, 1)]
    assert all(map(equal, found, expected))
    assert len({one[0].numpy().tobytes() for one in found}) >= 12, "views differ"


def equal(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_frames_no_larger_than_the_pack_are_those_of_a_recipe_that_says_nothing(manifest, tmp_path):
    packed(manifest, tmp_path / "pack", short_side=64)
    plain = FileReader(manifest, config(None, short_side=None, augment=DRAWN))
    reader = open_reader(manifest, config(tmp_path / "pack", short_side=64, augment=DRAWN))
    look = [Sampling(24, 4)]
    assert all(equal(reader.read(row, 1, look), plain.read(row, 1, look)) for row in range(6))


def test_some_frames_only(manifest, tmp_path, monkeypatch):
    """Those of one sampling; a clip of which others are wanted is read from its file."""
    packed(manifest, tmp_path / "few", frames=4, sampling="uniform")
    packed(manifest, tmp_path / "all")
    reader = open_reader(manifest, config(tmp_path / "few"))
    files = FileReader(manifest, config(None))
    expected = [files.read(0, None, [Sampling(24, count)]) for count in (4, 5)]
    assert equal(reader.read(0, None, [Sampling(24, 5)]), expected[1])
    no_files(monkeypatch)
    assert equal(reader.read(0, None, [Sampling(24, 4)]), expected[0])
    sizes = [sum(shard.stat().st_size for shard in (tmp_path / name).glob("*.safetensors"))
             for name in ("few", "all")]  # fmt: skip
    assert 2 * sizes[0] < sizes[1]


def test_a_recipe_takes_from_its_pack_what_it_leaves_open(manifest, tmp_path):
    packed(manifest, tmp_path / "pack", jpeg_quality=70)
    data = with_pack(config(tmp_path / "pack", short_side=None))
    assert (data.short_side, data.jpeg_quality) == (32, 70)
    with pytest.raises(UserError, match=r"Pack again with --size 48"):
        with_pack(config(tmp_path / "pack", short_side=None, size=48))
    with pytest.raises(UserError, match=r"short_side is 64 and the pack .* has 32"):
        open_pack(config(tmp_path / "pack", short_side=64, jpeg_quality=70))
    with pytest.raises(UserError, match=r"holds no pack.*understudy data pack"):
        with_pack(config(tmp_path / "nowhere"))


def test_a_stopped_pack_goes_on(manifest, tmp_path, monkeypatch):
    """What was whole when it was stopped is not decoded again, and nothing is there twice."""
    whole = packed(manifest, tmp_path / "whole")
    decoded, pack = [], making.pack_part

    def watched(part: Part, alive):
        decoded.extend(file.name for file in part.files)
        if len(decoded) > 2:
            raise KeyboardInterrupt
        return pack(part, alive)

    monkeypatch.setattr(making, "pack_part", watched)
    monkeypatch.setattr(making, "SHARD_BYTES", 1)
    with pytest.raises(KeyboardInterrupt):
        packed(manifest, tmp_path / "pack")
    (tmp_path / "pack" / ".0123456789abcdef.partial").write_bytes(b"half a shard")
    monkeypatch.setattr(making, "pack_part", pack)
    made = packed(manifest, tmp_path / "pack")
    assert (made.new_files, made.clips) == (2, 6)
    again = packed(manifest, tmp_path / "pack")
    assert (again.new_files, again.clips, again.size_bytes) == (0, 6, made.size_bytes)
    assert not list((tmp_path / "pack").glob("*.partial"))
    one, other = (Pack(tmp_path / name) for name in ("pack", "whole"))
    assert manifest.fingerprints is not None
    key = manifest.fingerprints[0]
    timeline = one.timeline(key, (None, None))
    assert timeline is not None
    times = [timeline.time_of(number) for number in range(40)]
    assert equal(one.frames_at(key, times) or [], other.frames_at(key, times) or [])
    assert whole.clips == 6


def test_a_long_file_is_written_in_parts_and_read_as_one(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("understudy.data.pack.writing.SHARD_BYTES", 5 * 32 * 42 * 3)
    packed(manifest, tmp_path / "pack")
    assert len(list((tmp_path / "pack").glob("*.safetensors"))) > 4
    reader, files = (
        open_reader(manifest, config(tmp_path / "pack")),
        FileReader(manifest, config(None)),
    )
    look = [Sampling(24, 40)]
    assert all(equal(reader.read(row, None, look), files.read(row, None, look)) for row in range(6))


def test_what_cannot_be_packed_is_named_and_read_as_its_file_is(manifest, tmp_path, film):
    cut = film("cut.avi", 60, codec="mpeg4", gop=10)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "text.mp4").write_text("no video")
    rows = [("cut.avi", None, None), ("text.mp4", None, None), ("gone.mp4", None, None),
            ("short.avi", 9.0, 10.0), ("short.avi", None, None)]  # fmt: skip
    records = [Record(path, "a", "train", path, start, end) for path, start, end in rows]
    broken = noted(Manifest.from_records(records, tmp_path))
    made = packed(broken, tmp_path / "pack")
    assert [fault.name for fault in made.faults] == ["gone.mp4", "cut.avi", "text.mp4", "short.avi"]
    assert made.clips == 1
    kept = json.loads((tmp_path / "pack" / "failures.json").read_text())
    assert kept[3]["path"] == "short.avi"
    assert (kept[3]["start_s"], kept[3]["end_s"]) == (9.0, 10.0)
    assert kept[3]["reason"] == "nothing is left between 9.0 s and 10.0 s of its 0.20 s"
    reader, files = (
        open_reader(broken, config(tmp_path / "pack")),
        FileReader(broken, config(None)),
    )
    first = [Sampling(24, 4, "first")]
    assert equal(reader.read(0, None, first), files.read(0, None, first)), (
        "its first frames are there"
    )
    for row in range(4):
        reasons = []
        for one in (reader, files):
            with pytest.raises(DecodeError) as error:
                one.read(row, None, [Sampling(24, 4)])
            reasons.append(error.value.reason)
        assert reasons[0] == reasons[1]


def test_a_file_that_ends_its_process_is_named_and_costs_no_other(manifest, tmp_path, monkeypatch):
    """Packed beside others, it takes them along; so each of them is tried once more, alone."""

    def each(work, items, count):
        for item in items:
            files = getattr(item, "files", ())
            dies = any(file.name == "short.avi" for file in files)
            yield item, Lost("it ended the process") if dies else work(item, lambda: None)

    monkeypatch.setattr(making, "each", each)
    made = packed(manifest, tmp_path / "pack")
    assert made.faults == (("short.avi", None, "it ended the process"),)
    assert made.clips == 5


def damage(shard: Path, how: str) -> None:
    content = bytearray(shard.read_bytes())
    if how == "cut":
        content = content[:-100]
    elif how == "flipped in a frame":
        content[-1000] ^= 1
    elif how == "flipped in its head":
        content[200] ^= 1
    elif how == "empty":
        content = bytearray()
    elif how == "absurd head":
        content[:8] = (2**63).to_bytes(8, "little")
    elif how == "foreign":
        content = bytearray(b"{}" * 500)
    shard.unlink()
    if how == "a link out of it":
        shard.symlink_to("/etc/hostname")
    elif how == "a FIFO":
        os.mkfifo(shard)
    else:
        shard.write_bytes(content)


@pytest.mark.parametrize(
    "how",
    ["cut", "flipped in a frame", "flipped in its head", "empty", "absurd head", "foreign",
     "a link out of it", "a FIFO"],
)  # fmt: skip
def test_a_damaged_shard_is_named_and_not_used(manifest, tmp_path, how):
    packed(manifest, tmp_path / "pack")
    [shard] = (tmp_path / "pack").glob("*.safetensors")
    damage(shard, how)
    files = FileReader(manifest, config(None))
    reader = open_reader(manifest, config(tmp_path / "pack"))
    assert isinstance(reader, PackReader)
    look = [Sampling(24, 40)]
    if how == "flipped in a frame":
        with pytest.warns(UserWarning, match=f"{shard.name} is not used any more"):
            found = [reader.read(row, None, look) for row in range(6)]
    else:
        assert f"{shard} is not used" in notes_on(reader)[0]
        found = [reader.read(row, None, look) for row in range(6)]
    assert all(map(equal, found, [files.read(row, None, look) for row in range(6)]))
    assert shard.name in {path.name for path in reader.pack.broken}
    said = []
    if how in ("a link out of it", "a FIFO"):
        with pytest.raises(UserError, match="holds what is not of a pack"):
            packed(manifest, tmp_path / "pack")
        return
    made = make_pack(manifest, tmp_path / "pack", Settings(short_side=32), note=said.append)
    assert made.clips == 6
    assert f"{shard} is not used" in said[0]
    assert not Pack(tmp_path / "pack").broken, "packed again, it has the name that it had"


def test_a_shard_of_another_pack_is_not_used(manifest, tmp_path):
    packed(manifest, tmp_path / "pack")
    packed(manifest, tmp_path / "other", short_side=40)
    [shard] = (tmp_path / "other").glob("*.safetensors")
    shard.rename(tmp_path / "pack" / shard.name)
    pack = Pack(tmp_path / "pack")
    assert pack.broken == {tmp_path / "pack" / shard.name: "it belongs to another pack"}


def test_a_changed_clip_is_named_and_packed_again(manifest, tmp_path, film):
    packed(manifest, tmp_path / "pack")
    film("short.avi", 7, size=(40, 56), codec="mpeg4")
    now = noted(manifest)
    reader = open_reader(now, config(tmp_path / "pack"))
    [sentence] = notes_on(reader)
    assert "1 of 6 clips are read from their files" in sentence
    assert "short.avi, whose bytes have changed" in sentence
    look = [Sampling(24, 9)]
    assert len(reader.read(3, None, look)[0]) == 7
    assert packed(now, tmp_path / "pack").new_files == 1
    assert not notes_on(open_reader(now, config(tmp_path / "pack")))
    old = open_reader(manifest, config(tmp_path / "pack"))
    assert len(old.read(3, None, look)[0]) == 5, (
        "a run that began with the old bytes has its frames"
    )


def test_a_run_does_not_need_its_pack(manifest, tmp_path):
    reader = open_reader(manifest, config(tmp_path / "gone"))
    assert type(reader) is FileReader
    assert "is gone; frames are read from files" in notes_on(reader)[0]


def test_nobodys_files_are_touched(manifest, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds what is not of a pack \(notes.txt\)"):
        packed(manifest, tmp_path / "mine")
    assert os.listdir(tmp_path / "mine") == ["notes.txt"]
    packed(manifest, tmp_path / "pack")
    with pytest.raises(UserError, match="is a pack of 32 px, not of 48 px, JPEG of quality 80"):
        packed(manifest, tmp_path / "pack", short_side=48, jpeg_quality=80)


def test_a_full_disk_is_told_before_and_meanwhile(manifest, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(making.shutil, "disk_usage", lambda path: _Usage(1000))
        with pytest.raises(UserError, match=r"has 0.0 MB free, and the frames need about 0.\d MB"):
            packed(manifest, tmp_path / "small")
        assert not list((tmp_path / "small").glob("*.safetensors"))
    with monkeypatch.context() as patch:
        fill_the_disk(patch, after=1, where="full")
        with pytest.raises(UserError, match=r"No space left.*goes on from there"):
            packed(manifest, tmp_path / "full")
    assert not list((tmp_path / "full").glob("*.partial"))
    assert packed(manifest, tmp_path / "full").clips == 6


_Usage = namedtuple("_Usage", "free")


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{" * 5000, b'{"short_side": 1e99}', b'{"short_side": 32, "root": "../.."}',
     b'{"version": 9, "short_side": 32}', b"\xff\xfe", b" " * 20_000],
)  # fmt: skip
def test_what_a_pack_says_of_itself_is_read_by_a_schema(tmp_path, content):
    (tmp_path / "pack.json").write_bytes(content)
    with pytest.raises(UserError) as error:
        Pack(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_the_size_is_told_beforehand(manifest, tmp_path):
    said = []
    made = make_pack(manifest, tmp_path / "pack", Settings(short_side=32), note=said.append)
    told = float(said[0].split("about ")[1].split(" MB")[0]) * 1e6
    assert "4 files, 51 frames" in said[0]
    assert told == pytest.approx(made.size_bytes, rel=0.2)


def test_a_file_of_another_kind_ends_no_part(manifest, tmp_path):
    """Worker processes are given whole parts; one bad file costs none of the others."""
    folder = tmp_path / "pack"
    folder.mkdir()
    files = [PackedFile(str(tmp_path / name), name, name, ((None, None),))
             for name in ("gone.mp4", "short.avi")]  # fmt: skip
    faults = pack_part(Part(str(folder), Settings(short_side=32), tuple(files)), lambda: None)
    assert isinstance(faults, list)
    assert [fault.name for fault in faults] == ["gone.mp4"]
    assert len(list(folder.glob("*.safetensors"))) == 1
