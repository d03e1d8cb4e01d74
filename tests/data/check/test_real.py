"""The check on real data: odd and broken files, frames of the same people, strangers."""

import re

import numpy as np
import pytest

from understudy.data.check.verdict import check_data, with_near_copies
from understudy.data.sources import from_folder, write_manifest

pytestmark = pytest.mark.real


def found_in(folder, tmp_path):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    media = [path for path in files if path.name not in {"LICENSE", "README.md"}]
    rows = [f"{path},{'ab'[n % 2]},train,{n}" for n, path in enumerate(media)]
    (tmp_path / "t.csv").write_text("path,label,split,group\n" + "\n".join(rows) + "\n")
    found: dict[str, dict[str, str]] = {}
    for one in check_data(tmp_path / "t.csv").findings:
        if one.rows and not one.beside:
            found.setdefault(one.kind, {})[one.path.removeprefix(f"{folder}/")] = one.reason
    return found


@pytest.mark.timeout(600)
def test_broken_files_are_told_and_sound_ones_are_not(real_data, tmp_path):
    found = found_in(real_data / "robust", tmp_path)
    assert set(found["unreadable"]) == {
        "misc/truncated_no_moov.mp4", "misc/zero_length.mp4", "torchcodec/corrupt.jpg",
        "torchcodec/heapbof.png", "torchcodec/sigsegv.png",
    }  # fmt: skip
    assert set(found["no_video"]) == {
        "misc/header_only_258B.mp4", "torchcodec/nasa_13013.mp4.audio.mp3",
        "torchcodec/reproduce_seek_bug.wav", "torchcodec/sine_mono_mp3.swf",
    }  # fmt: skip
    assert set(found["truncated"]) == {"decord/corrupted.mp4", "misc/truncated_tail.avi"}
    for reason in found["truncated"].values():
        assert re.match(r"\d+ of \d+ frames: ", reason)
    assert set(found["turned"]) == {
        "decord/video_90.mov", "decord/video_180.mov", "decord/video_270.mov",
        "torchcodec/nasa_13013_rotated.mp4",
    }  # fmt: skip


@pytest.mark.timeout(600)
def test_odd_files_are_told_for_what_they_are(real_data, tmp_path):
    found = found_in(real_data / "odd", tmp_path)
    assert set(found["pause"]) == {"pause1m.mkv", "pause1m.mp4"}
    assert set(found["pixel_aspect"]) == {"anamorphic.mkv"}
    assert "truncated" not in found


@pytest.mark.timeout(600)
def test_frames_of_the_same_people_in_random_splits_raise_the_alarm(real_data, tmp_path):
    """Three people in two rooms, nowhere named: each picture is a group of its own."""
    pictures = from_folder(real_data / "body_gestures" / "images")
    some = np.random.default_rng(0).choice(len(pictures), 280, replace=False)
    write_manifest(pictures.take(np.sort(some)), tmp_path / "t.csv")
    checked = check_data(tmp_path / "t.csv")
    with_near_copies(checked, None)
    assert sum(one.kind == "near_leak" for one in checked.findings) > 3


@pytest.mark.timeout(900)
def test_strangers_in_grouped_splits_do_not(real_data, tmp_path):
    pictures = from_folder(real_data / "sign_digits" / "images", neighbours=10)
    write_manifest(pictures, tmp_path / "t.csv")
    checked = check_data(tmp_path / "t.csv")
    with_near_copies(checked, None)
    assert not [one for one in checked.findings if one.kind == "near_leak"]
