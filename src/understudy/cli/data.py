"""The verbs of `understudy data`: make and check manifests, film the stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.checking import data_check
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
from understudy.cli.packing import data_pack
from understudy.cli.say import print_, say
from understudy.cli.sources import data_from, data_sources
from understudy.errors import UserError

data_app = typer.Typer(help="Make and check manifests: tables of clips.", no_args_is_help=True)


@data_app.command("folder")
def data_folder(
    folder: Annotated[Path, typer.Argument(help="One sub-folder per class.")],
    out: Annotated[Path, typer.Argument(help="The manifest to write, .csv or .parquet.")],
    group_column: GroupColumn = None,
    group_level: GroupLevel = None,
    group_by: GroupBy = None,
    neighbours: Neighbours = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """A manifest from a tree of pictures, videos or frame folders."""
    from understudy.data.grouping import Grouping
    from understudy.data.manifest import complete_splits
    from understudy.data.sources import write_manifest
    from understudy.data.sources.folder import from_folder

    check_out(out, folder, overwrite)
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
    column: Annotated[
        list[str] | None,
        typer.Option(help="What a column is: start_ms=begin, group=who; group= for none."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """A manifest from a table, with splits by group where it names none."""
    from understudy.data.grouping import Grouping
    from understudy.data.sources import read_manifest, write_manifest

    check_out(out, table, overwrite)
    manifest = read_manifest(
        table,
        seed=seed,
        allow_shared_groups=allow_shared_groups,
        background=background,
        columns=_columns(column or []),
        grouping=Grouping(group_column, group_level, group_by, neighbours),
        progress=_progress(table),
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
    table = read_unchecked(manifest, progress=_progress(Path(manifest)))
    check_rows(table)
    dealt = deal_folds(table, LEAVE_ONE_GROUP_OUT if folds is None else folds, seed=seed)
    parts = [(one.clip_counts(), one.group_counts()) for one in each_fold(dealt, seed=seed)]
    write_manifest(dealt, out)
    print_(str(out), f"{len(dealt)} clips, {len(dealt.classes)} classes, {len(parts)} folds",
           "  clips, and of how many groups (people):")  # fmt: skip
    if COLUMN in table.extras:
        print_("  the folds that the table named are replaced")
    if table.splits != ("",):
        print_("  training by folds does not look at the splits that the table names")
    for number, (clips, groups) in enumerate(parts, start=1):
        told = [f"{split} {clips[split]} of {groups[split]}" for split in clips]
        print_(f"  fold {number}: {', '.join(told)}")
    for note in dealt.notes:
        print_(f"  {note}")


data_app.command("from")(data_from)
data_app.command("sources")(data_sources)
data_app.command("check")(data_check)
data_app.command("pack")(data_pack)


@data_app.command("stage")
def data_stage(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    clips: Annotated[int, typer.Option(help="Number of clips.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    size: Annotated[int, typer.Option(help="Pixels of the shorter side.")] = 96,
    two_actions: Annotated[
        float,
        typer.Option(help="Share of the clips that show two actions, one after the other."),
    ] = 0.0,
) -> None:
    """Film procedural actors: the embedded data set, made on this machine."""
    from understudy.data.sources import read_manifest
    from understudy.data.stage import film_stage

    film_stage(out, clips=clips, seed=seed, size=size, two_actions=two_actions)
    describe_manifest(read_manifest(out / "manifest.csv"), out / "manifest.csv")


def _columns(given: list[str]) -> dict[str, str]:
    """What each column is, from MEANING=NAME. Raises UserError."""
    from understudy.errors import UserError

    pairs = [one.partition("=") for one in given]
    for meaning, equals, _ in pairs:
        if not equals:
            raise UserError(f"--column {meaning}: give MEANING=NAME, for example start_ms=begin.")
    meanings = [meaning.strip() for meaning, *_ in pairs]
    twice = next((one for one in meanings if meanings.count(one) > 1), None)
    if twice is not None:
        raise UserError(f"--column says twice what {twice} is. Give one.")
    return {meaning: name.strip() for meaning, (*_, name) in zip(meanings, pairs, strict=True)}


def _progress(table: Path) -> Callable[[str], None] | None:
    from understudy.data.sources.table import about_rows

    return say if about_rows(table) >= LARGE else None
