"""A table of clips is read as it is, split honestly, or refused with a reason."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.manifest import Manifest, split_by_group
from understudy.data.sources import read_manifest, write_manifest
from understudy.errors import UserError
from understudy.types import Record


def table(folder: Path, text: str, name: str = "labels.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def people(persons: int, clips: int = 4, classes: tuple[str, ...] = ("jump", "sit")) -> Manifest:
    """Every person performs every class `clips` times."""
    rows = [
        Record(f"{person}/{label}/{clip}.mp4", label, "", f"person-{person}")
        for person in range(persons)
        for label in classes
        for clip in range(clips)
    ]
    return Manifest.from_records(rows, Path("/media"))


def splits_of_groups(manifest: Manifest) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in manifest.records:
        found.setdefault(row.group, set()).add(row.split)
    return found


# Reading and writing


def test_a_table_with_splits_is_taken_as_it_is(tmp_path):
    path = table(
        tmp_path,
        "\ufeffpath, label,split,group,start_s,end_s,camera\n"
        "a.mp4,sit,train,ann,0.5,2,left\n"
        'b.mp4,"jump, high",train,ann,,,right\n'
        "/far/c.mp4,sit,val,bob,,,\n",
    )
    manifest = read_manifest(path)
    assert manifest.records == (
        Record("a.mp4", "sit", "train", "ann", 0.5, 2.0),
        Record("b.mp4", "jump, high", "train", "ann"),
        Record("/far/c.mp4", "sit", "val", "bob"),
    )
    assert manifest.extras == {"camera": ("left", "right", "")}
    assert manifest.classes == ("jump, high", "sit")
    assert [manifest.target_of(row) for row in range(3)] == [1, 0, 1]
    assert manifest.path_of(0) == tmp_path / "a.mp4"
    assert manifest.path_of(2) == Path("/far/c.mp4")
    assert manifest.rows("train") == [0, 1]
    assert manifest.counts() == {
        "train": {"jump, high": 1, "sit": 1},
        "val": {"jump, high": 0, "sit": 1},
    }


@pytest.mark.parametrize("name", ["out/again.csv", "out/again.parquet", "again.csv"])
def test_what_is_written_is_read_again(tmp_path, name):
    manifest = read_manifest(
        table(
            tmp_path,
            "path,label,split,group,start_s,end_s,note\n"
            "a.mp4,sit|jump,train,ann,0.1,2.25,é\nb.mp4,jump,val,bob,,,\n",
        )
    )
    write_manifest(manifest, tmp_path / name)
    again = read_manifest(tmp_path / name)
    assert [again.path_of(row) for row in range(2)] == [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    assert [replace(r, path="") for r in again.records] == [
        replace(r, path="") for r in manifest.records
    ]
    assert again.extras == manifest.extras
    if name == "again.csv":
        assert again.records == manifest.records
        assert again.fingerprint() == manifest.fingerprint()


def test_several_labels_make_every_label_a_tuple(tmp_path):
    path = table(tmp_path, "path,label,split\na,sit | jump,train\nb,run,train\nc,run,val\n")
    manifest = read_manifest(path)
    assert manifest.is_multi_label
    assert [row.label for row in manifest.records] == [("jump", "sit"), ("run",), ("run",)]
    assert [manifest.target_of(row) for row in range(3)] == [[0, 2], [1], [1]]


def test_the_fingerprint_sees_every_column_of_every_row(tmp_path):
    manifest = people(3)
    prints = {manifest.fingerprint()}
    for change in (
        {"path": "x"},
        {"label": "run"},
        {"split": "test"},
        {"group": "x"},
        {"start_s": 1.0},
        {"end_s": 1.0},
    ):
        rows = (*manifest.records[:-1], replace(manifest.records[-1], **change))
        prints.add(Manifest.from_records(rows, manifest.root).fingerprint())
    prints.add(manifest.take(range(len(manifest))[::-1]).fingerprint())
    assert len(prints) == 8


# Splitting


@given(
    st.lists(
        st.tuples(st.integers(0, 11), st.sampled_from(["a", "b", "c"])), min_size=60, max_size=200
    ),
    st.integers(0, 5),
)
def test_no_group_is_ever_in_two_splits(clips, seed):
    rows = [Record(str(n), label, "", str(group)) for n, (group, label) in enumerate(clips)]
    try:
        manifest = split_by_group(Manifest.from_records(rows, Path("/media")), seed=seed)
    except UserError:
        return  # too few groups of a class, by chance
    assert all(len(splits) == 1 for splits in splits_of_groups(manifest).values())
    for label in manifest.classes:
        found = {row.split for row in manifest.records if row.label == label}
        assert found == {"train", "val", "test"}


def test_splitting_holds_to_the_shares_and_to_every_class():
    counts = split_by_group(people(50), val=0.1, test=0.3, seed=3).counts()
    assert counts == {
        "train": {"jump": 120, "sit": 120},
        "val": {"jump": 20, "sit": 20},
        "test": {"jump": 60, "sit": 60},
    }


def test_three_groups_of_a_class_reach_all_three_splits():
    manifest = people(20)
    rare = [Record(f"r{n}", "rare", "", f"rare-{n}") for n in range(3)]
    split = split_by_group(Manifest.from_records([*manifest.records, *rare], manifest.root))
    assert {counts["rare"] for counts in split.counts().values()} == {1}


def test_the_seed_decides_and_nothing_else():
    first, again = split_by_group(people(30), seed=1), split_by_group(people(30), seed=1)
    assert first.records == again.records
    assert first.records != split_by_group(people(30), seed=2).records


def test_a_class_in_too_few_groups_is_named():
    manifest = people(10)
    rows = (*manifest.records, *(Record(f"r{n}", "rare", "", f"rare-{n % 2}") for n in range(9)))
    with pytest.raises(UserError, match=r"Too few: rare \(2\)"):
        split_by_group(Manifest.from_records(rows, manifest.root))


def test_a_table_without_splits_is_split_by_group(tmp_path):
    lines = [f"{r.path},{r.label},{r.group}" for r in people(20).records]
    path = table(tmp_path, "\n".join(["path,label,group", *lines]))
    manifest = read_manifest(path, seed=4)
    assert manifest.splits == ("train", "val", "test")
    assert all(len(splits) == 1 for splits in splits_of_groups(manifest).values())
    assert manifest.records != read_manifest(path, seed=5).records


def test_val_is_carved_from_train_and_test_is_kept(tmp_path):
    lines = [
        f"{r.path},{r.label},{r.group},{'test' if r.group < 'person-13' else 'train'}"
        for r in people(20).records
    ]
    manifest = read_manifest(table(tmp_path, "\n".join(["path,label,group,split", *lines])))
    given = {r.path for r in people(20).records if r.group < "person-13"}
    assert {r.path for r in manifest.records if r.split == "test"} == given
    groups = splits_of_groups(manifest)
    assert all(len(splits) == 1 for splits in groups.values())
    assert sum(splits == {"val"} for splits in groups.values()) == 3  # a fifth of 15


def test_a_clip_without_a_group_is_a_group_of_its_own(tmp_path):
    lines = [f"{label}/{n}.mp4,{label}" for label in ("sit", "jump") for n in range(10)]
    manifest = read_manifest(table(tmp_path, "\n".join(["path,label", *lines])))
    assert len({row.group for row in manifest.records}) == 20


def test_parts_of_one_file_stay_together_where_no_group_is_given(tmp_path):
    lines = [
        f"{v}.mp4,{'sit' if n % 2 else 'jump'},{n},{n + 1}" for v in range(9) for n in range(4)
    ]
    manifest = read_manifest(table(tmp_path, "\n".join(["path,label,start_s,end_s", *lines])))
    assert all(len(splits) == 1 for splits in splits_of_groups(manifest).values())


# Rows without a label


def test_rows_without_a_label_are_allowed_in_train_alone(tmp_path):
    path = table(tmp_path, HEADER + "a,sit,train,x\nb,,train,x\nc,jump,train,x\nd,sit,val,y\n")
    manifest = read_manifest(path)
    assert [row.label for row in manifest.records] == ["sit", None, "jump", "sit"]
    assert not manifest.is_multi_label
    assert manifest.targets([0, 1]).tolist() == [1, -1]
    assert "1 of 4 rows have no label" in manifest.notes[0]
    write_manifest(manifest, tmp_path / "again.csv")
    assert read_manifest(tmp_path / "again.csv").records == manifest.records


def test_where_splits_are_dealt_rows_without_a_label_go_to_train_or_nowhere(tmp_path):
    """What belongs to a group that is tested on is not learned from either."""
    rows = [(f"{r.path},{r.label},{r.group}") for r in people(20).records]
    rows += [f"bare/{n}.mp4,,person-{n}" for n in range(20)]
    rows += [f"crowd/{n}.mp4,,nobody-{n}" for n in range(5)]
    path = table(tmp_path, "\n".join(["path,label,group", *rows]))
    manifest = read_manifest(path)
    assert all(len(splits) == 1 for splits in splits_of_groups(manifest).values())
    bare = [row for row in manifest.records if row.label is None]
    assert {row.split for row in bare} == {"train"}
    assert sum(row.path.startswith("crowd") for row in bare) == 5
    assert len(bare) == 17, "12 people of 20 are learned from"
    assert any("8 rows without a label were left out" in note for note in manifest.notes)
    labelled = read_manifest(table(tmp_path, "\n".join(["path,label,group", *rows[:160]])))
    assert [r for r in manifest.records if r.label] == list(labelled.records)


# What is refused

HEADER = "path,label,split,group\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (HEADER, "has no rows"),
        ("path,lable\na,b\n", "no column label.*Did you mean lable"),
        ("file,label\na,b\n", "no column path"),
        ("path,label,splt\na,b,train\n", "'splt'. Did you mean split"),
        ("path,label,label\na,b,b\n", "two columns of the same name"),
        ("path,label\na,b,c\n", "row 2: 3 values under 2 columns"),
        (HEADER + "a,,val,x\nb,sit,train,x\n", "Row 1 .a. has no label and is in split val"),
        (HEADER + "a,,train,x\nb,,train,x\n", "None of 2 rows has a label"),
        (HEADER + "a,sit|,train,x\nb,sit,train,x\n", "Row 1 .a. has an empty label"),
        (HEADER + ",sit,train,x\n", "Row 1 has no path"),
        (HEADER + "a,sit,train,x\nb,sit,val,y\n", "All 2 clips have the label 'sit'"),
        (HEADER + "a,sit,train,x\na,jump,train,x\n", "more than once: a"),
        (HEADER + "a,sit,tain,x\nb,jump,val,y\n", "'tain'.*Did you mean train"),
        (HEADER + "a,sit,train,x\nb,jump,,y\n", "1 of 2 rows name no split"),
        (HEADER + "a,sit,train,ann\nb,jump,test,ann\n", r"here are 1: ann \(test, train\)"),
        ("path,label,start_s\na,sit,soon\n", "row 2: 'soon' is no time"),
        ("path,label,start_s\na,sit,nan\n", "row 2: 'nan' is no time"),
        ("path,label,split,start_s,end_s\na,sit,train,2,1\nb,jump,val,,\n", "ends at 1.0 s"),
    ],
)
def test_a_wrong_table_is_refused_with_its_reason(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_manifest(table(tmp_path, text))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no manifest"):
        read_manifest(tmp_path / "missing.csv")
    with pytest.raises(UserError, match=r"\.csv or \.parquet"):
        read_manifest(table(tmp_path, "x", "labels.json"))
    with pytest.raises(UserError, match="no readable Parquet"):
        read_manifest(table(tmp_path, "x", "labels.parquet"))
    (tmp_path / "latin.csv").write_bytes("path,label\né,b\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        read_manifest(tmp_path / "latin.csv")


def test_shared_groups_can_be_accepted(tmp_path):
    path = table(tmp_path, HEADER + "a,sit,train,ann\nb,jump,train,x\nc,jump,val,ann\n")
    assert read_manifest(path, allow_shared_groups=True).splits == ("train", "val")


def test_a_split_that_is_not_there_is_named(tmp_path):
    path = table(tmp_path, HEADER + "a,sit,train,x\nb,jump,val,y\n")
    with pytest.raises(UserError, match=r"no clips in split 'test'\. There: train, val"):
        read_manifest(path).rows("test")
