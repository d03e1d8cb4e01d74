"""The main job on a small scale: film, teach, evaluate, export, time, report, all measured here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from understudy.data.stage import film_stage
from understudy.errors import UserError
from understudy.judge.compare import compare_predictions
from understudy.judge.evaluate import evaluate_run
from understudy.judge.predictions import read_predictions
from understudy.recipe import load_recipe
from understudy.run import Run, read_json, write_json
from understudy.run.classifier import file_sha256
from understudy.ship import export_run
from understudy.ship.bench import BenchRow, bench_run, subject_of_run
from understudy.study.report import write_report
from understudy.teach.progress import default_reporter
from understudy.teach.train import train
from understudy.types import parameter_count

_MADE, _FOLDER = "made-by-demo.json", "a folder"


def run_demo(
    out: Path, *, seed: int = 0, clips: int = 400, overrides: tuple[str, ...] = ()
) -> Path:
    """Do all of it below `out` and give the path of the page about the taught student.

    `out` may hold what an earlier demo made there, which is replaced, and nothing else.

    `overrides` change single values of the three recipes, as `--set` does.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=100)  # a log file is as wide as the table
    started = time.perf_counter()
    _make_room(out)
    with _listing_what_is_made(out):
        page = _demo(out, console, seed, clips, overrides)
    console.print(f"{time.perf_counter() - started:.0f} s in all. The page: {page}")
    return page


def _demo(out: Path, console: Console, seed: int, clips: int, overrides: tuple[str, ...]) -> Path:
    console.print(f"[bold]1/6[/] filming {clips} clips of actors")
    film_stage(out / "stage", clips=clips, seed=seed, size=128)
    common = (
        f"data.manifest={out / 'stage' / 'manifest.csv'}",
        f"train.seed={seed}",
        *overrides,
    )

    console.print("[bold]2/6[/] a teacher learns from the labels")
    teacher = _train("demo-teacher", out / "runs" / "demo-teacher", common)
    console.print("[bold]3/6[/] a student learns from the teacher")
    by_teacher = (f"teacher.path={teacher.path}",)
    taught = _train("demo", out / "runs" / "demo-student", (*common, *by_teacher))
    console.print("[bold]4/6[/] the same student learns from the labels alone")
    alone = _train("demo", out / "runs" / "demo-student-alone", (*common, "teacher=null"))

    console.print("[bold]5/6[/] all three on clips of actors that none has seen")
    runs = {"teacher": teacher, "student, taught": taught, "student, alone": alone}
    metrics = {name: evaluate_run(run) for name, run in runs.items()}
    comparison = compare_predictions(
        read_predictions(taught.predictions_path), read_predictions(alone.predictions_path)
    )
    write_json(
        taught.path / "comparison.json",
        {"with": taught.name, "without": alone.name} | comparison,
    )

    console.print("[bold]6/6[/] export to ONNX, parity, latency, report")
    artifact = export_run(taught, "onnx")
    others = [subject_of_run(teacher)]
    rows = bench_run(taught, artifact, others=others, threads=(1,), rounds=8)
    write_json(taught.path / "bench.json", [asdict(row) for row in rows])
    page = write_report(taught)

    console.print(_closing_table(runs, metrics, rows))
    console.print(_verdict(comparison))
    return page


def _make_room(out: Path) -> None:
    """Delete what an earlier demo made below `out`. Raises UserError, with nothing touched, where
    anything else is there, or what has changed since: somebody may keep runs of their own there."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file. Choose a folder with --out.")
    there = _below(out)
    made = read_json(out / _MADE).get("made") if (out / _MADE).is_file() else None
    if not isinstance(made, dict):
        if out.is_dir() and (others := sorted(entry.name for entry in out.iterdir())):
            raise UserError(
                f"{out} is not empty ({', '.join(others[:3])}). Choose another folder with --out."
            )
        return
    if others := [name for name, what in there.items() if made.get(name) != what]:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise UserError(
            f"{out} holds what no demo made, or what was changed since: {', '.join(others[:3])}"
            f"{more}. Nothing in it is touched; choose another folder with --out."
        )
    for name in sorted(there, reverse=True):  # what is in a folder goes before it
        (out / name).rmdir() if there[name] == _FOLDER else (out / name).unlink()
    (out / _MADE).unlink()


@contextmanager
def _listing_what_is_made(out: Path) -> Iterator[None]:
    """However the demo ends, leave a list of what it made, so that the next one may replace it."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # then the next one is refused
            write_json(out / _MADE, {"made": _below(out)})


def _below(out: Path) -> dict[str, str]:
    """All that is below `out`, by name, but the list itself: files by a hash of their bytes."""
    found = {one.relative_to(out).as_posix(): one for one in out.rglob("*")}
    return {name: _what(found[name]) for name in sorted(found) if name != _MADE}


def _what(path: Path) -> str:
    if path.is_symlink() or not (path.is_dir() or path.is_file()):
        return "of no demo"
    return _FOLDER if path.is_dir() else file_sha256(path)


def _train(recipe: str, path: Path, overrides: tuple[str, ...]) -> Run:
    return train(
        load_recipe(recipe, [*overrides, f"name={path.name}"]), path, reporter=default_reporter()
    )


def _closing_table(runs: dict[str, Run], metrics: dict[str, Any], rows: list[BenchRow]) -> Table:
    n = next(iter(metrics.values()))["n"]
    table = Table(title=f"{n} test clips of unseen actors, 1 thread", title_justify="left")
    for column in ("", "top-1 [95% interval]", "parameters", "size", "per clip (p95)"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    clips = [row for row in rows if row.threads == 1 and row.what == "clip"]
    timed = {(row.subject, row.kind): row for row in clips}
    for name, run in runs.items():
        figure = metrics[name]["top1"]
        row = timed.get((run.name, "run"))
        table.add_row(
            name,
            f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]",
            f"{parameter_count(run.load_model()):,}",
            _megabytes(run.checkpoint_path().stat().st_size),
            _milliseconds(row),
        )
    exported = [row for row in rows if row.threads == 1 and row.kind == "artifact"]
    for row in exported:
        table.add_row(
            "student, taught, ONNX" if row.what == "clip" else "  per new frame of a stream",
            "as the run" if row.what == "clip" else "",
            "",
            _megabytes(row.file_bytes or 0),
            _milliseconds(row),
        )
    return table


def _verdict(comparison: dict[str, Any]) -> str:
    low, high = comparison["low"], comparison["high"]
    shown = "no difference is shown" if low <= 0 <= high else "these two runs differ"
    p = "p < 0.001" if comparison["p"] < 0.001 else f"p = {comparison['p']:.3f}"
    return (
        f"Taught minus alone: {comparison['difference']:+.3f} [{low:+.3f}, {high:+.3f}], "
        f"{p}, n = {comparison['n']}: {shown}. One seed each; another seed may differ."
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _milliseconds(row: BenchRow | None) -> str:
    return "" if row is None else f"{row.median_ms:.1f} ms ({row.p95_ms:.1f})"
