"""How fast, how big: anything against anything, in turns. `lineup.py` knows it all by name."""

from understudy.ship.bench.machine import where_and_when
from understudy.ship.bench.measure import BenchRow, bench, bench_run, keep_rows
from understudy.ship.bench.subjects import (
    Subject,
    subject_of_artifact,
    subject_of_model,
    subject_of_run,
)

__all__ = [
    "BenchRow",
    "Subject",
    "bench",
    "bench_run",
    "keep_rows",
    "subject_of_artifact",
    "subject_of_model",
    "subject_of_run",
    "where_and_when",
]
