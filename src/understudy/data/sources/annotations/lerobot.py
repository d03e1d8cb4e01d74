"""LeRobot: episodes of a robot's work, filmed; the task is the label.

Versions 2.x have a video an episode and meta/episodes.jsonl, version 3 several episodes in a video
and meta/episodes/*/*.parquet, which say from when to when:
https://huggingface.co/docs/lerobot/lerobot-dataset-v3. Every episode is a group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, TypeAdapter

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.annotations.media_folder import MediaFolder
from understudy.data.sources.annotations.reading import (
    Name,
    Number,
    Part,
    checked,
    faults_of,
    read_bytes,
    read_json,
)
from understudy.data.sources.annotations.segments import Segment, to_manifest
from understudy.data.sources.layout import SPLIT_FOLDERS
from understudy.errors import UserError, some_of

TOOL = "LeRobot"
ABOUT = About(
    "LeRobot, episodes by their task",
    "the hub of Hugging Face: hf download",
    "the data set's own",
    ("meta/info.json", "meta/episodes.jsonl or meta/episodes/*/*.parquet", "videos/"),
)

Index = Annotated[int, Field(ge=0, le=2**31)]


class _Feature(Part):
    dtype: Name


class _Info(Part):
    codebase_version: Name
    features: dict[Name, _Feature]
    video_path: Name | None = None
    chunks_size: Annotated[int, Field(ge=1, le=2**31)] = 1000
    splits: dict[Name, Name] = Field(default_factory=dict)


class _Episode(Part):
    episode_index: Index
    tasks: tuple[Name, ...]


class _Place(Part):
    chunk_index: Index
    file_index: Index
    from_timestamp: Number
    to_timestamp: Number


_INFO = TypeAdapter(_Info)
_EPISODE = TypeAdapter(_Episode)


def read(place: Path, *, media: Path | None = None, camera: str | None = None) -> Manifest:
    """place: the folder of the data set. media: where `videos` lies, if not there.

    camera: the key of the videos that are taken, where there are several.
    """
    file = Path(place) / "meta" / "info.json"
    info = read_json(file, _INFO, TOOL)
    key = _camera(file, info, camera)
    is_3 = info.codebase_version.startswith("v3.")
    if not is_3 and not info.codebase_version.startswith("v2."):
        raise UserError(
            f"{file} is of version {info.codebase_version[:20]!r}; v2.x and v3.x are read. Convert "
            "it with the scripts of LeRobot."
        )
    splits = _splits(file, info)
    found = _of_3(Path(place), key) if is_3 else _of_2(Path(place), info)
    segments = [
        Segment(
            _path(file, info, {**numbers, "video_key": key}),
            tuple(dict.fromkeys(one.tasks)),
            *times,
            where=f"episode {one.episode_index}",
            split=next((name for span, name in splits if one.episode_index in span), ""),
            group=f"episode-{one.episode_index}",
        )
        for one, numbers, times in found
    ]
    notes = ["Every episode is a group of its own: who or what acted is not told."]
    return to_manifest(segments, MediaFolder(media or place, whole=True), notes, file)


_Found = tuple[_Episode, dict[str, int], tuple[float | None, float | None]]


_WHOLE = (None, None)


def _of_2(place: Path, info: _Info) -> Iterator[_Found]:
    file = place / "meta" / "episodes.jsonl"
    for line in read_bytes(file).splitlines():
        if line.strip():
            one = checked(file, line, _EPISODE, TOOL)
            number = one.episode_index
            chunk = number // info.chunks_size
            yield one, {"episode_index": number, "episode_chunk": chunk}, _WHOLE


def _of_3(place: Path, key: str) -> Iterator[_Found]:
    files = sorted((place / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise UserError(f"{place} has no meta/episodes/*/*.parquet, as version 3 has.")
    prefix = f"videos/{key}/"
    for file in files:
        for number, row in enumerate(_rows(file, prefix)):
            with faults_of(file, TOOL, f"row {number}"):
                one = _EPISODE.validate_python(row)
                video = _Place.model_validate(
                    {name.removeprefix(prefix): value for name, value in row.items()}
                )
            numbers = {"chunk_index": video.chunk_index, "file_index": video.file_index}
            yield one, numbers, (video.from_timestamp, video.to_timestamp)


def _rows(file: Path, prefix: str) -> list[dict[str, Any]]:
    wanted = ["episode_index", "tasks", *(prefix + name for name in _Place.model_fields)]
    try:
        with file.open("rb") as opened:
            parquet = pq.ParquetFile(opened)
            there = set(parquet.schema_arrow.names)
            return parquet.read([name for name in wanted if name in there]).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{file} is no readable Parquet file: {error}.") from error


def _camera(file: Path, info: _Info, wanted: str | None) -> str:
    keys = sorted(key for key, one in info.features.items() if one.dtype == "video")
    found = [key for key in keys if wanted in (None, key, key.rpartition(".")[2])]
    if len(found) != 1 or info.video_path is None:
        raise UserError(
            f"{file} has {len(keys)} cameras: {some_of(keys) or 'none that is filmed'}."
            + (" Say which is taken: --camera KEY." if keys else "")
        )
    return found[0]


def _splits(file: Path, info: _Info) -> list[tuple[range, str]]:
    """Which episodes are of which split, where more than train is named."""
    found: list[tuple[range, str]] = []
    if len(info.splits) < 2:
        return found
    for name, span in info.splits.items():
        bounds = re.fullmatch(r"(\d{1,9}):(\d{1,9})", span)
        if bounds is None or name.lower() not in SPLIT_FOLDERS:
            raise UserError(
                f"{file}: the split {name!r} of {span!r} is not train, val or test of first:last."
            )
        found.append((range(int(bounds[1]), int(bounds[2])), SPLIT_FOLDERS[name.lower()]))
    return found


def _path(file: Path, info: _Info, values: Mapping[str, int | str]) -> str:
    """`video_path` with its fields filled in; no format of Python, which may ask for gigabytes."""

    def filled(field: re.Match[str]) -> str:
        if field[1] not in values:
            raise UserError(f"{file}: video_path has an unknown field {field[1]!r}.")
        value = values[field[1]]
        return str(value).zfill(int(field[2] or 0)) if isinstance(value, int) else value

    return re.sub(r"\{(\w+)(?::0(\d)d)?\}", filled, info.video_path or "")
