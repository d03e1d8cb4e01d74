"""Folders as people have them: what is hidden, copied, linked or beside the splits is no clip."""

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from understudy.data.decode import DecodeError, probe, read_frames
from understudy.data.fingerprint import fingerprint
from understudy.data.frame_folder import frames_of
from understudy.data.sources import read_manifest
from understudy.data.sources.folder import from_folder
from understudy.errors import UserError


@pytest.fixture
def tree(tmp_path):
    def make(*names: str) -> Path:
        root = tmp_path / "tree"
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        return root

    return make


def rows(manifest) -> dict[str, tuple[str, str]]:
    return {row.path: (row.label, row.split) for row in manifest.records}


def said(manifest) -> str:
    return "; ".join(manifest.notes)


BOTH = ("jump/a.mp4", "sit/b.mp4")
SPLIT = tuple(f"{s}/{c}/{s}.mp4" for s in ("train", "val", "test") for c in ("jump", "sit"))


@pytest.mark.parametrize(
    "name",
    [
        ".ipynb_checkpoints/a-checkpoint.mp4",
        "jump/.ipynb_checkpoints/a-checkpoint.mp4",
        "__MACOSX/jump/._a.mp4",
        "jump/._a.mp4",
        "jump/@eaDir/a.mp4/SYNOPHOTO_THUMB_M.jpg",
        "@eaDir/thumb.jpg",
        "$RECYCLE.BIN/S-1/a.mp4",
        ".git/a.mp4",
        "jump/.DS_Store",
        "jump/Thumbs.db",
        "jump/desktop.ini",
    ],
)
def test_what_is_hidden_is_no_class_and_no_clip(tree, name):
    manifest = from_folder(tree(*BOTH, name))
    assert set(rows(manifest)) == set(BOTH)
    assert manifest.ignored


# Splits


def test_a_folder_beside_the_splits_does_not_hide_them(tree):
    root = tree(*SPLIT, "docs/notes.txt", "runs/run/report.html", ".cache/x.mp4")
    (root / "models").mkdir()
    manifest = from_folder(root)
    assert rows(manifest) == {name: tuple(name.split("/")[1::-1]) for name in SPLIT}
    assert "beside the splits, without media: docs/, models/, runs/" in said(manifest)
    manifest = from_folder(tree("extra/jump/1.mp4", "extra/jump/2.mp4"))
    assert len(manifest) == 6
    assert "extra/ lies beside the splits and is none: its 2 media were left out" in said(manifest)


def test_media_beside_class_folders_are_named(tree):
    manifest = from_folder(tree(*SPLIT, "train/loose.mp4", "cover.jpg"))
    assert len(manifest) == 6
    assert "1 media lie beside the class folders and were left out: train/loose.mp4" in (
        said(manifest)
    )
    manifest = from_folder(tree("../other/jump/a.mp4", "../other/b.mp4").parent / "other")
    assert "1 media lie beside the class folders and were left out: b.mp4" in said(manifest)


def test_a_train_may_be_a_class(tree):
    manifest = from_folder(tree("bus/a.jpg", "car/b.jpg", "train/c.jpg"))
    assert manifest.classes == ("bus", "car", "train")


@pytest.mark.parametrize(
    "names",
    [
        ("train/jump/a.mp4", "train/sit/b.mp4", "more/jump/a.mp4"),
        ("val/jump/a.mp4", "test/sit/b.mp4", "run/jump/a.mp4"),
    ],
)
def test_what_can_be_splits_or_classes_is_refused(tree, names):
    with pytest.raises(UserError, match=r"are they splits or classes.*none is called like a split"):
        from_folder(tree(*names))


def test_a_tree_to_test_on_needs_no_train(tree):
    manifest = from_folder(tree("val/jump/a.mp4", "test/sit/b.mp4", "notes/x.txt"))
    assert rows(manifest) == {"val/jump/a.mp4": ("jump", "val"), "test/sit/b.mp4": ("sit", "test")}


def test_splits_inside_of_classes(tree):
    names = [f"{c}/{s}/{c}.mp4" for c in ("jump", "sit") for s in ("train", "Validation", "test")]
    splits = {"train": "train", "Validation": "val", "test": "test"}
    assert rows(from_folder(tree(*names))) == {
        name: (name.split("/")[0], splits[name.split("/")[1]]) for name in names
    }
    with pytest.raises(UserError, match="jump/ is split into train and others, and run/ is not"):
        from_folder(tree("run/a.mp4"))


