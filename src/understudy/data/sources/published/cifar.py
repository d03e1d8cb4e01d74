"""CIFAR-10 and CIFAR-100: small pictures of things (Krizhevsky 2009), from their binary version."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.published.annotation_files import (
    expected,
    files_named,
    folder_of,
    read_content,
    read_lines,
)
from understudy.data.sources.published.choosing import choose
from understudy.data.sources.published.gathering import Clip, Place
from understudy.data.sources.published.picture_files import write_once
from understudy.errors import UserError
from understudy.record import Record

ABOUT = About(
    title="CIFAR-10 and CIFAR-100, binary version",
    place="cs.toronto.edu/~kriz/cifar.html, the archives called binary",
    licence="none is given",
    layout=(
        "cifar-10-batches-bin/data_batch_1.bin to _5.bin, test_batch.bin and batches.meta.txt; or "
        "cifar-100-binary/train.bin, test.bin and fine_label_names.txt",
        "their pictures are written as PNG into the folder that --pictures names",
    ),
)
SIDE = 32
PIXELS = 3 * SIDE * SIDE

_SETS = (  # files of train, of test, names of the classes, bytes of labels before a picture
    ("data_batch_*.bin", "test_batch.bin", "batches.meta.txt", 1),
    ("train.bin", "test.bin", "fine_label_names.txt", 2),
)


def read(
    place: Path,
    *,
    pictures: Path | None = None,
    limit_classes: int | None = None,
    mapping: Path | None = None,
    splits: str = "official",
) -> Manifest:
    """The fine labels of CIFAR-100. pictures: a folder to write to; going on is writing again."""
    root = folder_of(place, ABOUT.layout)
    for train, test, names, width in _SETS:  # noqa: B007, it is the width of the set that is there
        files = {"train": files_named(root, train), "test": files_named(root, test)}
        lists = files_named(root, names)
        if files["train"] and files["test"] and lists:
            break
    else:
        pickles = files_named(root, "data_batch_1 batches.meta fine_label_names meta")
        hint = (
            "What lies there is the Python version, pickles, which could run any code and are not "
            "opened. Fetch the binary version, or read it from the hub: understudy data from hub "
            "uoft-cs/cifar10 (or cifar100). "
        ) * bool(pickles)
        raise UserError(f"{root} holds no binary version of CIFAR. {hint}{expected(ABOUT.layout)}")
    if pictures is None:
        raise UserError("Name a folder to write its pictures to, some 150 MB: --pictures FOLDER.")
    classes = read_lines(lists[0])
    clips = [
        _clip(pictures, f"{split}/{path.stem}-{number:05}.png", label, pixels, classes, path)
        for split, paths in files.items()
        for path in paths
        for number, (label, pixels) in enumerate(_pictures(path, width))
    ]
    clips, notes = choose(
        clips, limit_classes=limit_classes, mapping=mapping, splits=splits, order=classes
    )
    records = [
        Record(clip.places[0].name, clip.label, clip.split, clip.places[0].name) for clip in clips
    ]
    notes.append(
        "3.3% of the test pictures of CIFAR-10 and 10% of CIFAR-100 have a near-duplicate in train "
        "(Barz and Denzler 2020): official figures are a little too good."
    )
    return Manifest.from_records(records, pictures.absolute(), notes=notes)


def _pictures(path: Path, width: int) -> Iterator[tuple[int, np.ndarray]]:
    """The class and the pixels (32, 32, 3) uint8 RGB of every picture in a file."""
    content, size = np.frombuffer(read_content(path), np.uint8), width + PIXELS
    if not content.size or content.size % size:
        raise UserError(
            f"{path} is cut off or no file of CIFAR: it is no multiple of {size} bytes."
        )
    for record in content.reshape(-1, size):
        yield int(record[width - 1]), record[width:].reshape(3, SIDE, SIDE).transpose(1, 2, 0)


def _clip(
    folder: Path, name: str, label: int, pixels: np.ndarray, classes: list[str], path: Path
) -> Clip:
    from PIL import Image

    if label >= len(classes):
        raise UserError(f"{path} has a picture of class {label}; there are {len(classes)} classes.")
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    write_once(folder / name, png.getvalue())
    return Clip((Place(name),), classes[label], name.partition("/")[0])
