"""Folds: whole groups, each tested once, every class where it is needed, and what is refused."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from understudy.data.folds import (
    LEAVE_ONE_GROUP_OUT,
    deal_folds,
    each_fold,
    fold_numbers,
    read_clips,
    read_folds,
    split_by_fold,
)
from understudy.data.manifest import Manifest
from understudy.data.sources import write_manifest
from understudy.errors import UserError
from understudy.recipe import Data
from understudy.record import Record


def made(rows: Sequence[tuple[str | tuple[str, ...] | None, str]]) -> Manifest:
    """A manifest of (label, group)."""
    records = [Record(f"{n}.mp4", label, "", group) for n, (label, group) in enumerate(rows)]
    return Manifest.from_records(records, Path("/clips"))


def people(count: int, clips: int, classes: int = 3) -> Manifest:
    """Everybody shows every class, `clips` times."""
    return made(
        [
            (f"class {n}", f"person {person:02d}")
            for person in range(count)
            for n in range(classes)
            for _ in range(clips)
        ]
    )


@st.composite
def tables(draw: st.DrawFn) -> Manifest:
    """People who show some of the classes, each of which six people show at least; some of their
    clips, and some people, without a label; one or several labels a clip."""
    several, count = draw(st.booleans()), draw(st.integers(6, 14))
    rows: list[tuple[str | tuple[str, ...] | None, str]] = []
    for person in range(count):
        shown = {"a", "b"} | set(draw(st.lists(st.sampled_from("cd"), max_size=2)))
        for label in sorted(shown) if person >= 6 else "abcd":
            for _ in range(draw(st.integers(1, 3))):
                rows.append(((label, "a") if several else label, f"p{person}"))
    rows += [(None, f"p{person}") for person in draw(st.lists(st.integers(0, count + 2)))]
    return made(draw(st.permutations(rows)))


@settings(max_examples=20, deadline=None)
@given(tables(), st.sampled_from([3, 4, 5, LEAVE_ONE_GROUP_OUT]), st.integers(0, 3))
def test_each_labelled_clip_is_tested_once_and_no_group_is_parted(manifest, folds, seed):
    dealt = deal_folds(manifest, folds, seed=seed)
    tested: list[str] = []
    labelled = {manifest.id_of(n) for n, row in enumerate(manifest.records) if row.label}
    for number, one in enumerate(each_fold(dealt, seed=seed), start=1):
        held: dict[str, set[str]] = {}
        for row in one.records:
            held.setdefault(row.group, set()).add(row.split)
            assert row.label or row.split == "train"
        assert all(len(splits) == 1 for splits in held.values())
        counts = one.counts()
        for split in ("train", "val", "test"):
            if split != "test" or folds != LEAVE_ONE_GROUP_OUT:
                assert all(counts[split].values()), (number, split, counts)
        rows = one.rows("test")
        tested += [one.id_of(row) for row in rows]
        assert {one.extras["fold"][row] for row in rows} == {str(number)}
        assert labelled <= {one.id_of(row) for row in range(len(one))}
        left_out = len(manifest) - len(one)
        assert bool(left_out) == any("Clips without a label" in note for note in one.notes)
    assert sorted(tested) == sorted(labelled)


@settings(max_examples=10, deadline=None)
@given(tables(), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_decides_nothing(manifest, seed, random):
    order = list(range(len(manifest)))
    random.shuffle(order)
    shuffled = manifest.take(order)
    for folds in (3, LEAVE_ONE_GROUP_OUT):
        one, other = (deal_folds(table, folds, seed=seed) for table in (manifest, shuffled))
        assert fold_numbers(one)[order].tolist() == fold_numbers(other).tolist()
        a, b = (split_by_fold(table, 1, seed=seed) for table in (one, other))
        assert {row.path: row.split for row in a.records} == {
            row.path: row.split for row in b.records
        }


def test_the_seed_decides_who_is_tested_together():
    manifest = people(15, 1)
    found = {tuple(fold_numbers(deal_folds(manifest, 5, seed=seed))) for seed in (0, 0, 1, 2)}
    assert len(found) == 3


def _unevenness(label: np.ndarray, fold: np.ndarray) -> tuple[float, int]:
    """Mean distance from an equal share over folds and classes, and that of the largest fold from
    the smallest, in clips."""
    held = np.zeros((fold.max() + 1, label.max() + 1))
    np.add.at(held, (fold, label), 1)
    sizes = held.sum(1)
    return float(np.abs(held - held.mean(0)).mean()), int(sizes.max() - sizes.min())


def test_strata_are_as_even_as_those_of_scikit_learn():
    """Over 20 data sets of unequal people and classes: on average no less even, in classes and in
    size, than StratifiedGroupKFold, and never without a class, which that one does not promise."""
    ours, theirs = [], []
    for seed in range(20):
        r = np.random.default_rng(seed)
        folds, classes, persons = r.integers(3, 6), r.integers(2, 6), r.integers(20, 50)
        clips = int(persons * r.integers(3, 9))
        label = r.choice(classes, clips, p=r.dirichlet(np.full(classes, 5.0)))
        group = r.choice(persons, clips, p=r.dirichlet(np.full(persons, 2.0)))
        rows = [(f"k{c}", f"p{g:02d}") for c, g in zip(label, group, strict=True)]
        dealt = fold_numbers(deal_folds(made(rows), int(folds), seed=seed)) - 1
        other = np.zeros(clips, int)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kfold = StratifiedGroupKFold(int(folds), shuffle=True, random_state=seed)
            for number, (_, test) in enumerate(kfold.split(label, label, group)):
                other[test] = number
        _, label = np.unique(label, return_inverse=True)
        ours.append(_unevenness(label, dealt))
        theirs.append(_unevenness(label, other))
    (even, size), (their_even, their_size) = np.mean(ours, axis=0), np.mean(theirs, axis=0)
    assert even <= their_even
    assert size <= their_size


def test_ninety_seven_clips_of_sixteen_people():
    r = np.random.default_rng(0)
    manifest = made([(f"class {r.integers(4)}", f"p{n % 16:02d}") for n in range(97)])
    sizes = [len(one.rows("test")) for one in each_fold(deal_folds(manifest, 5))]
    assert sum(sizes) == 97
    assert max(sizes) - min(sizes) <= 6
    assert len(list(each_fold(deal_folds(manifest, LEAVE_ONE_GROUP_OUT)))) == 16


RARE = [(label, f"p{n}") for n in range(8) for label in "ab"]


@pytest.mark.parametrize(
    ("rows", "folds", "message"),
    [
        ([*RARE, ("wink", "p1"), ("wink", "p2"), ("wink", "p3")], 5,
         r"With 5 folds every class needs clips of 5 groups \(people\).*Too few: wink \(3\)\. What "
         r"helps: take 3 folds, leave one group out in turn \(leave-one-group-out\), merge such "
         "classes, leave them out or film more people"),
        ([*RARE, ("wink", "p1"), ("wink", "p2")], 5, r"Too few: wink \(2\)\. What helps: merge"),
        ([*RARE, ("wink", "p1"), ("wink", "p2")], LEAVE_ONE_GROUP_OUT, r"of 3 groups.*wink \(2\)"),
        ([("a", "p1"), ("b", "p1"), ("a", "p2"), ("b", "p2")], 3, "3 groups .* at least.*are 2"),
        ([(label, f"{label}{n}") for n in range(5) for label in "ab"], LEAVE_ONE_GROUP_OUT,
         "Each of 10 clips is a group of its own.*--group-column"),
        ([(label, f"{n}") for n in range(1001) for label in "ab"], LEAVE_ONE_GROUP_OUT,
         "would train 1,001 students.*folds: 5 or 10"),
    ],
)  # fmt: skip
def test_what_folds_cannot_hold_is_named_with_the_way_out(rows, folds, message):
    with pytest.raises(UserError, match=message):
        deal_folds(made(rows), folds)


def test_clips_that_are_no_groups_are_said_to_be_none():
    manifest = made([(label, f"{label}{n}") for n in range(9) for label in "ab"])
    assert "Every clip is a group of its own" in deal_folds(manifest, 3).notes[0]
    assert deal_folds(people(9, 2), 3).notes == ()


def test_a_fold_that_is_not_there_is_refused():
    with pytest.raises(UserError, match=r"no fold 4; there are 1 to 3"):
        split_by_fold(deal_folds(people(9, 2), 3), 4)


def table(folder: Path, fold: list[str], group: list[str] | None = None) -> Data:
    lines = ["path,label,group,fold"]
    for number, name in enumerate(fold):
        who = group[number] if group else f"p{number // 2}"
        lines.append(f"{number}.mp4,{'ab'[number % 2]},{who},{name}")
    (folder / "clips.csv").write_text("\n".join(lines), encoding="utf-8")
    return Data(manifest=str(folder / "clips.csv"), folds=3)


def test_folds_of_a_table_are_taken_and_numbered_from_one(tmp_path):
    data = table(tmp_path, [str(n // 4) for n in range(12)])
    found = read_folds(data)
    assert fold_numbers(found).tolist() == [n // 4 + 1 for n in range(12)]
    assert found.notes == ("The folds 0 to 2 of the table are called 1 to 3.",)
    clips = read_clips(data.model_copy(update={"fold": 2}))
    assert clips.rows("test") == [4, 5, 6, 7]


def test_ten_folds_of_a_table_come_in_the_order_of_their_numbers(tmp_path):
    data = table(tmp_path, [str(n // 2 + 1) for n in range(20)])
    found = read_folds(data.model_copy(update={"folds": 10}))
    assert fold_numbers(found).tolist() == [n // 2 + 1 for n in range(20)]
    assert found.notes == ()
    single = read_folds(data.model_copy(update={"folds": LEAVE_ONE_GROUP_OUT}))
    assert fold_numbers(single).tolist() == fold_numbers(found).tolist()


def test_folds_that_are_dealt_once_are_those_that_are_read(tmp_path):
    dealt = deal_folds(people(9, 2), 3, seed=5)
    write_manifest(dealt, tmp_path / "folds.csv")
    data = Data(manifest=str(tmp_path / "folds.csv"), folds=3, split_seed=8)
    assert fold_numbers(read_folds(data)).tolist() == fold_numbers(dealt).tolist()


@pytest.mark.parametrize(
    ("fold", "group", "folds", "message"),
    [
        (
            ["1", "1", "2", "2", "3", "3"],
            None,
            5,
            r"holds 3 folds \(1, 2, 3\), and data\.folds is 5",
        ),
        (
            ["1", "1", "1", "1", "2", "2"],
            None,
            LEAVE_ONE_GROUP_OUT,
            "holds 2 folds.*understudy data",
        ),
        (["1", "2", "2", "2", "3", "3"], None, 3, "1 groups stand in more than one fold.*p0"),
        (["1", "1", "2", "2", "3", ""], None, 3, "1 of 6 labelled clips name no fold"),
        (["1", "1", "2", "2", "3", "3"], None, 3, None),
    ],
)
def test_folds_of_a_table_that_are_others_are_refused(tmp_path, fold, group, folds, message):
    data = table(tmp_path, fold, group).model_copy(update={"folds": folds})
    if message is None:
        assert len(set(fold_numbers(read_folds(data)))) == 3
        return
    with pytest.raises(UserError, match=message):
        read_folds(data)


def test_a_class_that_only_one_fold_of_a_table_shows_cannot_be_learned(tmp_path):
    data = table(tmp_path, [str(n // 4) for n in range(12)])
    text = (tmp_path / "clips.csv").read_text().replace("3.mp4,b", "3.mp4,wink")
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(
        UserError, match="In fold 1, 0 of the groups that are not tested show 'wink'"
    ):
        read_clips(data.model_copy(update={"fold": 1}))
