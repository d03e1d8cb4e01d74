"""Benchmarks as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.ship.bench import BenchRow

_HEADER = (
    f"{'subject':<26}{'threads':>8}{'median ms':>11}{'p95 ms':>9}{'clips/s':>9}"
    f"{'ratio [95%]':>23}{'peak MB':>9}{'size MB':>9}{'params M':>10}{'GMACs':>8}"
)


def bench_lines(rows: Sequence[BenchRow]) -> list[str]:
    """A table; the ratio is to the first subject at the same number of threads."""
    if not rows:
        return []
    first = rows[0]
    shape = f"{first.frames} frames of {first.size} px"
    return [f"per clip of {shape}, batch {first.batch}", _HEADER, *map(_line, rows)]


def _line(row: BenchRow) -> str:
    name = f"{row.subject} ({row.kind})"
    ratio = f"{row.ratio:.2f} [{row.ratio_low:.2f}, {row.ratio_high:.2f}]"
    memory = "-" if row.peak_rss_mb is None else f"{row.peak_rss_mb:.0f}"
    size = "-" if row.file_bytes is None else f"{row.file_bytes / 1e6:.1f}"
    return (
        f"{name:<26}{row.threads:>8}{row.median_ms:>11.2f}{row.p95_ms:>9.2f}"
        f"{row.clips_per_s:>9.1f}{ratio:>23}{memory:>9}{size:>9}"
        f"{row.parameters / 1e6:>10.2f}{row.gmacs:>8.3f}"
    )
