"""The right frames, whole and upright, or an error: never something in their place."""

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from understudy.data import video
from understudy.data.decode import DecodeError, probe, read_frames, read_timeline
from understudy.data.frames import Frames
from understudy.data.pictures import read_picture
from understudy.data.sampling import sample_times
from understudy.data.transforms import prepare

CONTAINERS = [
    ("clip.mp4", {}),
    ("clip.mkv", {}),
    ("clip.mov", {}),
    ("clip.ts", {}),
    ("clip.webm", {"codec": "libvpx"}),
    ("clip.avi", {"codec": "mpeg4"}),
]


@pytest.mark.parametrize(("name", "options"), CONTAINERS)
def test_every_frame_is_found_at_its_time(film, numbers, name, options):
    path = film(name, 30, **options)
    timeline = read_timeline(path)
    assert timeline.frames == 30
    assert timeline.fps == pytest.approx(25)
    times = sample_times("uniform", 30, timeline)
    assert numbers(read_frames(path, times)) == list(range(30))


def test_a_time_on_the_edge_belongs_to_the_frame_that_begins(film, numbers):
    path = film("clip.mp4", 30)
    assert numbers(read_frames(path, [n / 25 for n in range(30)])) == list(range(30))


@pytest.mark.parametrize(("name", "options"), CONTAINERS)
def test_seeking_gives_the_frames_of_one_pass(film, monkeypatch, name, options):
    path = film(name, 300, gop=12, **options)
    timeline = read_timeline(path)
    decoded = []
    decode = Frames._decoded

    def counting(self):
        for frame in decode(self):
            decoded.append(frame)
            yield frame

    monkeypatch.setattr(Frames, "_decoded", counting)
    times = sample_times("uniform", 5, timeline)
    jumped = video.read_video(path, times, lambda pixels: pixels)
    jumping = len(decoded)
    straight = video.read_video(path, times, lambda pixels: pixels, seek=False)
    assert len(decoded) - jumping > 250
    if name in {"clip.mp4", "clip.mov", "clip.avi"}:  # the others keep no index at their front
        assert jumping < 120
    for one, other in zip(jumped, straight, strict=True):
        assert torch.equal(one, other)


def test_frames_of_uneven_length_are_shown_as_long_as_they_last(film, numbers):
    path = film("clip.mkv", 5, fps=100, ticks=[0, 10, 15, 70, 90])
    assert numbers(read_frames(path, [0.05, 0.12, 0.5, 0.71, 0.89, 0.9])) == [0, 1, 2, 3, 3, 4]


@pytest.mark.parametrize("name", ["clip.ts", "clip.mkv"])
def test_a_clip_need_not_start_at_zero(film, numbers, name):
    path = film(name, 20, ticks=range(100, 120))
    assert probe(path).start_s >= 4
    timeline = read_timeline(path, start_s=0.2, end_s=0.6)
    assert numbers(read_frames(path, sample_times("uniform", 99, timeline))) == list(range(5, 15))


@pytest.mark.parametrize(
    ("name", "options"),
    [*CONTAINERS[:-1], ("clip.wmv", {"codec": "wmv2"}), ("clip.flv", {})],
)
def test_the_time_before_a_clip_starts_is_no_part_of_it(film, numbers, name, options):
    path = film(name, 30, ticks=range(175, 205), **options)
    info = probe(path)
    assert info.start_s == pytest.approx(7, abs=0.05)
    assert info.duration_s == pytest.approx(30 / 25, abs=0.002)
    times = sample_times("uniform", 30, read_timeline(path))
    assert numbers(read_frames(path, times)) == list(range(30))


@pytest.mark.parametrize("name", ["clip.mkv", "clip.webm"])
def test_a_late_start_hides_no_lost_end(film, name):
    path = film(name, 250, ticks=range(175, 425), codec="libvpx" if "webm" in name else "libx264")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert probe(path).duration_s == pytest.approx(10, abs=0.05)
    with pytest.raises(DecodeError, match=r"there is no frame at|damaged"):
        read_frames(path, [16.9])


def test_a_part_is_widened_to_whole_frames_and_ends_with_the_clip(film):
    path = film("clip.mp4", 20)
    timeline = read_timeline(path, start_s=0.21, end_s=9.0)
    assert (timeline.start_s, timeline.end_s) == pytest.approx((0.2, 0.8))
    with pytest.raises(DecodeError, match="nothing is left"):
        read_timeline(path, start_s=0.9)


def test_a_file_that_does_not_know_its_duration(film, numbers):
    """What a browser's recorder writes."""
    path = film("clip.webm", 30, codec="libvpx", options={"live": "1"})
    timeline = read_timeline(path)
    assert timeline.frames == 30
    times = sample_times("uniform", 30, timeline)
    assert numbers(read_frames(path, times)) == list(range(30))


