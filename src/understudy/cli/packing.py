"""The verb `understudy data pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from understudy.cli.say import print_, say


def data_pack(
    manifest: Annotated[str, typer.Argument(help="A manifest or a folder.")],
    out: Annotated[Path, typer.Argument(help="A new folder, or a pack to go on with.")],
    size: Annotated[
        int, typer.Option(min=8, max=8192, help="Pixels of the shorter side; none is enlarged.")
    ] = 256,
    format_: Annotated[
        Literal["raw", "jpeg"], typer.Option("--format", help="jpeg takes a tenth of the disk.")
    ] = "raw",
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG.")] = 90,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Only the frames that a sampling of so many takes; else all."),
    ] = None,
    sampling: Annotated[
        Literal["uniform", "first", "centre"], typer.Option(help="Which, with --frames.")
    ] = "uniform",
) -> None:
    """Decode and resize once: clips that training reads without decoding (data.pack)."""
    from understudy.data.pack.making import gigabytes, make_pack
    from understudy.data.pack.shards import Settings
    from understudy.judge.subject import read_other
    from understudy.progress import Heartbeat

    table = read_other(Path(manifest))  # splits and labels are nothing to a pack
    settings = Settings(
        short_side=size,
        jpeg_quality=quality if format_ == "jpeg" else None,
        frames=frames,
        sampling=sampling if frames is not None else None,
    )
    with Heartbeat(say) as progress:
        made = make_pack(table, out, settings, track=progress.track, note=progress)
    print_(str(out))
    print_(f"{made.clips} of {len(table)} clips, {gigabytes(made.size_bytes)}; "
           f"{made.new_files} files packed now")  # fmt: skip
    for fault in made.faults[:20]:
        print_(f"  not packed: {fault.name}: {fault.reason}")
    if len(made.faults) > 20:
        print_(f"  and {len(made.faults) - 20} more: {out / 'failures.json'}")
