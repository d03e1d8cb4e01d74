"""VGG Image Annotator (VIA): projects of version 3, videos and their temporal segments; of version
2, pictures by their file attributes, else by the attributes of their regions.

https://gitlab.com/vgg/via/-/blob/master/via-3.x.y/CodeDoc.md. A segment is `z`, two seconds; what
was said of it is `av`, by the number of an attribute: a text, or numbers of its options.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.annotations.media_folder import MediaFolder
from understudy.data.sources.annotations.reading import (
    Name,
    Number,
    Part,
    checked,
    read_bytes,
    the_file,
)
from understudy.data.sources.annotations.segments import Segment, to_manifest
from understudy.errors import UserError, some_of

TOOL = "VIA"
ABOUT = About(
    "VGG Image Annotator (VIA) 3 and 2",
    "robots.ox.ac.uk/~vgg/software/via: Save, as JSON",
    "your own",
    ("via_project.json", "the media, beside it or below --media"),
)
TEXT = 1
"""The type of an attribute that is written out; others name options."""


class _Project(Part):
    data_format_version: Name = "3"


class _Attribute(Part):
    aname: Name
    type: int
    options: dict[Name, Any] = Field(default_factory=dict)


class _File(Part):
    fname: Name = ""
    src: str = ""


class _View(Part):
    fid_list: tuple[Name | int, ...]


class _Metadata(Part):
    vid: Name | int
    z: tuple[Number, ...] = ()
    xy: tuple[Number, ...] = ()
    av: dict[Name, Name] = Field(default_factory=dict)


class _Via3(Part):
    project: _Project
    attribute: dict[Name, _Attribute]
    file: dict[Name, _File]
    metadata: dict[Name, _Metadata]
    view: dict[Name, _View]


class _Region(Part):
    region_attributes: dict[Name, Any] = Field(default_factory=dict)


class _Picture(Part):
    filename: Name
    file_attributes: dict[Name, Any] = Field(default_factory=dict)
    regions: tuple[_Region, ...] | dict[Name, _Region] = ()


class _Via2(Part):
    pictures: dict[Name, _Picture] = Field(alias="_via_img_metadata")


_ANY = TypeAdapter(dict[str, Any])
_3 = TypeAdapter(_Via3)
_2 = TypeAdapter(_Via2)


def read(place: Path, *, media: Path | None = None, field: str | None = None) -> Manifest:
    """place: the project, or the folder in which it lies alone.

    media: where the media lie, if not beside it.
    field: name of the attribute that is the label, where there are several.
    """
    file = the_file(place, (".json",), TOOL)
    content = read_bytes(file)
    keys = checked(file, content, _ANY, TOOL).keys()
    left_out: Counter[str] = Counter()
    if "_via_img_metadata" in keys:
        found = list(_of_2(checked(file, content, _2, TOOL)))
    elif {"project", "metadata", "view"} <= keys:
        found = list(_of_3(file, checked(file, content, _3, TOOL), left_out))
    else:
        raise UserError(f"{file} is no project of VIA 3 or 2. Save the project, as JSON.")
    names = sorted({name for name, _ in found})
    if field is None and len(names) > 1:
        raise UserError(
            f"{file} holds several attributes: {some_of(names)}. Say which is the label: --field "
            f"{names[0]!r}."
        )
    if field is not None and field not in names:
        raise UserError(f"{file} has no labels of an attribute {field!r}; there: {some_of(names)}.")
    segments = [segment for name, segment in found if field in (None, name)]
    notes = [f"{count} {what}." for what, count in left_out.items() if count]
    return to_manifest(segments, MediaFolder(media or file.absolute().parent), notes, file)


def _of_3(file: Path, via: _Via3, left_out: Counter[str]) -> Iterator[tuple[str, Segment]]:
    if via.project.data_format_version.partition(".")[0] != "3":
        raise UserError(
            f"{file} is of VIA's format {via.project.data_format_version[:20]!r}; 3 and 2 are read."
        )
    for number, one in via.metadata.items():
        if one.xy:
            left_out["regions of frames are no segments, and were left out"] += 1
            continue
        if len(one.z) not in (0, 2):
            left_out["labels of single moments are no segments, and were left out"] += 1
            continue
        if not one.av:
            left_out["segments have no label, and were left out"] += 1
        view = via.view.get(str(one.vid))
        source = via.file.get(str(view.fid_list[0])) if view and view.fid_list else None
        if source is None:
            raise UserError(f"{file}: metadata {number} is of a view {one.vid} without a file.")
        start, end = one.z or (None, None)
        for attribute, value in one.av.items():
            if attribute not in via.attribute:
                raise UserError(f"{file}: metadata {number} has an unknown attribute {attribute}.")
            told = via.attribute[attribute]
            labels = tuple(_values(file, number, told, value))
            if labels:
                reference = source.fname or source.src
                segment = Segment(reference, labels, start, end, where=f"metadata {number}")
                yield told.aname, segment
            else:
                left_out["segments have no label, and were left out"] += 1


def _values(file: Path, number: str, attribute: _Attribute, value: str) -> Iterator[str]:
    """What a value stands for: itself, or the options of these numbers."""
    if attribute.type == TEXT:
        if value.strip() and value != "_DEFAULT":
            yield value.strip()
        return
    for option in filter(None, value.split(",")):
        name = attribute.options.get(option)
        if not isinstance(name, str):
            raise UserError(
                f"{file}: metadata {number} has option {option} of {attribute.aname}, which has "
                f"{', '.join(attribute.options) or 'none'}."
            )
        yield name


def _of_2(via: _Via2) -> Iterator[tuple[str, Segment]]:
    by_file = any(_texts(one.file_attributes) for one in via.pictures.values())
    for picture in via.pictures.values():
        regions = picture.regions
        some = list(regions.values() if isinstance(regions, dict) else regions)
        told = [picture.file_attributes] if by_file else [one.region_attributes for one in some]
        found: dict[str, set[str]] = {}
        for attributes in told:
            for name, labels in _texts(attributes).items():
                found.setdefault(name, set()).update(labels)
        for name, labels in found.items():
            yield name, Segment(picture.filename, tuple(sorted(labels)))


def _texts(attributes: dict[str, Any]) -> dict[str, list[str]]:
    """Labels by attribute; of a check box, those that are ticked."""
    found = {
        name: [option for option, ticked in value.items() if ticked]
        if isinstance(value, dict)
        else [value.strip()]
        if isinstance(value, str)
        else []
        for name, value in attributes.items()
    }
    return {name: labels for name, labels in found.items() if any(labels)}