def test_one_frame_is_a_clip(film, numbers):
    path = film("clip.mp4", 1)
    timeline = read_timeline(path)
    assert timeline.frames == 1
    assert numbers(read_frames(path, sample_times("uniform", 8, timeline))) == [0]


def test_odd_sizes(film):
    path = film("clip.mp4", 3, size=(61, 45), pixels="yuv444p")
    assert (probe(path).width, probe(path).height) == (61, 45)
    assert read_frames(path, [0.0]).shape == (1, 3, 45, 61)


def test_gif(tmp_path):
    colours = ["red", "lime", "blue"]
    first, *rest = [Image.new("RGB", (20, 16), colour) for colour in colours]
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=200)
    timeline = read_timeline(tmp_path / "a.gif")
    frames = read_frames(tmp_path / "a.gif", sample_times("uniform", 3, timeline))
    assert frames[:, :, 8, 8].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


UNIT = 65536
MATRICES = {
    "quarter": ((0, UNIT, -UNIT, 0), lambda p: torch.rot90(p, -1, (-2, -1))),
    "half": ((-UNIT, 0, 0, -UNIT), lambda p: torch.rot90(p, 2, (-2, -1))),
    "three quarters": ((0, -UNIT, UNIT, 0), lambda p: torch.rot90(p, 1, (-2, -1))),
    "mirror": ((-UNIT, 0, 0, UNIT), lambda p: p.flip(-1)),
    "mirrored quarter": ((0, UNIT, UNIT, 0), lambda p: p.transpose(-2, -1)),
}


