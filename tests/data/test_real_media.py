"""Odd and broken media from other projects' test suites, each with what must come of it."""

import itertools

import pytest
import torch

from understudy.data.decode import DecodeError, probe, read_frames, read_timeline
from understudy.data.manifest import complete_splits
from understudy.data.sampling import sample_times
from understudy.data.sources import read_manifest
from understudy.data.sources.folder import from_folder
from understudy.data.video import read_video

pytestmark = pytest.mark.real

# file: (frames, width, height) as shown, or what the error says
EXPECTED: dict[str, tuple[int, int, int] | str] = {
    "decord/corrupted.mp4": "damaged video",
    "decord/flipping_a_pancake.mkv": (310, 426, 240),
    "decord/unordered.mov": (4, 50, 50),
    "decord/video_0.mov": (3, 568, 320),
    "decord/video_90.mov": (3, 320, 568),
    "decord/video_180.mov": (3, 568, 320),
    "decord/video_270.mov": (3, 320, 568),
    "mediapipe/format_FLV_H264_AAC.video": (180, 640, 320),
    "mediapipe/format_MKV_VP8_VORBIS.video": (180, 640, 320),
    "misc/header_only_258B.mp4": "no video stream",
    "misc/truncated_no_moov.mp4": "no readable video",
    "misc/truncated_tail.avi": "there is no frame at|damaged",
    "misc/zero_length.mp4": "the file is empty",
    "torchcodec/animated.gif": (4, 64, 48),
    "torchcodec/av1_video.mkv": (125, 640, 360),
    "torchcodec/bad_huffman.jpg": (1, 1024, 768),  # libjpeg only warns, as every viewer does
    "torchcodec/bt2020_10bit.mp4": (60, 320, 240),
    "torchcodec/cmyk.jpg": (1, 1280, 720),
    "torchcodec/corrupt.jpg": "damaged picture",
    "torchcodec/discard_first_keyframe.mp4": (25, 64, 64),
    "torchcodec/gradient.avif": (1, 1280, 720),
    "torchcodec/gradient_rotated.heic": (1, 720, 1280),
    "torchcodec/grayscale.jpg": (1, 1280, 720),
    "torchcodec/grayscale_16bit.png": (1, 64, 48),
    "torchcodec/h264_10bits.mp4": (30, 200, 200),
    "torchcodec/h265_10bits.mp4": (30, 200, 200),
    "torchcodec/h265_video.mp4": (10, 128, 128),
    "torchcodec/heapbof.png": "no readable",
    "torchcodec/nasa_13013.mp4": (325, 320, 180),
    "torchcodec/nasa_13013.mp4.audio.mp3": "only audio",
    "torchcodec/nasa_13013_rotated.mp4": (17, 270, 480),
    "torchcodec/reproduce_seek_bug.wav": "only audio",
    "torchcodec/rgba.png": (1, 1280, 720),
    "torchcodec/sigsegv.png": "no readable|damaged",
    "torchcodec/sine_mono_mp3.swf": "only audio",
    "torchcodec/sine_stereo_mp2.mpg": (100, 128, 128),
    "torchcodec/test_non_zero_start.mp4": (12, 200, 112),
    "torchcodec/testsrc2_av1_10bit.mp4": (25, 320, 240),
    "torchcodec/testsrc2_hdr.mp4": (60, 320, 180),
    "torchcodec/testsrc2_mpeg4.avi": (30, 1280, 720),
    "torchcodec/testsrc2_mpeg4.mp4": (1, 64, 64),
    "torchcodec/testsrc2_odd_height_and_width_mpeg2.mp4": (10, 121, 81),
    "torchcodec/testsrc2_odd_height_and_width_vp9.mp4": (25, 321, 241),
    "torchcodec/testsrc2_vp8.webm": (30, 1280, 720),
    "torchcodec/testsrc2_vp9.webm": (30, 1280, 720),
}
VIDEOS = [name for name, what in EXPECTED.items() if not isinstance(what, str) and what[0] > 1]


def test_the_table_names_every_file(real_data):
    files = {
        path.relative_to(real_data / "robust").as_posix()
        for path in (real_data / "robust").rglob("*")
        if path.is_file() and path.name != "LICENSE"
    }
    assert files == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_frame_or_an_error(real_data, name):
    path, expected = real_data / "robust" / name, EXPECTED[name]
    if isinstance(expected, str):
        with pytest.raises(DecodeError, match=expected):
            read_frames(path, sample_times("uniform", 8, read_timeline(path)))
        return
    frames, width, height = expected
    info, timeline = probe(path), read_timeline(path)
    assert (timeline.frames, info.width, info.height) == expected
    decoded = read_frames(path, sample_times("uniform", frames, timeline), short_side=64)
    assert len(decoded) == frames
    whole = read_frames(path, sample_times("uniform", 1, timeline))
    assert whole.shape == (1, 3, height, width)


@pytest.mark.parametrize("name", VIDEOS)
def test_seeking_gives_the_frames_of_one_pass(real_data, name):
    path = real_data / "robust" / name
    times = sample_times("uniform", 3, read_timeline(path))
    jumped = read_video(path, times, lambda pixels: pixels)
    straight = read_video(path, times, lambda pixels: pixels, seek=False)
    assert all(torch.equal(a, b) for a, b in zip(jumped, straight, strict=True))


def test_neighbouring_frames_of_a_film_differ(real_data):
    """A frame that were repeated in place of its neighbour would be equal to it."""
    path = real_data / "robust/torchcodec/testsrc2_vp9.webm"
    frames = read_frames(path, sample_times("uniform", 30, read_timeline(path)))
    assert len(frames) == 30
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(frames))


def test_gradients_agree_across_formats_and_rotation(real_data):
    """One gradient as CMYK JPEG, as AVIF and lying on its side in HEIC."""
    folder = real_data / "robust/torchcodec"
    avif, cmyk, heic = (
        read_frames(folder / name, [0.0])[0].float()
        for name in ("gradient.avif", "cmyk.jpg", "gradient_rotated.heic")
    )
    assert (avif - cmyk).abs().mean() < 3
    upright = torch.rot90(heic, 1, (-2, -1))
    assert (avif - upright).abs().mean() < 3


def test_sign_words_works_as_it_is(real_data):
    manifest = read_manifest(real_data / "sign_words/labels.csv")
    assert {split: set(counts.values()) for split, counts in manifest.counts().items()} == {
        "train": {30},
        "val": {10},
        "test": {10},
    }
    assert set(manifest.extras) == {"seconds", "fps"}
    for row in manifest.rows("test"):
        info = probe(manifest.path_of(row))
        assert info.fps == pytest.approx(float(manifest.extras["fps"][row]))
        assert info.duration_s == pytest.approx(float(manifest.extras["seconds"][row]), abs=0.05)


def test_sign_digits_by_person(real_data):
    """218 people; the rounds of ten signs, found from the numbers alone, are about as many."""
    manifest = from_folder(real_data / "sign_digits/images", neighbours=1)
    assert abs(len({row.group for row in manifest.records}) - 218) <= 5
    counts = complete_splits(manifest).counts()
    assert all(38 <= count <= 44 for count in counts["test"].values())
    assert sum(sum(count.values()) for count in counts.values()) == 2062
