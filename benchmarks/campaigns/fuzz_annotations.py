"""Exports of annotation tools with one thing about them broken: JSON, XML, CSV, lists, Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from campaigns.asking import ask
from campaigns.forked import Ended
from campaigns.input import Input
from campaigns.mutate import damage, damage_tree, odd_file
from campaigns.workshop import Workshop

SECONDS, FRAMES = 0.8, 8
"""How long a clip of the workshop is."""
LABELS = ("left", "right")
CAMERA = "observation.images.top"

Parts = list[tuple[str, str, float, float]]
"""Clip, label, start and end in seconds."""


def make(rng: Random, workshop: Workshop, place: Path) -> Input:
    clips = [clip.name for clip in workshop.clips]
    parts = [
        (name, LABELS[(n + half) % 2], half * 0.4, half * 0.4 + 0.3)
        for n, name in enumerate(clips)
        for half in (0, 1)
    ]
    name = rng.choice(sorted(WRITERS))
    source, _, kind = name.partition(" ")
    file = place / FILES[source]
    if kind == "csv":
        file = file.with_suffix(".csv")
    file.parent.mkdir(parents=True, exist_ok=True)
    tree: Any = WRITERS[name](parts)
    content = b""
    how = rng.choice(("tree", "tree", "tree", "bytes", "bytes", "odd", "nothing"))
    if isinstance(tree, str):
        content = tree.encode()
        how = "bytes" if how == "tree" else how
    what = "nothing"
    if how == "tree":
        tree, what = damage_tree(tree, rng)
    if not isinstance(tree, str):
        content = json.dumps(tree).encode()
    if kind == "3":
        _write_episodes(place, parts, rng if how == "bytes" else None)
        how, what = ("nothing", "Parquet damaged") if how == "bytes" else (how, what)
    if how == "bytes":
        content, what = damage(content, rng)
    if how == "odd":
        what = odd_file(file, rng)
    else:
        file.write_bytes(content)
    is_folder = source in ("fiftyone", "lerobot")
    words = ["data", "from", source, "." if is_folder else file.name, "out.csv",
             "--media", str(workshop.folder / "clips")]  # fmt: skip
    words += ["--fps", "10"] * (source == "label-studio")
    words += ["--background"] * (rng.random() < 0.3 and source != "mmaction2")
    is_whole = how == what == "nothing"

    def check(ended: Ended) -> str:
        del ended
        return ask(_wrong, place / "out.csv", workshop.folder / "clips", is_whole)

    return Input(words, f"{name}: {what}", check, must_work=is_whole)


def _wrong(table: Path, clips: Path, is_whole: bool) -> str:
    """What is wrong about the rows that were written."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if not (table.parent / row["path"]).resolve().is_relative_to(clips.resolve()):
            return f"a row is outside of the folder: {row['path']}"
        start, end = float(row["start_s"] or 0), float(row["end_s"] or SECONDS)
        if not 0 <= start < end <= SECONDS + 0.5:
            return f"a row is from {start} to {end} s of a clip of {SECONDS} s"
    labels = {row["label"] for row in rows} - {"background"}
    return "" if not is_whole or len(labels) == len(LABELS) else f"labels are {sorted(labels)}"


def _frames(start: float, end: float) -> tuple[int, int]:
    """First frame and the last one, from 0."""
    return round(start * 10), round(end * 10) - 1


def _label_studio(parts: Parts) -> Any:
    return [
        {
            "id": number,
            "data": {"video": f"/data/upload/1/3d3ad63e-{clip}"},
            "annotations": [{"id": 1, "completed_by": 1, "was_cancelled": False, "result": [
                {"type": "timelinelabels", "from_name": "l", "to_name": "v", "value": {
                    "ranges": [dict(zip(("start", "end"), [n + 1 for n in _frames(start, end)],
                                        strict=True))], "timelinelabels": [label]}}
                for name, label, start, end in parts if name == clip]}],
        }
        for number, clip in enumerate(dict.fromkeys(part[0] for part in parts))
    ]  # fmt: skip


def _label_studio_min(parts: Parts) -> Any:
    return [
        {"id": task["id"], "video": task["data"]["video"], "annotator": 1, "annotation_id": 1,
         "l": [result["value"] for result in task["annotations"][0]["result"]]}
        for task in _label_studio(parts)
    ]  # fmt: skip


def _create_ml(parts: Parts) -> Any:
    return [dict(zip(("video", "label", "start", "end"), part, strict=True)) for part in parts]


def _create_ml_csv(parts: Parts) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("video", "label", "start", "end"), *parts])
    return text.getvalue()


