"""Films for checks: moving patterns that no other has, since plain ones all look the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def pattern() -> Callable[[int], Callable[[int], np.ndarray]]:
    """By seed, pictures (48, 64, 3) of a film: coarse noise that moves a little."""

    def of(seed: int) -> Callable[[int], np.ndarray]:
        coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
        large = coarse.repeat(4, 0).repeat(4, 1)
        return lambda number: np.roll(large, number, 1)

    return of


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at in this process: a test of what is found needs no other."""
    from understudy.data.check import scan
    from understudy.study import check_page

    def each(work, items, count, *, patience_s):
        del count, patience_s
        return ((item, work(item, lambda: None)) for item in items)

    monkeypatch.setattr(scan, "each", each)
    monkeypatch.setattr(check_page, "each", each)


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes a manifest of (path, label, split, group, start_s, end_s), the last four as given."""

    def write(*rows: tuple[str, ...], name: str = "clips.csv") -> Path:
        lines = [",".join([*row, *[""] * (6 - len(row))]) for row in rows]
        header = "path,label,split,group,start_s,end_s"
        (tmp_path / name).write_text("\n".join([header, *lines, ""]), encoding="utf-8")
        return tmp_path / name

    return write
