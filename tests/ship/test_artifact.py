"""Loading an artifact: only the file that was checked, only the pixels it was made for."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from understudy.errors import UserError
from understudy.ship import Artifact, load_artifact


@pytest.fixture
def copy(artifact: Artifact, tmp_path: Path) -> Path:
    """An artifact to damage."""
    return Path(shutil.copytree(artifact.path, tmp_path / "artifact"))


def rewrite(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes), encoding="utf-8")


def test_a_copy_works_anywhere(copy: Path, artifact: Artifact) -> None:
    loaded = load_artifact(str(copy))
    assert loaded.classes == ("left", "right", "still")
    assert (loaded.clip_frames, loaded.input_size) == (4, 32)
    frames = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(loaded(frames).logits, load_artifact(artifact.path)(frames).logits)


def test_no_lengths_means_all_frames(artifact: Artifact) -> None:
    loaded = load_artifact(artifact.path, threads=1)
    frames = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(loaded(frames).logits, loaded(frames, torch.tensor([4, 4])).logits)


def test_one_changed_byte_is_refused(copy: Path) -> None:
    content = bytearray((copy / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.onnx").write_bytes(content)
    with pytest.raises(UserError, match="SHA-256"):
        load_artifact(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contract_version": 2}, "Upgrade understudy"),
        ({"format": "something-else"}, "not the contract"),
        ({"runtime": "abacus"}, "abacus"),
    ],
)
def test_a_contract_of_another_kind_is_refused(
    copy: Path, changes: dict[str, Any], message: str
) -> None:
    rewrite(copy / "contract.json", **changes)
    with pytest.raises(UserError, match=message):
        load_artifact(copy)


@pytest.mark.parametrize(
    ("missing", "message"), [("contract.json", "no contract.json"), ("model.onnx", "is missing")]
)
def test_a_missing_file_is_named(copy: Path, missing: str, message: str) -> None:
    (copy / missing).unlink()
    with pytest.raises(UserError, match=message):
        load_artifact(copy)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no artifact at"):
        load_artifact(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(1, 4, 3, 32, 32),
        torch.zeros(1, 5, 3, 32, 32, dtype=torch.uint8),
        torch.zeros(1, 4, 3, 32, 48, dtype=torch.uint8),
        torch.zeros(4, 3, 32, 32, dtype=torch.uint8),
    ],
    ids=["float", "five frames", "not square", "no batch"],
)
def test_other_pixels_are_refused(artifact: Artifact, frames: torch.Tensor) -> None:
    with pytest.raises(UserError, match=r"shape \(batch, 4, 3, 32, 32\)"):
        load_artifact(artifact.path, threads=1)(frames)


@pytest.mark.parametrize("lengths", [[0, 4], [4, 5], [4]])
def test_impossible_lengths_are_refused(artifact: Artifact, lengths: list[int]) -> None:
    frames = torch.zeros(2, 4, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(UserError, match="from 1 to 4"):
        load_artifact(artifact.path, threads=1)(frames, torch.tensor(lengths))
