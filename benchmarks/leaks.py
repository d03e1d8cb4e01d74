"""How often `understudy data check` finds a copy of a clip in another split, and how often it
alarms where there is none.

    python benchmarks/leaks.py --data FOLDER --out WORK

Four data sets: stills of hand signs (`sign_digits`) and clips made of them (`sign_words`), by
person; stills of three people (`body_gestures`), who are nowhere named; and the stage, filmed here.
Each is cut into halves by group. The thresholds in use must lie above all that different people
of the stage and the first halves reach, by a margin; what that asks for is printed. Rates, by half,
are those of the thresholds in use. Copies are files written anew: re-encoded, at half the size,
cropped to 90% and 80% of each side, brighter, darker and, of clips, trimmed by a fifth at either
end. Splits: by group, where an alarm is false; at random on `body_gestures`, where it is right.
Writes results/leaks_DATE_HARDWARE.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import torch
from av.video.stream import VideoStream
from PIL import Image, ImageEnhance

from dated import dated_path, write_rows
from understudy.data.check.copies import looks_of
from understudy.data.check.near import WHOLE, WINDOW, Pair, near_pairs
from understudy.data.check.scan import files_of, scan
from understudy.data.decode import every_frame, probe
from understudy.data.manifest import Manifest
from understudy.data.sources import from_folder, read_manifest
from understudy.data.stage import film_stage
from understudy.judge.statistics import group_index, proportion_interval, resample_sums, wilson
from understudy.ship.bench import where_and_when

COPIES = 60
"""Clips of each half that are copied, in every way."""
MARGIN = 0.02
"""By which a threshold lies above the most alike of different people."""
DEALS = 20
"""Splits that are dealt, for the share of those that raise the alarm."""

Change = Callable[[list[Image.Image], np.random.Generator], list[Image.Image]]


@dataclass(frozen=True)
class Half:
    """Rows of a data set. groups: of each, None where nobody knows them."""

    name: str
    manifest: Manifest
    groups: list[str] | None
    first: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real data")
    parser.add_argument("--out", type=Path, required=True, help="where copies are written")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    halves = read_halves(asked.data, asked.out)
    found = [measure(half, asked.out) for half in halves]
    both = list(zip(halves, found, strict=True))
    least = choose([(half, one) for half, one in both if half.first])
    alarm = WHOLE, WINDOW
    say(f"thresholds in use: {alarm}; the first halves ask for {least} at least")
    rows = [
        {"half": "first" if half.first else "second", **row, "whole": alarm[0],
         "window": alarm[1]}
        for half, one in both
        for row in rates(half, one, alarm)
    ]  # fmt: skip
    context = where_and_when()
    path = dated_path("leaks", Path("results"), context)
    write_rows(path, rows)
    for row in rows:
        say("  ".join(str(value) for value in row.values()))
    say(str(path))


def read_halves(data: Path, out: Path) -> list[Half]:
    if not (out / "stage" / "manifest.csv").exists():
        film_stage(out / "stage", clips=200, seed=0, size=96)
    sets = {
        "stage": read_manifest(out / "stage" / "manifest.csv"),
        "sign_digits": from_folder(data / "sign_digits" / "images", neighbours=10),
        "sign_words": read_manifest(data / "sign_words" / "labels.csv"),
        "body_gestures": from_folder(data / "body_gestures" / "images"),
    }
    halves = []
    for name, manifest in sets.items():
        groups = [record.group for record in manifest.records]
        in_order = sorted(set(groups))
        np.random.default_rng(0).shuffle(in_order)
        early = set(in_order[: len(in_order) // 2])
        for first in (True, False):
            rows = [row for row, group in enumerate(groups) if (group in early) == first]
            if name == "stage":  # which only has a say
                rows = list(range(len(manifest))) if first else []
            if rows:
                own = None if name == "body_gestures" else [groups[row] for row in rows]
                if name == "sign_words":  # whose groups are pairs of people: some share one
                    own = [manifest.records[row].split for row in rows]
                halves.append(Half(name, manifest.take(rows), own, first))
    return halves


@dataclass(frozen=True)
class Measured:
    """apart: pairs of different groups. copies: by change, the two cosines (n, 2) of each copy with
    its clip, -1 where they were never compared."""

    apart: list[Pair]
    copies: dict[str, np.ndarray]


def measure(half: Half, out: Path) -> Measured:
    say(f"{half.name}, {len(half.manifest)} clips")
    looks = seen_looks(half.manifest, out / f"{half.name}.state.jsonl")
    groups = half.groups or [str(row) for row in range(len(looks))]
    index, _ = group_index(groups)
    apart = near_pairs(looks, index, all_compared=True)
    rng = np.random.default_rng(1)
    chosen = np.sort(rng.choice(len(looks), min(COPIES, len(looks)), replace=False)).tolist()
    folder = out / half.name / ("first" if half.first else "second")
    copies = {}
    for change in CHANGES:
        paths = [copied(half.manifest.path_of(row), folder / change, change) for row in chosen]
        if not all(paths):
            continue
        records = [
            replace(half.manifest.records[row], path=str(path), start_s=None, end_s=None)
            for row, path in zip(chosen, paths, strict=True)
        ]
        copy = Manifest.from_records(records, folder)
        both = [*looks, *seen_looks(copy, folder / f"{change}.state.jsonl")]
        split = np.array([0] * len(looks) + [1] * len(chosen))
        pairs = {
            (one.first, one.second): one[2:4] for one in near_pairs(both, split, all_compared=True)
        }
        copies[change] = np.array(
            [pairs.get((row, len(looks) + n), (-1.0, -1.0)) for n, row in enumerate(chosen)]
        )
        low = np.quantile(copies[change], 0.05, axis=0).round(3).tolist()
        lost = (copies[change] < 0).all(1).mean()
        say(f"  {change}: a twentieth below {low}, never compared: {lost:.0%}")
    others = np.array([(one.whole, one.window) for one in apart]).max(0).round(3).tolist()
    say(f"  most alike of others: {others}")
    return Measured(apart, copies)


def seen_looks(manifest: Manifest, state: Path) -> list[np.ndarray]:
    files = files_of(manifest)
    seen = scan(list(files), state, count=1)
    return looks_of(manifest, files, seen)[0]


def choose(first: list[tuple[Half, Measured]]) -> tuple[float, float]:
    """Above all that different people of the stage and the first halves reach, by a margin."""
    most = [
        max((one.whole, one.window)[number] for half, found in first if half.groups is not None
            for one in found.apart)
        for number in (0, 1)
    ]  # fmt: skip
    return round(most[0] + MARGIN, 2), round(most[1] + MARGIN, 2)


def rates(half: Half, one: Measured, alarm: tuple[float, float]) -> list[dict[str, Any]]:
    rows = []
    for change, cosines in one.copies.items():
        hits = int((cosines >= alarm).any(1).sum())
        rows.append(_row(half, f"found: {change}", hits, len(cosines), wilson(hits, len(cosines))))
    pairs = [pair for pair in one.apart if pair.whole >= alarm[0] or pair.window >= alarm[1]]
    alarmed = {row for pair in pairs for row in pair[:2]}
    n = len(half.manifest)
    if half.groups is not None:
        wrong = np.array([float(row in alarmed) for row in range(n)])
        index, _ = group_index(half.groups)
        sums = resample_sums(np.stack([wrong, np.ones(n)], 1), index)
        low, high, _ = proportion_interval(len(alarmed), n, sums[:, 0] / sums[:, 1])
        rows.append(_row(half, "clips falsely alarmed", len(alarmed), n, (low, high)))
    splits = sum(_raises(half, pairs, seed) for seed in range(DEALS))
    how = "random" if half.groups is None else "grouped"
    rows.append(_row(half, f"{how} splits with an alarm", splits, DEALS, wilson(splits, DEALS)))
    return rows


def _raises(half: Half, pairs: list[Pair], seed: int) -> bool:
    """Whether a split of 60, 20 and 20 per cent, whole groups where they are known, alarms."""
    names = half.groups or [str(row) for row in range(len(half.manifest))]
    index, count = group_index(names)
    split = np.random.default_rng(seed).choice(3, count, p=[0.6, 0.2, 0.2])[index]
    return any(split[pair.first] != split[pair.second] for pair in pairs)


def _row(half: Half, what: str, hits: int, n: int, interval: tuple[float, float]) -> dict[str, Any]:
    low, high = interval
    return {"data": half.name, "what": what, "hits": hits, "n": n, "rate": round(hits / n, 4),
            "low": round(low, 4), "high": round(high, 4)}  # fmt: skip


# Copies


def _crop(share: float) -> Change:
    def change(frames: list[Image.Image], rng: np.random.Generator) -> list[Image.Image]:
        width, height = frames[0].size
        w, h = round(width * share), round(height * share)
        left, top = (int(rng.integers(0, room + 1)) for room in (width - w, height - h))
        return [frame.crop((left, top, left + w, top + h)) for frame in frames]

    return change


def _brightness(factor: float) -> Change:
    return lambda frames, rng: [ImageEnhance.Brightness(one).enhance(factor) for one in frames]


def _half(frames: list[Image.Image], rng: np.random.Generator) -> list[Image.Image]:
    return [one.resize((one.width // 2, one.height // 2)) for one in frames]


CHANGES: dict[str, Change] = {
    "re-encoded": lambda frames, rng: frames,
    "half the size": _half,
    "cropped to 90%": _crop(0.9),
    "cropped to 80%": _crop(0.8),
    "brighter by 1.4": _brightness(1.4),
    "darker by 0.6": _brightness(0.6),
    "trimmed to 60%": lambda frames, rng: frames[len(frames) // 5 : -(len(frames) // 5)],
}


WINDOW_CHANGES = {"cropped to 90%", "cropped to 80%"}
WHOLE_CHANGES = set(CHANGES) - WINDOW_CHANGES


def copied(path: Path, folder: Path, change: str) -> Path | None:
    """A changed copy of a picture or clip; None for what cannot be done to it."""
    frames = [Image.fromarray(pixels.permute(1, 2, 0).numpy()) for _, pixels in every_frame(path)]
    is_picture = len(frames) == 1
    if is_picture and change.startswith("trimmed"):
        return None
    out = folder / f"{path.stem}{'.jpg' if is_picture else '.mp4'}"
    if out.exists():
        return out
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(out.name.encode()))
    frames = CHANGES[change](frames, rng)
    partial = out.with_name(f"partial-{out.name}")
    if is_picture:
        frames[0].save(partial, quality=40)
    else:
        _encode(partial, frames, Fraction(probe(path).fps).limit_denominator(1001))
    partial.rename(out)
    return out


def _encode(path: Path, frames: list[Image.Image], fps: Fraction) -> None:
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream("libx264", rate=fps))
        stream.width, stream.height = (side // 2 * 2 for side in frames[0].size)
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "30"}
        for number, one in enumerate(frames):
            frame = av.VideoFrame.from_image(one.crop((0, 0, stream.width, stream.height)))
            frame.pts, frame.time_base = number, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