def test_splits_inside_of_classes_with_media_beside_them_are_refused(tree):
    names = ("jump/train/a.mp4", "jump/test/b.mp4", "jump/c.mp4", "sit/train/d.mp4")
    with pytest.raises(UserError, match="jump/ holds media beside them"):
        from_folder(tree(*names))


def test_a_split_without_classes_is_told_from_a_folder_too_low(tree):
    with pytest.raises(UserError, match="Media lie directly in test/, without class folders"):
        from_folder(tree("train/a.mp4", "test/b.mp4"))


# Names


def test_two_spellings_of_an_accent_are_one_class(tree):
    names = [unicodedata.normalize(form, f"caf\u00e9/{form}.mp4") for form in ("NFC", "NFD")]
    manifest = from_folder(tree("jump/a.mp4", *names))
    assert manifest.classes == ("caf\u00e9", "jump")
    assert "1 folders are one class with another" in said(manifest)


def test_blanks_around_a_name_are_not_part_of_it_and_said(tree):
    manifest = from_folder(tree("jump/a.mp4", " jump/b.mp4", "sit/c.mp4"))
    assert manifest.classes == ("jump", "sit")
    assert "1 folders are one class with another" in said(manifest)


@pytest.mark.parametrize("other", ["Jump", "JUMP", "Sit_down", "sit-down", "sit  down"])
def test_classes_that_differ_in_case_or_blanks_are_refused(tree, other, tmp_path):
    root = tree("jump/a.mp4", "sit down/b.mp4", f"{other}/c.mp4")
    with pytest.raises(UserError, match="differ in nothing but case, blanks or hyphens"):
        read_manifest(root)
    table = tmp_path / "t.csv"
    table.write_text(f"path,label\na.mp4,jump\nb.mp4,sit down\nc.mp4,{other}\n")
    with pytest.raises(UserError, match="differ in nothing but case, blanks or hyphens"):
        read_manifest(table)


def test_upper_and_lower_letters_may_be_classes(tree):
    names = [f"{letter}/{n}.jpg" for letter in "aA" for n in range(5)]
    assert read_manifest(tree(*names)).classes == ("A", "a")


def test_empty_class_folders_are_named(tree):
    root = tree(*BOTH, "stand/notes.txt")
    (root / "lie").mkdir()
    assert "2 folders hold no media and are no classes: lie/, stand/" in said(from_folder(root))


# Links


def test_what_is_linked_and_there_is_one_clip(tree):
    root = tree(*BOTH, "../far/c.mp4", "../far/d.mp4")
    (root / "jump" / "again.mp4").symlink_to(root / "jump" / "a.mp4")
    (root / "sit" / "other.mp4").symlink_to(root / "jump" / "a.mp4")
    (root / "sit" / "far").symlink_to(root.parent / "far")
    (root / "sit" / "twice.mp4").symlink_to(root.parent / "far" / "c.mp4")
    manifest = from_folder(root)
    assert set(rows(manifest)) == {*BOTH, "sit/far/c.mp4", "sit/far/d.mp4"}
    assert "3 links lead to clips that are there already" in said(manifest)


def test_a_tree_of_links_alone_is_read(tree):
    """Splits are often made so, and stores of large files keep them below a hidden folder."""
    root = tree(".store/1.mp4", ".store/2.mp4", "all/jump/3.mp4", "all/sit/4.mp4")
    for number, place in enumerate(("train/jump", "train/sit"), start=1):
        (root / place).mkdir(parents=True)
        (root / place / "x.mp4").symlink_to(root / ".store" / f"{number}.mp4")
    for name in ("jump/3.mp4", "sit/4.mp4"):
        (root / "test" / name).parent.mkdir(parents=True)
        (root / "test" / name).symlink_to(root / "all" / name)
    manifest = from_folder(root)
    assert sorted(rows(manifest)) == [
        "test/jump/3.mp4", "test/sit/4.mp4", "train/jump/x.mp4", "train/sit/x.mp4",
    ]  # fmt: skip
    assert "all/ lies beside the splits" in said(manifest)


# Frame folders


