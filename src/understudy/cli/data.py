"""The verbs of `understudy data`: make and check manifests, film the stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.say import print_, say

data_app = typer.Typer(help="Make and check manifests: tables of clips.", no_args_is_help=True)

LARGE = 100_000
"""Rows from which a table takes so long that what is done with it is said meanwhile."""

SharedGroups = Annotated[
    bool, typer.Option("--allow-shared-groups", help="Accept groups that stand in two splits.")
]


@data_app.command("folder")
def data_folder(
    folder: Annotated[Path, typer.Argument(help="One sub-folder per class.")],
    out: Annotated[Path, typer.Argument(help="The manifest to write, .csv or .parquet.")],
    neighbours: Annotated[
        int | None, typer.Option(help="Group files by blocks of this many neighbouring numbers.")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(help="A regular expression; its first group names the group.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
) -> None:
    """A manifest from a tree of pictures, videos or frame folders."""
    from understudy.data.manifest import complete_splits
    from understudy.data.sources import write_manifest
    from understudy.data.sources.folder import from_folder

    manifest = from_folder(folder, group_by=group_by, neighbours=neighbours)
    progress = say if len(manifest) >= LARGE else None
    manifest = complete_splits(manifest, seed=seed, progress=progress)
    write_manifest(manifest, out)
    _describe_manifest(manifest, out)


@data_app.command("csv")
def data_csv(
    table: Annotated[Path, typer.Argument(help="A table with path and label, CSV or Parquet.")],
    out: Annotated[Path, typer.Argument(help="The manifest to write, .csv or .parquet.")],
    seed: Annotated[int, typer.Option(help="Seed of the split, where none is given.")] = 0,
    allow_shared_groups: SharedGroups = False,
) -> None:
    """A manifest from a table, with splits by group where it names none."""
    from understudy.data.sources import read_manifest, write_manifest

    manifest = read_manifest(
        table, seed=seed, allow_shared_groups=allow_shared_groups, progress=_progress(table)
    )
    write_manifest(manifest, out)
    _describe_manifest(manifest, out)


@data_app.command("from")
def data_from(
    source: Annotated[str, typer.Argument(help="One of: understudy data sources.")],
    place: Annotated[Path, typer.Argument(help="Its folder or file, as downloaded or exported.")],
    out: Annotated[Path, typer.Argument(help="The manifest to write, .csv or .parquet.")],
    seed: Annotated[int, typer.Option(help="Seed of the split, where there is none.")] = 0,
    allow_shared_groups: SharedGroups = False,
) -> None:
    """A manifest from a published data set, or from the export of an annotation tool."""
    from understudy.data.manifest import complete_splits
    from understudy.data.sources import write_manifest
    from understudy.data.sources.known import read_source

    manifest = read_source(source, place, {})
    progress = say if len(manifest) >= LARGE else None
    manifest = complete_splits(
        manifest, allow_shared_groups=allow_shared_groups, seed=seed, progress=progress
    )
    write_manifest(manifest, out)
    _describe_manifest(manifest, out)


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


@data_app.command("check")
def data_check(
    manifest: Annotated[str, typer.Argument(help="A manifest or a folder.")],
    allow_shared_groups: SharedGroups = False,
) -> None:
    """Read a manifest, refuse what would mislead, and count what is there."""
    from understudy.data.manifest import check_manifest
    from understudy.data.sources import read_manifest

    table = read_manifest(
        manifest, allow_shared_groups=allow_shared_groups, progress=_progress(Path(manifest))
    )
    check_manifest(table, allow_shared_groups, files=True)
    _describe_manifest(table, None)


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
    _describe_manifest(read_manifest(out / "manifest.csv"), out / "manifest.csv")


def _progress(table: Path) -> Callable[[str], None] | None:
    from understudy.data.sources.table import about_rows

    return say if about_rows(table) >= LARGE else None


def _describe_manifest(manifest: Any, out: Path | None) -> None:
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
