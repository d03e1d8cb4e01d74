"""`understudy data from` and `data sources`: published data sets and annotation tools by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.data_options import (
    LARGE,
    Background,
    GroupBy,
    GroupColumn,
    GroupLevel,
    Neighbours,
    Overwrite,
    SharedGroups,
    check_out,
    describe_manifest,
)
from understudy.cli.say import print_, say


def data_from(
    source: Annotated[str, typer.Argument(help="One of: understudy data sources.")],
    place: Annotated[Path, typer.Argument(help="Its folder or file, as downloaded or exported.")],
    out: Annotated[Path, typer.Argument(help="The manifest to write, .csv or .parquet.")],
    annotations: Annotated[
        str | None, typer.Option(help="Which annotations, where a data set has several.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames a second of frame folders, or in which was counted."),
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(help="The column of pictures or videos.")
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="The column of labels.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="What of it is learned: verb, noun or action.")
    ] = None,
    limit_classes: Annotated[
        int | None, typer.Option(help="The first so many classes, in the data set's own order.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="A CSV of label and class: what to learn, and its name.")
    ] = None,
    media: Annotated[
        Path | None, typer.Option(help="Folder of the media, if not beside the annotations.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder to write pictures to that lie inside of tables.")
    ] = None,
    rows: Annotated[str | None, typer.Option(help="What a clip is: segments or videos.")] = None,
    split_number: Annotated[
        int | None, typer.Option(help="Which of several official splits.")
    ] = None,
    splits: Annotated[
        str | None, typer.Option(help="official, or groups: whole groups are dealt out anew.")
    ] = None,
    annotator: Annotated[str | None, typer.Option(help="Whose annotations are taken.")] = None,
    field: Annotated[str | None, typer.Option(help="Which of several kinds of labels.")] = None,
    label_map: Annotated[
        Path | None, typer.Option(help="A text of class names, one a line, from number 0.")
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Which of several media of one item.")] = None,
    group_column: GroupColumn = None,
    group_level: GroupLevel = None,
    group_by: GroupBy = None,
    neighbours: Neighbours = None,
    seed: Annotated[int, typer.Option(help="Seed of the split, where there is none.")] = 0,
    allow_shared_groups: SharedGroups = False,
    background: Background = False,
    overwrite: Overwrite = False,
) -> None:
    """A manifest from a published data set, or from the export of an annotation tool."""
    from understudy.data.grouping import Grouping
    from understudy.data.manifest import complete_splits
    from understudy.data.sources import write_manifest
    from understudy.data.sources.known import read_source

    given = {
        "annotations": annotations,
        "fps": fps,
        "image_column": image_column,
        "label_column": label_column,
        "labels": labels,
        "limit_classes": limit_classes,
        "mapping": mapping,
        "media": media,
        "pictures": pictures,
        "rows": rows,
        "split_number": split_number,
        "splits": splits,
        "annotator": annotator,
        "field": field,
        "camera": camera,
        "label_map": label_map,
    }
    check_out(out, place, overwrite)
    grouping = Grouping(group_column, group_level, group_by, neighbours)
    manifest = grouping(read_source(source, place, given))
    if background:
        from understudy.data.background import with_background

        manifest = with_background(manifest)
    progress = say if len(manifest) >= LARGE else None
    manifest = complete_splits(
        manifest, allow_shared_groups=allow_shared_groups, seed=seed, progress=progress
    )
    write_manifest(manifest, out)
    describe_manifest(manifest, out)


def data_sources() -> None:
    """What `understudy data from` reads: where it comes from, its licence, what lies on disk."""
    from understudy.data.sources.known import MODULES, about, options_of

    for name in sorted(MODULES):
        told = about(name)
        print_(f"{name}: {told.title}")
        print_(f"  from {told.place}; licence: {told.licence}")
        for line in told.layout:
            print_(f"  {line}")
        if options_of(name):
            options = ", ".join(f"--{one.replace('_', '-')}" for one in options_of(name))
            print_(f"  options: {options}")
