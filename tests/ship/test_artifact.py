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
    content = bytearray((copy / "clip.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "clip.onnx").write_bytes(content)
    with pytest.raises(UserError, match="SHA-256"):
        load_artifact(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contract_version": 3}, "Upgrade understudy"),
        ({"contract_version": 1}, "Export the run again"),
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
    ("missing", "message"), [("contract.json", "no contract.json"), ("clip.onnx", "is missing")]
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


def test_a_step_file_is_checked_too(copy: Path) -> None:
    (copy / "step.onnx").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"step\.onnx is not the file"):
        load_artifact(copy)


def test_other_pixels_are_refused_by_a_step(artifact: Artifact) -> None:
    exported = load_artifact(artifact.path, threads=1)
    with pytest.raises(UserError, match=r"shape \(batch, 3, 32, 32\)"):
        exported.step(torch.zeros(1, 3, 32, 48, dtype=torch.uint8), exported.init_state(1))


def test_an_artifact_of_whole_clips_cannot_be_stepped(copy: Path) -> None:
    contract = json.loads((copy / "contract.json").read_text(encoding="utf-8"))
    del contract["graphs"]["step"]
    rewrite(copy / "contract.json", graphs=contract["graphs"])
    exported = load_artifact(copy)
    assert not exported.streams
    with pytest.raises(UserError, match="takes whole clips"):
        exported.init_state(1)


def test_a_file_that_takes_one_clip_is_called_clip_by_clip(copy: Path) -> None:
    frames = torch.randint(0, 256, (3, 4, 3, 32, 32), dtype=torch.uint8)
    lengths = torch.tensor([4, 1, 2])
    expected = load_artifact(copy, threads=1)(frames, lengths)
    rewrite(copy / "contract.json", batch=1)
    one_by_one = load_artifact(copy, threads=1)
    given = one_by_one(frames, lengths)
    torch.testing.assert_close(given.logits, expected.logits, rtol=0, atol=1e-5)
    state = one_by_one.init_state(3)
    output, after = one_by_one.step(frames[:, 0], state)
    assert [tensor.shape for tensor in after] == [tensor.shape for tensor in state]
    expected = one_by_one(frames, torch.tensor([1, 1, 1]))
    torch.testing.assert_close(output.logits, expected.logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["other", "<script>"])
def test_a_file_that_takes_other_names_than_its_contract_says_is_the_files_fault(
    artifact: Artifact, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "onnx"
    shutil.copytree(artifact.path, folder)
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    contract["graphs"]["clip"]["inputs"][1]["name"] = name
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    recognizer = load_artifact(folder, threads=1)
    size = recognizer.input_size
    clips = torch.zeros(1, recognizer.clip_frames, 3, size, size, dtype=torch.uint8)
    with pytest.raises(UserError, match=r"ONNX Runtime cannot use .*clip\.onnx as its contract"):
        recognizer(clips)