@pytest.mark.parametrize("turn", MATRICES)
def test_rotation_metadata_is_obeyed(film, turn):
    generator = np.random.default_rng(0)
    texture = generator.integers(0, 256, (3, 4, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    path = film("clip.mp4", 2, picture=lambda number: texture)
    plain = read_frames(path, [0.0])
    (a, b, c, d), turned = MATRICES[turn]
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of header
    assert struct.unpack_from(">i", content, place)[0] == UNIT
    struct.pack_into(">9i", content, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    frames = read_frames(path, [0.0])
    assert torch.equal(frames, turned(plain))
    assert (probe(path).height, probe(path).width) == frames.shape[-2:]


def test_what_a_file_is_its_content_decides(film, tmp_path, numbers):
    clip = film("clip.mp4", 10).rename(tmp_path / "clip.jpg")
    assert numbers(read_frames(clip, [0.3])) == [7]
    Image.new("RGB", (8, 6), "red").save(tmp_path / "picture.png")
    picture = (tmp_path / "picture.png").rename(tmp_path / "picture.mp4")
    assert probe(picture).kind == "picture"
    assert read_frames(picture, [0.0])[0, :, 0, 0].tolist() == [255, 0, 0]


# What cannot be read


def test_lost_frames_are_never_replaced(film, numbers):
    path = film("clip.mkv", 300, picture=noise)
    whole = path.read_bytes()
    early = [0.1, 0.5]
    expected = read_frames(path, early)
    path.write_bytes(whole[: len(whole) // 2])
    assert torch.equal(read_frames(path, early), expected), "these frames are still there"
    assert read_timeline(path).frames == 300, "the header still tells the true length"
    with pytest.raises(DecodeError, match="no frame at"):
        read_frames(path, [0.1, 11.0])


def test_a_damaged_stretch_is_an_error_where_its_frames_are_needed(film):
    path = film("clip.mp4", 60, picture=noise, gop=60)
    expected = read_frames(path, [0.1])
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = b"\xff" * 20_000
    path.write_bytes(content)
    assert torch.equal(read_frames(path, [0.1]), expected)
    with pytest.raises(DecodeError, match="damaged"):
        read_frames(path, [0.1, 1.3])


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    def write(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    with wave.open(str(folder / "sound.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    (folder / "empty").mkdir()
    return {
        "sound only": (folder / "sound.mp4", "only audio"),
        "zero length": (write("zero.mp4", b""), "empty"),
        "text": (write("text.mp4", b"this is no video\n" * 50), "no"),
        "half a header": (write("header.png", b"\x89PNG\r\n\x1a\n"), "no readable picture"),
        "missing": (folder / "missing.mp4", "cannot be opened"),
        "empty folder": (folder / "empty", "no pictures"),
    }


@pytest.mark.parametrize(
    "kind", ["sound only", "zero length", "text", "half a header", "missing", "empty folder"]
)
def test_what_cannot_be_read_says_why(tmp_path, kind):
    path, reason = broken_files(tmp_path)[kind]
    for read in (probe, lambda path: read_frames(path, [0.0])):
        with pytest.raises(DecodeError, match=reason) as caught:
            read(path)
        assert caught.value.path == path


def test_times_must_rise(film):
    with pytest.raises(ValueError, match="rise"):
        read_frames(film("clip.mp4", 5), [0.1, 0.1])


# Pictures


def save(folder: Path, image: Image.Image, name: str, **options) -> torch.Tensor:
    image.save(folder / name, **options)
    return read_picture(folder / name)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = save(tmp_path, Image.fromarray(ramp), "a.png")
    expected = torch.from_numpy(np.round(ramp / 257).astype(np.uint8))
    assert all(torch.equal(channel, expected) for channel in pixels)


def test_transparency_is_put_on_white(tmp_path):
    image = Image.new("RGBA", (3, 1))
    image.putdata([(200, 0, 0, 255), (200, 0, 0, 0), (200, 0, 0, 128)])
    pixels = save(tmp_path, image, "a.png")[:, 0].T
    assert pixels.tolist() == [[200, 0, 0], [255, 255, 255], [227, 127, 127]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "YCbCr"])
def test_every_mode_gives_the_same_grey_square(tmp_path, mode):
    grey = Image.new("L", (12, 10), 255)
    grey.paste(0, (0, 0, 6, 10))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    else:
        image = (grey if mode in {"1", "L", "LA", "P"} else grey.convert("RGB")).convert(mode)
    suffix = "tif" if mode in {"CMYK", "YCbCr"} else "png"
    pixels = save(tmp_path, image, f"a.{suffix}")
    assert torch.equal(pixels, torch.from_numpy(np.array(grey)).expand(3, -1, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed(tmp_path, orientation):
    upright = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    undo = {
        1: lambda p: p,
        2: lambda p: p.flip(-1),
        3: lambda p: p.flip(-1, -2),
        4: lambda p: p.flip(-2),
        5: lambda p: p.transpose(-1, -2),
        6: lambda p: torch.rot90(p, 1, (-2, -1)),
        7: lambda p: p.flip(-1, -2).transpose(-1, -2),
        8: lambda p: torch.rot90(p, -1, (-2, -1)),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(undo(upright).permute(1, 2, 0).contiguous().numpy())
    assert torch.equal(save(tmp_path, stored, "a.png", exif=exif), upright)
    info = probe(tmp_path / "a.png")
    assert (info.height, info.width) == (5, 7)


@pytest.mark.parametrize("name", ["a.heic", "a.avif", "a.webp", "a.bmp", "a.tif", "a.ppm"])
def test_formats(tmp_path, name):
    if name == "a.heic":
        import pillow_heif

        pillow_heif.register_heif_opener()
    image = Image.new("RGB", (32, 24), (200, 30, 60))
    pixels = save(tmp_path, image, name)
    assert pixels.shape == (3, 24, 32)
    assert (pixels.float() - torch.tensor([200.0, 30, 60])[:, None, None]).abs().max() <= 4


def test_a_cut_picture_is_refused(tmp_path):
    Image.effect_noise((64, 64), 80).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(DecodeError, match="damaged"):
        read_picture(tmp_path / "a.jpg")


# Folders of frames, and sizes


def test_a_folder_of_frames_is_counted_as_people_count(tmp_path, numbers):
    for number in range(12):
        Image.new("RGB", (8, 6), (6 * number,) * 3).save(tmp_path / f"frame_{number}.png")
    timeline = read_timeline(tmp_path)
    assert (timeline.frames, timeline.fps) == (12, 25)
    times = sample_times("uniform", 12, timeline)
    assert numbers(read_frames(tmp_path, times)) == list(range(12))
    with pytest.raises(DecodeError, match="12 frames"):
        read_frames(tmp_path, [0.1, 0.5])


def test_frames_of_different_sizes_are_no_clip(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "1.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "2.png")
    with pytest.raises(DecodeError, match="differ in size"):
        read_frames(tmp_path, [0.0, 0.04])


def test_small_pixels_are_the_pixels_that_a_model_would_see(film):
    """Decoding small and preparing equals decoding whole and preparing; nothing is enlarged."""
    path = film(
        "clip.mp4", 4, size=(96, 64), picture=lambda n: noise(n).repeat(2, 0)[:64, :48].repeat(2, 1)
    )
    whole = read_frames(path, [0.0, 0.1])
    small = read_frames(path, [0.0, 0.1], short_side=32)
    assert small.shape == (2, 3, 32, 48)
    assert torch.equal(prepare(small, 32), prepare(whole, 32))
    assert torch.equal(read_frames(path, [0.0, 0.1], short_side=500), whole)