def _cvat(parts: Parts) -> str:
    clips = list(dict.fromkeys(part[0] for part in parts))
    tasks = "".join(
        f"<task><id>{n}</id><name>t{n}</name><size>{FRAMES}</size><mode>interpolation</mode>"
        f"<start_frame>0</start_frame><stop_frame>{FRAMES - 1}</stop_frame><source>{clip}</source>"
        "</task>"
        for n, clip in enumerate(clips)
    )
    tracks = ""
    for number, (clip, label, start, end) in enumerate(parts):
        first, last = _frames(start, end)
        boxes = "".join(
            f'<box frame="{frame}" outside="{int(frame > last)}" occluded="0" keyframe="1" '
            'xtl="1" ytl="1" xbr="2" ybr="2"><attribute name="a">b</attribute></box>'
            for frame in range(first, last + 2)
        )
        task = clips.index(clip)
        tracks += f'<track id="{number}" label="{label}" task_id="{task}">{boxes}</track>'
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta>'
        f"<project><tasks>{tasks}</tasks></project></meta>{tracks}</annotations>"
    )


def _via(parts: Parts) -> Any:
    clips = list(dict.fromkeys(part[0] for part in parts))
    return {
        "project": {"data_format_version": "3.1.1"},
        "attribute": {"1": {"aname": "A", "anchor_id": "FILE1_Z2_XY0", "type": 4,
                            "options": {str(n): label for n, label in enumerate(LABELS)}}},
        "file": {str(n): {"fid": str(n), "fname": clip, "type": 4, "loc": 1, "src": ""}
                 for n, clip in enumerate(clips)},
        "metadata": {f"m{n}": {"vid": str(clips.index(clip)), "z": [start, end], "xy": [],
                               "av": {"1": str(LABELS.index(label))}}
                     for n, (clip, label, start, end) in enumerate(parts)},
        "view": {str(n): {"fid_list": [str(n)]} for n in range(len(clips))},
    }  # fmt: skip


def _mmaction2(parts: Parts) -> str:
    first = {clip: label for clip, label, *_ in reversed(parts)}
    return "".join(f"{clip} {LABELS.index(label)}\n" for clip, label in first.items())


def _fiftyone(parts: Parts) -> Any:
    labels: dict[str, list[Any]] = {}
    for clip, label, start, end in parts:
        first, last = _frames(start, end)
        one = {"label": LABELS.index(label), "support": [first + 1, last + 1], "confidence": 0.5}
        labels.setdefault(Path(clip).stem, []).append(one)
    return {"classes": list(LABELS), "labels": labels}


def _lerobot(parts: Parts) -> Any:
    del parts
    return {
        "codebase_version": "v3.0", "fps": 10, "splits": {"train": "0:36"},
        "video_path": "{file_index:02d}.mp4", "chunks_size": 1000,
        "features": {CAMERA: {"dtype": "video", "shape": [1]}, "action": {"dtype": "float32"}},
    }  # fmt: skip


def _write_episodes(place: Path, parts: Parts, rng: Random | None) -> None:
    """meta/episodes of version 3, its bytes damaged where `rng` is given."""
    file = place / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    file.parent.mkdir(parents=True)
    content = ask(_parquet, parts)
    file.write_bytes(content if rng is None else damage(content, rng)[0])


def _parquet(parts: Parts) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    prefix = f"videos/{CAMERA}/"
    table = pa.table({
        "episode_index": list(range(len(parts))),
        "tasks": [[label] for _, label, *_ in parts],
        f"{prefix}chunk_index": [0] * len(parts),
        f"{prefix}file_index": [int(Path(clip).stem) for clip, *_ in parts],
        f"{prefix}from_timestamp": [start for *_, start, _ in parts],
        f"{prefix}to_timestamp": [end for *_, end in parts],
    })  # fmt: skip
    target = pa.BufferOutputStream()
    pq.write_table(table, target)
    return target.getvalue().to_pybytes()


WRITERS: dict[str, Callable[[Parts], Any]] = {
    "label-studio": _label_studio,
    "label-studio min": _label_studio_min,
    "create-ml": _create_ml,
    "create-ml csv": _create_ml_csv,
    "cvat": _cvat,
    "via": _via,
    "mmaction2": _mmaction2,
    "fiftyone": _fiftyone,
    "lerobot 3": _lerobot,
}
FILES = {
    "label-studio": "export.json", "create-ml": "annotations.json", "cvat": "annotations.xml",
    "via": "project.json", "mmaction2": "list.txt", "fiftyone": "labels.json",
    "lerobot": "meta/info.json",
}  # fmt: skip
