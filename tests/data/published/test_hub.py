"""Sets of the hub as they lie in folders: Parquet with pictures inside, and folders of pictures."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from understudy.data.decode import read_frames
from understudy.data.sources.known import read_source
from understudy.errors import UserError

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The library copies tables into a folder of the test, and asks nothing of the hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def picture(number, kind="JPEG"):
    content = io.BytesIO()
    Image.new("RGB", (16, 12), (number % 256, number // 256, 99)).save(content, kind)
    return content.getvalue()


def write_table(path, labels, names, first=0, **columns):
    """A table as the hub writes it: pictures as bytes, labels as numbers with their names."""
    features = {"image": datasets.Image(), "labels": datasets.ClassLabel(names=names)}
    data = {
        "image": [{"bytes": picture(first + n), "path": f"{n}.jpg"} for n in range(len(labels))],
        "labels": labels,
    }
    features |= {name: datasets.Value("string") for name in columns}
    table = datasets.Dataset.from_dict(data | columns, datasets.Features(features))
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path)


@pytest.fixture
def actions(tmp_path):
    """Human Action Recognition with ten pictures a class and a test whose labels are all 0."""
    names = [f"action_{n:02}" for n in range(15)]
    folder = tmp_path / "har"
    write_table(
        folder / "data" / "train-00000-of-00001.parquet", [n % 15 for n in range(150)], names
    )
    write_table(folder / "data" / "test-00000-of-00001.parquet", [0] * 30, names, first=200)
    return folder


def test_human_action_is_split_by_class_and_its_public_test_is_not_trusted(actions, ask, tmp_path):
    manifest, said = ask("human-action", actions, "--pictures", str(tmp_path / "jpg"))
    assert len(manifest.classes) == 15
    assert manifest.clip_counts() == {"train": 90, "val": 30, "test": 30}
    counts = manifest.counts()
    assert set(counts["test"].values()) == set(counts["val"].values()) == {2}
    assert "test is left out: all its 30 labels are 'action_00', so they are no labels." in said
    assert "150 pictures have a label; published were 12,600." in said
    assert len(list((tmp_path / "jpg").rglob("*.jpg"))) == 150
    assert read_frames(manifest.path_of(0), [0.0], short_side=12).shape == (1, 3, 12, 16)


def test_writing_goes_on_where_it_was_stopped_and_replaces_nothing(actions, tmp_path):
    written = tmp_path / "jpg"
    read = lambda: read_source("human-action", actions, {"pictures": written})  # noqa: E731
    read()
    files = sorted(written.rglob("*.jpg"))
    stamps = [file.stat().st_mtime_ns for file in files]
    files[3].unlink()
    read()
    again = [file.stat().st_mtime_ns for file in files]
    assert sum(a != b for a, b in zip(stamps, again, strict=True)) == 1
    files[5].write_bytes(b"mine")
    with pytest.raises(UserError, match="is there with another content, and nothing is replaced"):
        read()
    assert files[5].read_bytes() == b"mine"


def test_pictures_inside_of_tables_need_a_folder(actions):
    with pytest.raises(UserError, match=r"150, each of some \d+ bytes\. .* --pictures FOLDER"):
        read_source("human-action", actions, {})


def test_official_splits_groups_and_unused_columns(tmp_path, ask):
    folder = tmp_path / "set"
    splits = {"train": [f"p{n // 4}" for n in range(24)], "validation": "qq", "test": "rr"}
    for first, (name, people) in enumerate(splits.items()):
        labels = [n % 2 for n in range(len(people))]
        more = {"person": list(people), "note": ["x"] * len(people), "split": ["y"] * len(people)}
        write_table(folder / f"{name}-0.parquet", labels, ["a", "b"], first=50 * first, **more)
    options = ("--pictures", str(tmp_path / "jpg"), "--group-column", "person")
    manifest, said = ask("hub", folder, *options)
    assert manifest.clip_counts() == {"train": 24, "val": 2, "test": 2}
    assert manifest.group_counts() == {"train": 6, "val": 1, "test": 1}
    assert set(manifest.extras) == {"person", "note"}
    assert "train: nothing is read from split." in said


def test_one_split_of_any_name_is_split_anew_and_several_are_refused(tmp_path, ask):
    folder = tmp_path / "set" / "data"
    write_table(folder / "everything-0.parquet", [n % 2 for n in range(20)], ["a", "b"])
    (folder.parent / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: everything\n"
        "    path: data/*\n---\n"
    )
    manifest, _ = ask("hub", folder.parent, "--pictures", str(tmp_path / "jpg"))
    assert manifest.clip_counts() == {"train": 12, "val": 4, "test": 4}
    (folder.parent / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: one\n    path: data/*\n"
        "  - split: two\n    path: data/*\n---\n"
    )
    with pytest.raises(UserError, match="Its splits are one, two; one is no train"):
        ask("hub", folder.parent, "--pictures", str(tmp_path / "jpg"))


def test_what_train_shares_with_test_byte_for_byte_leaves_train(tmp_path, ask):
    folder = tmp_path / "set"
    write_table(folder / "train-0.parquet", [n % 2 for n in range(20)], ["a", "b"])
    write_table(folder / "test-0.parquet", [0, 1, 0], ["a", "b"], first=18)
    manifest, said = ask("hub", folder, "--pictures", str(tmp_path / "jpg"))
    assert manifest.clip_counts() == {"train": 14, "val": 4, "test": 3}
    assert "2 clips of train are in val or test too, byte for byte: left out." in said


def test_a_folder_of_pictures_is_read_where_it_lies(tmp_path, ask):
    folder = tmp_path / "tree"
    for label in ("jump", "run"):
        for number in range(6):
            path = folder / "train" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(number + 6 * (label == "run"), "PNG"))
    manifest, _ = ask("hub", folder)
    assert manifest.classes == ("jump", "run")
    assert manifest.splits == ("train", "val", "test")
    assert {manifest.path_of(row) for row in range(12)} == set(folder.rglob("*.png"))


def test_paths_in_a_table_stay_below_its_folder(tmp_path):
    folder = tmp_path / "set"
    (folder / "clips").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(picture(1))
    for number in range(4):
        (folder / "clips" / f"{number}.jpg").write_bytes(picture(number))
    paths = [f"clips/{n}.jpg" for n in range(4)]
    paths += ["../secret.jpg", str(tmp_path / "secret.jpg"), "/etc/passwd", "gone.jpg", ""]
    labels = [("a", "b")[n % 2] for n in range(len(paths))]
    pq.write_table(pa.table({"video": paths, "action": labels}), folder / "t.parquet")
    with pytest.raises(UserError, match=r"the image\? None is known as one.*one of video, action"):
        read_source("hub", folder / "t.parquet", {})
    manifest = read_source("hub", folder / "t.parquet", {"image_column": "video"})
    assert sorted(manifest.path_of(row).name for row in range(len(manifest))) == [
        f"{n}.jpg" for n in range(4)
    ]
    assert "5 rows hold no picture or video: train 4, train 5" in " ".join(manifest.notes)


def test_columns_are_named_where_they_are_not_plain(actions):
    with pytest.raises(
        UserError, match=r"no column 'lables'; there are image, labels\. Did you mean"
    ):
        read_source("hub", actions, {"label_column": "lables"})


def test_a_name_that_cannot_be_reached_says_what_to_do(tmp_path):
    with pytest.raises(
        UserError, match=r"hub was not reached.*hf download --repo-type dataset a/b"
    ):
        read_source("hub", "a/b", {})
    with pytest.raises(UserError, match="neither a folder or file here, nor a name of the hub"):
        read_source("hub", tmp_path / "no", {})
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + bytes(50))
    with pytest.raises(UserError, match="cannot be read as a data set of the hub"):
        read_source("hub", tmp_path / "t.parquet", {})


# CIFAR


def cifar(folder, width, names, counts):
    """Files as they are published: bytes of labels, then 1,024 of red, green and blue each."""
    folder.mkdir(parents=True)
    for file, count in counts.items():
        records = [
            bytes([7] * (width - 1) + [n % 3]) + bytes([n]) * 1024 + bytes(1024) + b"\xff" * 1024
            for n in range(count)
        ]
        (folder / file).write_bytes(b"".join(records))
    (folder / names).write_text("apple\nbear\ncloud\n\n")
    return folder


@pytest.mark.parametrize(
    ("width", "names", "files"),
    [
        (1, "batches.meta.txt", {f"data_batch_{n}.bin": 6 for n in (1, 2)} | {"test_batch.bin": 3}),
        (2, "fine_label_names.txt", {"train.bin": 12, "test.bin": 3}),
    ],
)
def test_cifar_is_written_as_the_pictures_that_its_bytes_are(tmp_path, ask, width, names, files):
    folder = cifar(tmp_path / "cifar" / "bin", width, names, files)
    manifest, said = ask("cifar", folder.parent, "--pictures", str(tmp_path / "png"))
    assert manifest.classes == ("apple", "bear", "cloud")
    assert manifest.clip_counts()["test"] == 3
    assert len(manifest) == 15
    assert "near-duplicate in train" in said
    row = next(n for n in range(15) if manifest.records[n].path.endswith("-00002.png"))
    frame = read_frames(manifest.path_of(row), [0.0])[0]
    assert manifest.records[row].label == "cloud"
    assert frame[:, 5, 7].tolist() == [2, 0, 255]


def test_cifar_refuses_pickles_and_files_that_are_cut_off(tmp_path):
    (tmp_path / "py").mkdir()
    (tmp_path / "py" / "data_batch_1").write_bytes(b"\x80\x04N.")
    with pytest.raises(UserError, match=r"pickles, which could run any code and are not opened"):
        read_source("cifar", tmp_path, {"pictures": tmp_path / "png"})
    files = {"data_batch_1.bin": 3, "test_batch.bin": 3}
    folder = cifar(tmp_path / "bin", 1, "batches.meta.txt", files)
    with pytest.raises(UserError, match="--pictures FOLDER"):
        read_source("cifar", folder, {})
    (folder / "test_batch.bin").write_bytes(bytes(3000))
    with pytest.raises(UserError, match="is cut off or no file of CIFAR"):
        read_source("cifar", folder, {"pictures": tmp_path / "png"})
    (folder / "data_batch_2.bin").symlink_to("data_batch_2.bin")
    with pytest.raises(UserError, match=r"data_batch_2\.bin cannot be read"):
        read_source("cifar", folder, {"pictures": tmp_path / "png"})
    (folder / "data_batch_2.bin").unlink()
    (folder / "test_batch.bin").write_bytes(b"\x09" + bytes(3072))
    with pytest.raises(UserError, match="a picture of class 9; there are 3 classes"):
        read_source("cifar", folder, {"pictures": tmp_path / "png"})
