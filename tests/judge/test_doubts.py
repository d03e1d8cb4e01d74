"""Labels that are doubted, and the vectors by which they are."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from understudy.data.check.findings import by_kind
from understudy.data.manifest import Manifest
from understudy.errors import UserError
from understudy.judge.doubts import TELLS_APART, doubtful
from understudy.judge.frozen import embed, frozen_backbone, neighbours
from understudy.record import Record
from understudy.study.check import Backbone, check


def clusters(classes: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    vectors = rng.normal(size=(classes, 16))[labels] + 0.2 * rng.normal(size=(len(labels), 16))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


def test_changed_labels_are_named_with_what_they_were():
    vectors, labels = clusters(4, 30)
    given = labels.copy()
    given[[3, 40, 41, 100]] = [1, 3, 2, 0]
    found = doubtful(vectors, given, [""] * len(labels)).found
    assert {doubt.clip: doubt.said for doubt in found} == {3: 0, 40: 1, 41: 1, 100: 3}
    assert all(doubt.probability > doubt.of_label for doubt in found)
    assert not doubtful(vectors, labels, [""] * len(labels)).found


def test_a_clip_is_never_judged_by_its_own_group():
    """Copies of a clip with a wrong label would vouch for it."""
    vectors, labels = clusters(3, 30)
    given, groups = labels.copy(), [str(n) for n in range(len(labels))]
    given[:3] = 2
    vectors[1], vectors[2] = vectors[0], vectors[0]
    groups[1] = groups[2] = groups[0]
    assert {doubt.clip for doubt in doubtful(vectors, given, groups).found} == {0, 1, 2}


def test_of_rare_classes_nothing_is_said():
    vectors, labels = clusters(3, 30)
    few = np.r_[np.arange(63)]  # three of the last class
    assert {doubt.clip for doubt in doubtful(vectors[few], labels[few], [""] * 63).found} <= set(
        range(60)
    )
    assert not doubtful(vectors[:35], labels[:35], [""] * 35).found


def test_it_tells_how_well_the_classes_are_told_apart():
    vectors, labels = clusters(4, 30)
    assert doubtful(vectors, labels, [""] * len(labels)).accuracy == 1.0
    noise = np.random.default_rng(1).normal(size=vectors.shape)
    assert doubtful(noise, labels, [""] * len(labels)).accuracy < TELLS_APART


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("weights") / "test_efficientnet_mine.safetensors"
    state = timm.create_model("test_efficientnet", num_classes=0).state_dict()
    save_file(state, place, {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"})
    return place


@pytest.fixture
def pictures(tmp_path):
    for number in range(24):
        colour = (200, 40, 30) if number % 2 else (20, 60, 210)
        Image.new("RGB", (40, 40), tuple(c + number for c in colour)).save(
            tmp_path / f"{number}.png"
        )
    return tmp_path


def test_a_backbone_is_named_by_its_file(weights, tmp_path):
    named = frozen_backbone(str(weights))
    given = frozen_backbone(f"test_efficientnet={weights}")
    frames = torch.randint(0, 256, (2, 3, 3, 64, 64), dtype=torch.uint8)
    lengths = torch.tensor([3, 1])
    assert torch.equal(named(frames, lengths), given(frames, lengths))
    alone = named(frames[1:, :1], torch.tensor([1]))
    assert torch.allclose(named(frames, lengths)[1], alone[0], atol=1e-5), "padding counts nothing"
    other = weights.rename(tmp_path / "odd.safetensors")
    with pytest.raises(UserError, match="name of an architecture of timm"):
        frozen_backbone(str(other))
    other.rename(weights)


def test_clips_that_cannot_be_read_are_left_out_and_neighbours_are_of_other_splits(
    weights, pictures
):
    (pictures / "3.png").write_bytes(b"")
    records = [Record(f"{n}.png", "x", "train" if n < 20 else "test", "") for n in range(24)]
    manifest = Manifest.from_records(records, pictures)
    found = embed(frozen_backbone(str(weights)), manifest, range(24))
    assert [one.row for one in found.skipped] == [3]
    assert found.rows.tolist() == [n for n in range(24) if n != 3]
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1)
    split = manifest.columns.split.codes
    pairs = neighbours(found, split, 2)
    assert len(pairs) == 2 * 23
    assert all(split[a] != split[b] for a, b in pairs)
    assert all(a % 2 == b % 2 for a, b in pairs), "of its colour"


def test_the_check_lists_doubtful_labels_to_be_looked_at(weights, pictures, monkeypatch):
    from understudy.data.check import scan

    monkeypatch.setattr(
        scan,
        "each",
        lambda work, items, *_, **__: ((one, work(one, lambda: None)) for one in items),
    )
    rows = [
        f"{n}.png,{'red' if n % 2 else 'blue'},{'train' if n < 18 else 'val'}" for n in range(24)
    ]
    rows[5] = "5.png,blue,train"
    (pictures / "t.csv").write_text("path,label,split\n" + "\n".join(rows) + "\n")
    checked = check(pictures / "t.csv", backbone=Backbone(str(weights)))
    [found] = by_kind(checked.findings)["label"]
    assert (found.path, found.rows, found.level) == ("5.png", (5,), "look")
    assert found.reason.startswith("labelled blue; looks like red (")
    assert any("no backbone" in line for line in check(pictures / "t.csv").unchecked)
