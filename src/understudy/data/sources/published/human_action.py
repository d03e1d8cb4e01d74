"""Human Action Recognition: 15 actions in pictures, as the hub has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from understudy.data.columns import pc
from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.published import hub
from understudy.data.splitting import split_by_group
from understudy.errors import UserError

ABOUT = About(
    title="Human Action Recognition, 15 actions in pictures",
    place="huggingface.co/datasets/Bingsu/Human_Action_Recognition (needs understudy[datasets])",
    licence="ODbL",
    layout=(
        "Bingsu/Human_Action_Recognition by name, or a folder with data/train-*.parquet",
        "12,600 labelled pictures, 840 a class, are written into the folder of --pictures",
    ),
)
CLASSES = 15
PICTURES = 12_600


def read(
    place: Path,
    *,
    pictures: Path | None = None,
    limit_classes: int | None = None,
    mapping: Path | None = None,
) -> Manifest:
    """80% of the labelled pictures are train and 20% test, stratified by class; val is carved from
    train. Pictures of the same bytes stay on one side. The labels of the public test are not
    trusted: every one of them is the first class.
    """
    manifest = hub.read(
        place,
        image_column="image",
        label_column="labels",
        pictures=pictures,
        limit_classes=limit_classes,
        mapping=mapping,
        splits="groups",
    )
    notes = [*manifest.notes, "80% of the labelled pictures are train and 20% test, by class."]
    if limit_classes is None and mapping is None:
        if len(manifest.classes) != CLASSES:
            raise UserError(f"{place} has {len(manifest.classes)} classes; this set has {CLASSES}.")
        if len(manifest) != PICTURES:
            notes.append(f"{len(manifest):,} pictures have a label; published were {PICTURES:,}.")
    manifest = split_by_group(replace(manifest, notes=tuple(notes)), val=0.2, test=0.0)
    split = manifest.columns.split.text()
    return manifest.with_splits(pc.replace_substring(split, "val", "test"))
