"""Any set of pictures or videos of the Hugging Face hub, by name and columns; or its copy here."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from understudy.data.manifest import Manifest
from understudy.data.media import MEDIA_SUFFIXES
from understudy.data.sources.about import About
from understudy.data.sources.layout import SPLIT_FOLDERS
from understudy.data.sources.published.choosing import choose
from understudy.data.sources.published.gathering import Clip, Place
from understudy.data.sources.published.hub_columns import Chosen, choose_columns, open_hub
from understudy.data.sources.published.picture_files import suffix_of, write_once
from understudy.errors import UserError, some_of
from understudy.record import Record

ABOUT = About(
    title="Any set of pictures or videos of the Hugging Face hub",
    place="huggingface.co/datasets, by its name OWNER/NAME (needs understudy[datasets])",
    licence="its own: read its page",
    layout=(
        "OWNER/NAME, or a folder with data/train-*.parquet or with train/<class>/*.jpg, as "
        "`hf download --repo-type dataset` fetches it, or one Parquet file",
        "pictures inside of tables are written into the folder that --pictures names",
    ),
)
FEW = 20
"""Clips of a split, from which it is no chance that all of them have the one same label."""


def read(
    place: Path,
    *,
    annotations: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    pictures: Path | None = None,
    limit_classes: int | None = None,
    mapping: Path | None = None,
    splits: str = "official",
) -> Manifest:
    """annotations: which configuration, of several. image_column, label_column: where they are not
    plain. pictures: a folder to write pictures to that lie inside of tables; going on is writing
    again. Files of the same bytes are a group; columns of text and numbers are kept, so that one of
    them can say who belongs together.

    A split whose labels are all one and the same was published without them, and is left out.
    """
    tables, base = open_hub(place, annotations)
    clips: list[Clip] = []
    notes: list[str] = []
    for name, table in tables.items():
        split = "train" if len(tables) == 1 else SPLIT_FOLDERS.get(name.lower())
        if split is None:
            raise UserError(
                f"Its splits are {', '.join(tables)}; {name} is no train, validation or test. Give "
                "the file of one of them, and it is split anew."
            )
        chosen = choose_columns(table.features, image_column, label_column)
        found, told = _clips_of(name, split, table, chosen, base, pictures)
        clips += found
        notes += told
        if chosen.unused:
            notes.append(f"{name}: nothing is read from {', '.join(chosen.unused)}.")
    if {clip.split for clip in clips} == {"train"}:
        splits = "groups"  # there is nothing else, so test has to come from it
    clips, left_out = choose(clips, limit_classes=limit_classes, mapping=mapping, splits=splits)
    clips, again = _without_tested(clips)
    if not clips:
        raise UserError(f"{place} has no clip with a label.")
    records = [
        Record(clip.places[0].name, clip.label, clip.split, clip.group or clip.places[0].name)
        for clip in clips
    ]
    names = sorted({name for clip in clips for name in clip.further})
    extras = {name: [clip.further.get(name, "") for clip in clips] for name in names}
    root = pictures.absolute() if pictures is not None else Path("/")
    return Manifest.from_records(records, root, extras, notes=[*notes, *left_out, *again])


def _clips_of(
    name: str,
    split: str,
    table: Any,
    chosen: Chosen,
    base: Path,
    pictures: Path | None,
) -> tuple[list[Clip], list[str]]:
    """The labelled clips of a split, and what is to be said of the others."""
    labels = [chosen.labels_of(value) for value in _column(table, chosen.label)]
    counts = Counter(label for label in labels if label)
    if len(counts) == 1 and len(labels) > FEW:
        (only,) = counts
        return [], [f"{name} is left out: all its {len(labels):,} labels are {only!r}, so they are "
                    "no labels."]  # fmt: skip
    notes = []
    if missing := sum(not label for label in labels):
        notes.append(f"{name}: {missing:,} clips without a label are left out.")
    columns = (_column(table, one) for one in (chosen.media, *chosen.further))
    clips, odd = [], []
    for number, (label, media, *values) in enumerate(zip(labels, *columns, strict=True)):
        if not label:
            continue
        path, digest = _path_of(media, f"{split}/{number:07}", base, pictures, len(labels))
        if path is None:
            odd.append(f"{name} {number}")
            continue
        texts = ("" if value is None else str(value) for value in values)
        further = dict(zip(chosen.further, texts, strict=True))
        clips.append(Clip((Place(path),), label, split, digest, further=further))
    if odd:
        notes.append(f"{len(odd):,} rows hold no picture or video: {some_of(odd)}.")
    return clips, notes


def _column(table: Any, name: str) -> Iterable[Any]:
    """The values of a column as they are stored, pictures undecoded, a few at a time."""
    import datasets

    table = table.select_columns([name])
    kind = table.features[name]
    if isinstance(kind, datasets.Image | datasets.Video):
        table = table.cast_column(name, type(kind)(decode=False))
    for batch in table.iter(batch_size=64):
        yield from batch[name]


def _path_of(
    media: Any, name: str, base: Path, pictures: Path | None, count: int
) -> tuple[str | None, str]:
    """Where a picture lies, after it was written where it lay inside of the table, and a name for
    what has the same bytes; None where it is no picture, or none below `base`."""
    media = {"path": media} if isinstance(media, str) else media or {}
    content, path = media.get("bytes"), media.get("path") or ""
    if content is None:
        there = Path(os.path.normpath(base / path))
        is_media = there.suffix.lower() in MEDIA_SUFFIXES and there.is_relative_to(base)
        if not is_media or not there.is_file():
            return None, ""
        return str(there), _digest(there.read_bytes())
    suffix = suffix_of(content)
    if suffix is None:
        return None, ""
    if pictures is None:
        raise UserError(
            f"Its pictures lie inside of its tables: {count:,}, each of some {len(content):,} "
            "bytes. Name a folder to write them to: --pictures FOLDER."
        )
    write_once(pictures / f"{name}{suffix}", content)
    return f"{name}{suffix}", _digest(content)


def _digest(content: bytes) -> str:
    return f"bytes-{hashlib.sha256(content).hexdigest()[:16]}"


def _without_tested(clips: list[Clip]) -> tuple[list[Clip], list[str]]:
    """Without clips of train that have the same bytes as one of val or test."""
    held_out = {clip.group for clip in clips if clip.split in ("val", "test")}
    kept = [clip for clip in clips if clip.split != "train" or clip.group not in held_out]
    gone = len(clips) - len(kept)
    told = f"{gone:,} clips of train are in val or test too, byte for byte: left out."
    return kept, [told] * bool(gone)