def frames(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for level, name in enumerate(names):
        if name.endswith((".png", ".jpg")):
            Image.new("RGB", (8, 8), (10 * level, 0, 0)).save(folder / name)
        else:
            (folder / name).write_bytes(b"x")
    return folder


PLAIN = tuple(f"frame_{number:02}.png" for number in range(1, 7))


@pytest.mark.parametrize(
    ("more", "note"),
    [
        (("Thumbs.db", "desktop.ini", ".DS_Store", "._frame_01.png"), ""),
        (("frame (1).png",), "1 copies of frames were left out: jump/clip/frame (1).png"),
        (("frame_02 (1).png",), "1 copies of frames were left out"),
        (("frame_02 - Copy.png", "frame_03 copy 2.png"), "2 copies of frames were left out"),
        (("Copy of frame_02.png", "frame_02 - Kopie (2).png"), "2 copies of frames"),
        (("labels.json", "sound.wav"), ""),
    ],
)
def test_a_frame_folder_stays_one_clip(tmp_path, more, note):
    folder = frames(tmp_path / "jump" / "clip", *PLAIN, *more)
    frames(tmp_path / "sit", "1.png")
    manifest = from_folder(tmp_path)
    assert set(rows(manifest)) == {"jump/clip", "sit/1.png"}
    assert note in said(manifest)
    assert probe(folder).frames == 6
    seen = read_frames(folder, [number / 25 for number in range(6)])[:, 0].float().mean((1, 2))
    assert seen.tolist() == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    "names",
    [
        [f"frame ({number}).png" for number in (1, 2, 10)],
        ["0001_color.png", "0002_color.png"],
        [f"2026-11-28 10-{time}.png" for time in ("00-58", "00-59", "01-00", "01-59")],
        ["a1.jpg", "a2.JPEG"],
    ],
)
def test_other_ways_of_numbering_are_one_clip(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    found = frames_of(tmp_path)
    assert found.is_clip
    assert not found.several
    assert list(found.pictures) == names
    assert found.missing == 0


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ((1, 2, 3, 6, 7), 2),
        ((0, 5, 10, 15), 0),
        ((0, 5, 10, 20, 25), 1),
        ((3, 8, 9, 27, 31), 0),
    ],
)
def test_gaps_are_counted(tmp_path, numbers, missing):
    frames(tmp_path / "jump" / "clip", *(f"{number:05}.png" for number in numbers))
    frames(tmp_path / "sit", "1.png")
    manifest = from_folder(tmp_path)
    assert len(manifest) == 2
    told = f"jump/clip/ ({missing} beside {len(numbers)})" in said(manifest)
    assert told == bool(missing)


@pytest.mark.parametrize(
    "names",
    [
        [f"{kind}{number:05}.png" for kind in ("img_", "flow_x_") for number in range(4)],
        [f"person{who}_{number}.png" for who in (1, 2) for number in range(3)],
        [f"{number:03}.{kind}" for kind in ("png", "jpg") for number in range(3)],
    ],
)
def test_several_sequences_in_one_folder_are_refused(tmp_path, names):
    folder = frames(tmp_path / "jump" / "clip", *names)
    frames(tmp_path / "sit", "1.png")
    with pytest.raises(UserError, match=r"clip: its pictures are numbered in 2 sequences \(.*#"):
        from_folder(tmp_path)
    with pytest.raises(DecodeError, match="Give each a folder of its own"):
        read_frames(folder, [0.0])


def test_numbered_pictures_beside_others_are_single_and_said(tmp_path):
    frames(tmp_path / "jump" / "album", "1.png", "2.png", "beach.png")
    frames(tmp_path / "sit", "1.png")
    manifest = from_folder(tmp_path)
    assert len(manifest) == 4
    assert "1 folders hold numbered pictures beside others; each picture is a clip there" in (
        said(manifest)
    )


def test_looking_at_a_folder_does_not_change_its_clip(tmp_path):
    folder = frames(tmp_path / "clip", *PLAIN)
    before = fingerprint(folder)
    (folder / "Thumbs.db").write_bytes(b"thumbnails")
    assert fingerprint(folder) == before
    os.rename(folder / PLAIN[0], folder / "frame_00.png")
    assert fingerprint(folder) != before


def test_pictures_named_at_random_are_no_sequences(tree):
    """As sites of pictures name them: some end in digits, a few by chance alike."""
    names = ["00caf7a1", "00caf7a12", "3d", "9e4", "b0f3", "c77", "d1d1", "e5f60", "fa9", "ab12"]
    root = tree(*(f"{label}/photos/{name}.jpg" for label in ("clap", "jump") for name in names))
    assert len(from_folder(root)) == 2 * len(names)
