"""What the verbs that make manifests share: their options, where they write, what they tell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.say import print_
from understudy.errors import UserError

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
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there.")]


def check_out(out: Path, source: Path, overwrite: bool) -> None:
    """Refuse to write over what is read, and over any other table unasked. Raises UserError."""
    if out.exists() and source.exists() and out.samefile(source):
        raise UserError(f"{out} is what is read. Give the manifest another name.")
    if not overwrite and out.is_file():
        raise UserError(f"{out} is there already. Give another name, or --overwrite.")


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
