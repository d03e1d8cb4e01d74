"""What `understudy cache` lists is what lies in the store."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from understudy.errors import UserError
from understudy.teach.store import Store
from understudy.teach.stored import FOLDER, list_stores, store_lines
from understudy.types import Output


def fill(runs: Path, key: str, clips: int, **what: object) -> None:
    store = Store(runs / FOLDER / key, what)
    output = Output(torch.zeros(clips, 3), torch.zeros(clips, 8))
    store.add([f"clip {number}" for number in range(clips)], None, output)
    store.flush()


def test_stores_are_listed_with_teacher_outputs_and_size(tmp_path: Path) -> None:
    looks = {"size": 224, "frames": 8}
    fill(tmp_path, "small", 3, teacher="ViT-B-32", looks=looks)
    fill(tmp_path, "large", 2000, teacher="demo-teacher", looks=looks, draw={"seed": 0})
    fill(tmp_path, "large", 5, teacher="demo-teacher")
    stores = list_stores(tmp_path)
    assert [(one.folder.name, one.outputs) for one in stores] == [("large", 2005), ("small", 3)]
    for one in stores:
        there = sum(file.stat().st_size for file in one.folder.iterdir())
        assert (one.size_bytes, one.damaged_shards) == (there, 0)
    first, second, total = store_lines(tmp_path, stores)
    assert first.startswith("large  demo-teacher  2,005 outputs  0.1 MB  8 frames of 224 px, aug")
    assert second.endswith("8 frames of 224 px, clips without augmentation")
    assert total.startswith("2 in all, 0.1 MB")


def test_damage_is_counted_and_nothing_is_no_mistake(tmp_path: Path) -> None:
    assert "No teacher's outputs are kept" in store_lines(tmp_path, list_stores(tmp_path))[0]
    fill(tmp_path, "key", 3, teacher="ViT-B-32")
    (tmp_path / FOLDER / "key" / "what.json").write_text("{")
    (tmp_path / FOLDER / "key" / "cut.safetensors").write_bytes(b"no")
    (one,) = list_stores(tmp_path)
    assert (one.outputs, one.damaged_shards, one.what) == (3, 1, {})
    (tmp_path / FOLDER / "key" / "empty.safetensors").write_bytes(b"")
    (one,) = list_stores(tmp_path)
    assert (one.outputs, one.damaged_shards) == (3, 2)
    assert (
        "of an unknown teacher  3 outputs  0.0 MB, 2 shards damaged"
        in store_lines(tmp_path, [one])[0]
    )
    with pytest.raises(UserError, match=r"There is no folder .*nowhere"):
        list_stores(tmp_path / "nowhere")
