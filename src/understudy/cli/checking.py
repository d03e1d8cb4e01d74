"""The verb `understudy data check`: every finding listed, exit code 1 where something must be
mended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.options import Json
from understudy.cli.say import print_, print_json, say
from understudy.errors import UserError

SHOWN = 5
"""Findings of a kind that are named in a terminal; JSON and the page have all of them."""


def data_check(
    manifest: Annotated[str, typer.Argument(help="A manifest or a folder.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="An HTML page with pictures of what was found. Beside it, STEM.state.jsonl "
            "remembers what was seen: a check that was stopped goes on there."
        ),
    ] = None,
    write_clean: Annotated[
        Path | None, typer.Option(help="A new manifest without the rows that must go.")
    ] = None,
    drop: Annotated[
        Path | None,
        typer.Option(
            help="With --write-clean: a text file of the rows to leave out instead, a path "
            "a line, as the page gives it."
        ),
    ] = None,
    media: Annotated[
        bool, typer.Option("--media/--table-only", help="Whether every file is decoded.")
    ] = True,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Frames of the clips in the page.")
    ] = True,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE|NAME=FILE",
            help="A frozen backbone of timm, which names "
            "labels that may be wrong and proposes more pairs to compare.",
        ),
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Of the pixels its weights were trained on: 0.5,0.5,0.5")
    ] = None,
    std: Annotated[str | None, typer.Option(help="The same.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split, where none is given.")] = 0,
    allow_shared_groups: Annotated[
        bool, typer.Option("--allow-shared-groups", help="Accept groups that stand in two splits.")
    ] = False,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds without a new frame until a file is given up.")
    ] = 60,
    processes: Annotated[
        int | None, typer.Option(min=1, help="By default one for each core.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Open every clip and tell what is wrong with a data set.

    Exit code: 0, 1 where something must be mended, 2 where the table cannot be read.
    """
    from understudy.data.check.findings import must_mend
    from understudy.data.check.rows import listed, to_drop, without
    from understudy.data.check.verdict import as_content
    from understudy.data.sources import write_manifest
    from understudy.progress import Heartbeat
    from understudy.study.check import Backbone, check

    _refuse_places(out, write_clean, drop)
    model = Backbone(backbone, _three(mean), _three(std)) if backbone else None
    with Heartbeat(say, f"reading {manifest}") as beat:

        def first(table: Any) -> None:
            if not as_json:
                from understudy.cli.data_options import describe_manifest

                describe_manifest(table, None)

        try:
            found = check(manifest, media=media, state=_state_of(out), backbone=model, seed=seed,
                          allow_shared_groups=allow_shared_groups, patience_s=patience,
                          processes=processes, track=beat.track, counted=first)  # fmt: skip
            if out is not None:
                from understudy.study.check_page import write_check_page

                write_check_page(found, manifest, out, pictures=pictures, track=beat.track)
        except KeyboardInterrupt:
            goes_on = " The same call goes on where it stopped." if out else ""
            say(f"\nStopped.{goes_on}")
            raise typer.Exit(130) from None
    if as_json:
        print_json(as_content(found))
    else:
        _tell(found)
        if out is not None:
            print_(str(out))
    if write_clean is not None:
        rows = listed(found.manifest, drop) if drop else to_drop(found.findings)
        write_manifest(without(found.manifest, rows), write_clean)
        say(f"{write_clean}: {len(found.manifest) - len(rows)} rows, {len(rows)} left out")
    raise typer.Exit(int(must_mend(found.findings)))


def _three(text: str | None) -> tuple[float, ...] | None:
    """Numbers of the channels, as 0.5,0.5,0.5."""
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise UserError(f"{text!r} is not three numbers, as in --mean 0.5,0.5,0.5.")
    return numbers


def _state_of(out: Path | None) -> Path | None:
    return None if out is None else out.with_name(f"{out.stem}.state.jsonl")


def _refuse_places(out: Path | None, write_clean: Path | None, drop: Path | None) -> None:
    """Before anything is decoded."""
    if out is not None and out.suffix != ".html":
        raise UserError(f"--out {out}: the page is HTML; give it a name that ends with .html.")
    if write_clean is not None and write_clean.suffix not in {".csv", ".parquet"}:
        raise UserError(f"--write-clean {write_clean}: a manifest is written as .csv or .parquet.")
    if drop is not None and write_clean is None:
        raise UserError("--drop goes with --write-clean: name the manifest to write.")
    if write_clean is not None and write_clean.exists():
        raise UserError(f"{write_clean} is there already. Give --write-clean another name.")


def _tell(found: Any) -> None:
    from understudy.data.check.findings import KINDS, by_kind, must_mend

    for kind, some in by_kind(found.findings).items():
        about = KINDS[kind]
        sign = {"mend": "mend", "look": "look at", "note": "note"}[about.level]
        print_(f"{sign}: {about.title}: {len(some)}")
        for one in some[:SHOWN]:
            beside = f" = {one.beside}" if one.beside else ""
            print_(f"    {one.path}{beside}{': ' if one.path else ''}{one.reason}")
        if len(some) > SHOWN:
            print_(f"    and {len(some) - SHOWN} more")
        print_(f"    -> {about.remedy}")
    for line in found.unchecked:
        print_(f"not checked: {line}")
    if not must_mend(found.findings):
        print_("Nothing must be mended.")
