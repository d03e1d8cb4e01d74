"""The verbs of `understudy data`: make and check manifests, film the stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.checking import data_check
from understudy.cli.say import print_, say
from understudy.errors import UserError

data_app = typer.Typer(help="Make and check manifests: tables of clips.", no_args_is_help=True)

LARGE = 100_000
"""Rows from which a table takes so long that what is done with it is said meanwhile."""

SharedGroups = Annotated[
    bool, typer.Option("--allow-shared-groups", help="Accept groups that stand in two splits.")
]
GroupColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="A column that says who is who: its group.")
]
GroupLevel = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="The folder of the path that is the group: 1 the first below the root or the table's "
        "folder, -1 the one that holds the clip.",
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help="A regular expression; its first bracket is the group."),
]
Neighbours = Annotated[
    int | None,
    typer.Option(metavar="N", help="Group files by blocks of this many neighbouring numbers."),
]

Background = Annotated[
    bool, typer.Option("--background", help="Add rows of class background between segments.")
]


@data_app.command("folder")
def data_folder(
    folder: Annotated[Path, typer.Argument(help="One sub-folder per class.")],
    out: Annotated[Path, typer.Argument(help="The manifest to write, .csv or .parquet.")],
    group_column: GroupColumn = None,
    group_level: GroupLevel = None,
    group_by: GroupBy = None,
    neighbours: Neighbours = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
) -> None:
    """A manifest from a tree of pictures, videos or frame folders."""
    from understudy.data.grouping import Grouping
    from understudy.data.manifest import complete_splits
    from understudy.data.sources import write_manifest
    from understudy.data.sources.folder import from_folder

    grouping = Grouping(group_column, group_level, group_by, neighbours)
    manifest = grouping(from_folder(folder))
    progress = say if len(manifest) >= LARGE else None
    manifest = complete_splits(manifest, seed=seed, progress=progress)
    write_manifest(manifest, out)
    describe_manifest(manifest, out)


@data_app.command("csv")
def data_csv(
    table: Annotated[Path, typer.Argument(help="A table with path and label, CSV or Parquet.")],
    out: Annotated[Path, typer.Argument(help="The manifest to write, .csv or .parquet.")],
    group_column: GroupColumn = None,
    group_level: GroupLevel = None,
    group_by: GroupBy = None,
    neighbours: Neighbours = None,
    seed: Annotated[int, typer.Option(help="Seed of the split, where none is given.")] = 0,
    allow_shared_groups: SharedGroups = False,
    background: Background = False,
) -> None:
    """A manifest from a table, with splits by group where it names none."""
    from understudy.data.grouping import Grouping
    from understudy.data.sources import read_manifest, write_manifest

    manifest = read_manifest(
        table,
        seed=seed,
        allow_shared_groups=allow_shared_groups,
        background=background,
        grouping=Grouping(group_column, group_level, group_by, neighbours),
        progress=_progress(table),
    )
    write_manifest(manifest, out)
    describe_manifest(manifest, out)


@data_app.command("from")
def data_from(
    source: Annotated[str, typer.Argument(help="One of: understudy data sources.")],
    place: Annotated[Path, typer.Argument(help="Its folder or file, as downloaded or exported.")],
    out: Annotated[Path, typer.Argument(help="The manifest to write, .csv or .parquet.")],
    group_column: GroupColumn = None,
    group_level: GroupLevel = None,
    group_by: GroupBy = None,
    neighbours: Neighbours = None,
    limit_classes: Annotated[
        int | None, typer.Option(help="The first so many classes, in the data set's own order.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="A CSV of label and class: what to learn, and its name.")
    ] = None,
    split_number: Annotated[
        int | None, typer.Option(help="Which of several official splits.")
    ] = None,
    splits: Annotated[
        str | None, typer.Option(help="official, or groups: whole groups are dealt out anew.")
    ] = None,
    media: Annotated[
        Path | None, typer.Option(help="Folder of the media, if not beside the annotations.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second by which the tool counted.")
    ] = None,
    annotator: Annotated[str | None, typer.Option(help="Whose annotations are taken.")] = None,
    field: Annotated[str | None, typer.Option(help="Which of several kinds of labels.")] = None,
    camera: Annotated[str | None, typer.Option(help="Which of several media of one item.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split, where there is none.")] = 0,
    allow_shared_groups: SharedGroups = False,
    background: Background = False,
) -> None:
    """A manifest from a published data set, or from the export of an annotation tool."""
    from understudy.data.grouping import Grouping
    from understudy.data.manifest import complete_splits
    from understudy.data.sources import write_manifest
    from understudy.data.sources.known import read_source

    given = {
        "limit_classes": limit_classes,
        "mapping": mapping,
        "split_number": split_number,
        "splits": splits,
        "media": media,
        "fps": fps,
        "annotator": annotator,
        "field": field,
        "camera": camera,
    }
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


@data_app.command("folds")
def data_folds(
    manifest: Annotated[str, typer.Argument(help="A manifest or a folder.")],
    out: Annotated[Path, typer.Argument(help="The manifest to write, .csv or .parquet.")],
    folds: Annotated[
        int | None, typer.Option(min=3, max=1000, help="So many, of whole groups.")
    ] = None,
    leave_one_group_out: Annotated[
        bool, typer.Option("--leave-one-group-out", help="A fold for each group.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the folds.")] = 0,
) -> None:
    """A manifest with a column fold: every clip is tested once, in the fold of its group.

    Train with them: understudy train RECIPE --set data.manifest=OUT --set data.folds=5
    """
    from understudy.data.checking import check_rows
    from understudy.data.folds import COLUMN, LEAVE_ONE_GROUP_OUT, deal_folds, each_fold
    from understudy.data.sources import read_unchecked, write_manifest

    if (folds is None) != leave_one_group_out:
        raise UserError("Give --folds K (5 is usual), or --leave-one-group-out: one fold a person.")
    table = read_unchecked(manifest, _progress(Path(manifest)))
    check_rows(table)
    dealt = deal_folds(table, LEAVE_ONE_GROUP_OUT if folds is None else folds, seed=seed)
    parts = [(one.clip_counts(), one.group_counts()) for one in each_fold(dealt, seed=seed)]
    write_manifest(dealt, out)
    print_(str(out), f"{len(dealt)} clips, {len(dealt.classes)} classes, {len(parts)} folds",
           "  clips of groups:")  # fmt: skip
    if COLUMN in table.extras:
        print_("  the folds that the table named are replaced")
    if table.splits != ("",):
        print_("  training by folds does not look at the splits that the table names")
    for number, (clips, groups) in enumerate(parts, start=1):
        told = [f"{split} {clips[split]} of {groups[split]}" for split in clips]
        print_(f"  fold {number}: {', '.join(told)}")
    for note in dealt.notes:
        print_(f"  {note}")


@data_app.command("sources")
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


data_app.command("check")(data_check)


@data_app.command("stage")
def data_stage(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    clips: Annotated[int, typer.Option(help="Number of clips.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    size: Annotated[int, typer.Option(help="Pixels of the shorter side.")] = 96,
) -> None:
    """Film procedural actors: the embedded data set, made on this machine."""
    from understudy.data.sources import read_manifest
    from understudy.data.stage import film_stage

    film_stage(out, clips=clips, seed=seed, size=size)
    describe_manifest(read_manifest(out / "manifest.csv"), out / "manifest.csv")


def _progress(table: Path) -> Callable[[str], None] | None:
    from understudy.data.sources.table import about_rows

    return say if about_rows(table) >= LARGE else None


def describe_manifest(manifest: Any, out: Path | None) -> None:
    if out is not None:
        print_(str(out))
    print_(f"{len(manifest)} clips, {len(manifest.classes)} classes")
    clips_of, groups_of = manifest.clip_counts(), manifest.group_counts()
    for split, counts in manifest.counts().items():
        few, many = min(counts.values()), max(counts.values())
        spread = f"{few} a class" if few == many else f"{few} to {many} a class"
        print_(f"  {split:<6}{clips_of[split]:>6} clips ({spread}), {groups_of[split]} groups")
        absent = [label for label, number in counts.items() if not number]
        if absent:
            named = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" * (len(absent) > 10))
            print_(f"        {split} has no clip of: {named}")
    for note in manifest.notes:
        print_(f"  {note}")
    if manifest.ignored:
        first = manifest.ignored[0]
        print_(f"  {len(manifest.ignored)} files are no media and were left out, e.g. "
               f"{first if first.isprintable() else ascii(first)}")  # fmt: skip
