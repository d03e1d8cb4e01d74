"""A tree of media to a manifest: what is a clip, what is a group, what was not taken."""

import pytest

from understudy.data.manifest import complete_splits
from understudy.data.sources import read_manifest, write_manifest
from understudy.data.sources.folder import from_folder
from understudy.errors import UserError


@pytest.fixture
def tree(tmp_path):
    def make(*names: str):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def clips(manifest):
    return {row.path: row.label for row in manifest.records}


def test_videos_pictures_and_frame_folders(tree):
    root = tree(
        "jump/a.mp4",
        "jump/more/b.MOV",
        "jump/clip_01/0001.jpg",
        "jump/clip_01/0002.jpg",
        "jump/clip_01/.hidden",
        "sit/1.png",
        "sit/2.png",
        "sit/holiday/beach.jpg",
        "sit/holiday/sea.jpg",
    )
    assert clips(from_folder(root)) == {
        "jump/a.mp4": "jump",
        "jump/more/b.MOV": "jump",
        "jump/clip_01": "jump",
        "sit/1.png": "sit",
        "sit/2.png": "sit",
        "sit/holiday/beach.jpg": "sit",
        "sit/holiday/sea.jpg": "sit",
    }


def test_what_is_not_taken_is_listed(tree):
    root = tree("README", "jump/a.mp4", "jump/notes.txt", "sit/b.mp4", "sit/._b.mp4", "stand/x.doc")
    manifest = from_folder(root)
    assert set(manifest.ignored) == {"README", "jump/notes.txt", "sit/._b.mp4", "stand/x.doc"}
    assert manifest.notes == ("1 folders hold no media and are no classes: stand/",)


def test_a_tree_that_is_split_already(tree):
    root = tree(
        *(f"{split}/{label}/{split}{n}.mp4" for split in ("train", "valid", "test")
          for label in ("jump", "sit") for n in range(2))
    )  # fmt: skip
    manifest = read_manifest(root)
    assert {(row.path.split("/")[0], row.split) for row in manifest.records} == {
        ("train", "train"),
        ("valid", "val"),
        ("test", "test"),
    }
    assert manifest.classes == ("jump", "sit")


def test_a_folder_without_splits_is_split(tree):
    manifest = read_manifest(tree(*(f"{c}/{n}.mp4" for c in ("jump", "sit") for n in range(10))))
    assert manifest.counts() == {
        "train": {"jump": 6, "sit": 6},
        "val": {"jump": 2, "sit": 2},
        "test": {"jump": 2, "sit": 2},
    }


def test_groups_by_an_expression(tree):
    root = tree("jump/ann_1.mp4", "jump/bob_1.mp4", "sit/ann_2.mp4")
    groups = [row.group for row in from_folder(root, group_by=r"/([a-z]+)_").records]
    assert groups == ["ann", "bob", "ann"]
    with pytest.raises(UserError, match=r"finds no group in jump/ann_1\.mp4"):
        from_folder(root, group_by="/([0-9]+)_")
    with pytest.raises(UserError, match="no regular expression with a bracket"):
        from_folder(root, group_by="ann")
    with pytest.raises(UserError, match="no regular expression"):
        from_folder(root, group_by="(")


@pytest.mark.parametrize("lost", [set(), {0, 7, 31}])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_neighbours_never_part_one_person(tree, size, lost):
    """Ten people show five signs in turn; a photograph may be missing anywhere."""
    numbers = [number for number in range(50) if number not in lost]
    root = tree(*(f"{number % 5}/IMG_{100 + number}.jpg" for number in numbers))
    groups: dict[int, set[str]] = {}
    for row in from_folder(root, neighbours=size).records:
        groups.setdefault((int(row.path[-7:-4]) - 100) // 5, set()).add(row.group)
    assert len(groups) == 10
    assert all(len(found) == 1 for found in groups.values())
    assert len(set.union(*groups.values())) >= 9  # two people stay together where one is short


def test_larger_neighbourhoods_hold_several_people(tree):
    root = tree(*(f"{number % 5}/IMG_{number}.jpg" for number in range(50)))
    groups = [row.group for row in from_folder(root, neighbours=12).records]
    assert sorted(groups.count(group) for group in set(groups)) == [5, 15, 15, 15]
    manifest = complete_splits(from_folder(root, neighbours=5))
    assert set(manifest.counts()["test"].values()) == {2}


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ((), {}, "holds no sub-folder with media"),
        (("a.mp4", "b.mp4"), {}, "Media lie directly in it: is .* the folder of the classes"),
        (("jump/notes.txt",), {}, "holds no sub-folder with media.*numbered frames.$"),
        (("jump|sit/a.mp4",), {}, r"jump\|sit cannot be a class.*Rename it"),
        (("jump/a.mp4",), {"neighbours": 10}, "jump/a.mp4 has none"),
        (("jump/1.mp4",), {"neighbours": 0}, "one file at least"),
        (("jump/1.mp4",), {"neighbours": 1, "group_by": "(.)"}, "give one"),
    ],
)
def test_a_wrong_tree_is_refused(tree, names, options, message):
    with pytest.raises(UserError, match=message):
        from_folder(tree(*names), **options)


def test_a_folder_one_level_too_high_is_explained(tree):
    with pytest.raises(UserError, match="the one whose sub-folders are the classes"):
        read_manifest(tree(*(f"images/{c}/{n}.jpg" for c in "ab" for n in range(9))))


def test_a_class_keeps_its_name_in_a_table(tree, tmp_path):
    root = tree(*(f"{label}/{n}.jpg" for label in (" run, fast ", 'say "x"') for n in range(4)))
    direct = read_manifest(root)
    write_manifest(direct, tmp_path.parent / f"{tmp_path.name}.csv")
    assert (
        read_manifest(tmp_path.parent / f"{tmp_path.name}.csv").classes
        == direct.classes
        == ("run, fast", 'say "x"')
    )
