"""Artifacts as they lie on disk, of files that hold no model: what is tested before one is opened,
and what happens to those that come from a stranger."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from understudy.run import write_json

CONTENT = b"weights"


def spec(name: str, dtype: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape)}


def made_contract(
    classes: tuple[str, ...] = ("blue", "red"), *, frames: int = 4, size: int = 32, **changes: Any
) -> dict[str, Any]:
    """The contract of `make_artifact`, in every field that loading needs, and `changes`."""
    pixels = [spec("frames", "uint8", frames, 3, size, size)]
    outputs = [spec("logits", "float32", 1, len(classes)), spec("embedding", "float32", 1, 8)]
    clip = {
        "file": "clip.onnx",
        "sha256": sha256(CONTENT).hexdigest(),
        "bytes": len(CONTENT),
        "macs": 1000,
        "inputs": pixels + ([spec("lengths", "int32", 1)] if frames > 1 else []),
        "outputs": outputs,
        "precision": "fp32",
    }
    look = {"method": "centre", "stride_s": None, "hold_pictures": False}
    return {
        "format": "understudy-artifact",
        "contract_version": 2,
        "runtime": "onnx",
        "precision": "fp32",
        "executed": True,
        "run": "small",
        "checkpoint": "best",
        "model": "frames-attention",
        "parameters": 1000,
        "classes": list(classes),
        "unknown_below": 0.25,
        "batch": "any",
        "graphs": {"clip": clip},
        "input": {"frames": frames, "size": size},
        "sampling": look | {"clip_seconds": 1.5, "step_s": None},
    } | changes


def step_entry(classes: int = 2, size: int = 32, state: tuple[int, ...] = (1, 6)) -> dict[str, Any]:
    """The entry of a file that streams, beside that of `made_contract`."""
    (clip,) = made_contract()["graphs"].values()
    return clip | {
        "file": "step.onnx",
        "inputs": [spec("frame", "uint8", 1, 3, size, size), spec("state_0", "float32", *state)],
        "outputs": [
            spec("logits", "float32", 1, classes),
            spec("embedding", "float32", 1, 8),
            spec("next_state_0", "float32", *state),
        ],
    }


def make_artifact(folder: Path, contract: dict[str, Any] | None = None) -> Path:
    """A folder with this contract, by default `made_contract()`, and the files that it names."""
    folder.mkdir(parents=True)
    contract = made_contract() if contract is None else contract
    for entry in contract["graphs"].values():
        (folder / entry["file"]).write_bytes(CONTENT)
    write_json(folder / "contract.json", contract)
    return folder
