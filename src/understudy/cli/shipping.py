"""The verbs by which a model leaves and comes back: export, bench, push, pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.options import RunArgument
from understudy.cli.say import print_, quoted, say, say_unfinished
from understudy.errors import UserError
from understudy.progress import Heartbeat

shipping_app = typer.Typer()


@shipping_app.command()
def export(
    run: RunArgument,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[FORMAT]...", help="More formats.")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(help="Formats: onnx, litert, coreml, executorch, or all; by default onnx."),
    ] = None,
    int8: Annotated[
        str | None,
        typer.Option(metavar="auto|SCHEME", help="Quantise, where measuring says it pays."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="By default RUN/exports/FORMAT.")] = None,
    data: Annotated[str | None, typer.Option(help="Clips to check parity on.")] = None,
    checkpoint: Annotated[str, typer.Option(help="best, final or epoch_010.")] = "best",
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier export.")] = False,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also publish it: OWNER/NAME.")
    ] = None,
) -> None:
    """Write a run as files for devices, kept only if they answer as the run does.

    understudy export RUN --to onnx litert coreml executorch --int8 auto
    """
    from understudy.run import open_run
    from understudy.ship import FORMATS, ArtifactError, export_run, open_artifact
    from understudy.ship.export import outcome, plan_exports

    wanted = [name for one in [*(to or []), *(more or [])] for name in one.split(",") if name]
    if more and not to:
        raise UserError(f"Formats come after --to: understudy export {quoted(run)} --to "
                        f"{' '.join(more)}")  # fmt: skip
    if "all" in wanted:
        wanted = list(FORMATS)
    opened = open_run(run)
    say_unfinished(opened)
    publish = push_to_hub is not None
    if push_to_hub is not None:
        from understudy.ship.hub import check_name

        check_name(push_to_hub)
    # All of them first: a missing extra should not be found out after the others took minutes.
    places = plan_exports(opened, wanted or ["onnx"], out=out, overwrite=overwrite, keep=publish)
    for name, target in places:
        if publish and not overwrite and target.exists():
            artifact = open_artifact(target)
            say(f"{target} is there already and is published as it is.")
        else:
            try:
                with Heartbeat(say) as progress:
                    artifact = export_run(
                        opened,
                        name,
                        out=target,
                        manifest=data,
                        checkpoint=checkpoint,
                        overwrite=overwrite,
                        int8=int8,
                        progress=progress,
                    )
            except ArtifactError as error:
                say(f"understudy: {error}")
                raise typer.Exit(1) from error
        print_(str(artifact.path))
        for line in outcome(artifact):
            print_(f"  {line}")
        if push_to_hub is not None:
            from understudy.ship.hub import push_to_hub as push

            print_(push(artifact, push_to_hub, run=opened))


@shipping_app.command()
def bench(
    subjects: Annotated[
        list[str],
        typer.Argument(
            metavar="SUBJECT...",
            help="A run, an artifact (RUN/exports/FORMAT), or a peer by name, clip:ViT-B-32, "
            "timm:NAME, torchvision:NAME or model:NAME, with @FORMAT to export it first.",
        ),
    ],
    threads: Annotated[
        list[int] | None, typer.Option(help="Again for more; by default 1, then every core.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; fewer where it is slow.")] = 12,
    frames: Annotated[int | None, typer.Option(help="Of the clips that peers see.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side of what peers see.")] = None,
    batch: Annotated[int, typer.Option(help="Clips, or streams, at a time.")] = 1,
    memory: Annotated[
        bool, typer.Option(help="First call and peak memory, in fresh processes.")
    ] = True,
    csv: Annotated[Path | None, typer.Option(help="Also write the table here.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw accuracy against latency: .png or .svg.")
    ] = None,
    device: Annotated[str, typer.Option(hidden=True)] = "cpu",
) -> None:
    """Time runs, artifacts and peers in turns, per clip and per new frame of a stream.

    A run alone is timed beside its exports. Ratios are to the first. All of it runs on the CPU,
    where exports run too, so there is no --device.
    """
    if device != "cpu":
        raise UserError(
            f"bench has no --device {device}: it compares runs with exports and peers, and these "
            "run on the CPU here. Leave it out."
        )
    from understudy.run import refuse_other_than_file
    from understudy.ship.artifact import open_source
    from understudy.ship.bench import bench as bench_subjects
    from understudy.ship.bench import keep_rows
    from understudy.ship.bench.lineup import lineup
    from understudy.ship.bench.table import bench_lines, write_bench_csv
    from understudy.study.pareto import check_plot_path, draw_pareto, save_plot

    if plot is not None:
        check_plot_path(plot)
    if csv is not None:
        refuse_other_than_file(csv)
    with lineup(subjects, frames=frames, size=size) as named:
        for reason in named.left_out:
            say(f"Left out: {reason}")
        for subject in named.subjects:
            if subject.path is not None and subject.kind in ("run", "artifact"):
                say_unfinished(open_source(subject.path))
        with Heartbeat(say, f"timing {len(named.subjects)} in turns"):
            rows = bench_subjects(named.subjects, threads=threads or (1, None), rounds=rounds,
                                  batch=batch, memory=memory)  # fmt: skip
    print_(*bench_lines(rows))
    keep_rows(named.subjects, rows)
    if [subject.kind for subject in named.subjects] == ["run"]:
        say(f"No export runs here, so the run alone was timed: understudy export "
            f"{quoted(Path(subjects[0]))}")  # fmt: skip
    if csv is not None:
        write_bench_csv(rows, csv)
    if plot is not None:
        save_plot(draw_pareto(rows), plot)


@shipping_app.command()
def push(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|ARTIFACT", help="A run, for all of its exports, or one of them."
        ),
    ],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A name on the hub.")],
    public: Annotated[
        bool, typer.Option("--public", help="Visible to everybody, where the name is new.")
    ] = False,
) -> None:
    """Publish exports that are there already on the Hugging Face hub, with a model card."""
    from understudy.run import Run
    from understudy.ship.artifact import open_artifact, open_source
    from understudy.ship.draft import finished
    from understudy.ship.hub import check_name, push_to_hub

    check_name(name)
    opened = open_source(source)
    if isinstance(opened, Run):
        places = finished(opened.path / "exports")
        run, artifacts = (
            opened,
            [open_artifact(place) for place in places if (place / "contract.json").exists()],
        )
    else:
        run, artifacts = opened.run, [opened]
    if not artifacts:
        raise UserError(f"{source} has no export to publish. Make one: understudy export "
                        f"{quoted(source)} --to onnx")  # fmt: skip
    say_unfinished(opened)
    for artifact in artifacts:
        print_(push_to_hub(artifact, name, run=run, private=not public))


@shipping_app.command()
def pull(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="hub:OWNER/NAME, hub:OWNER/NAME/FORMAT, or a folder."),
    ],
    revision: Annotated[
        str | None, typer.Option(help="A branch, tag or commit of the hub.")
    ] = None,
) -> None:
    """Fetch a published model and check it; say where it is, what it is and how well it did."""
    from understudy.ship.artifact import open_artifact
    from understudy.ship.export import outcome
    from understudy.ship.hub import fetch_from_hub

    if name.startswith("hub:"):
        path = fetch_from_hub(name.removeprefix("hub:"), revision=revision)
    elif revision is not None:
        raise UserError("--revision belongs to a model of the hub: hub:OWNER/NAME.")
    else:
        path = Path(name)
    artifact = open_artifact(path)
    contract, latency = artifact.contract, artifact.latency
    print_(str(artifact.path))
    print_(f"  {contract['model']} of the run {contract['run']}, "
           f"{contract['parameters']:,} parameters, for {contract['runtime']}")  # fmt: skip
    print_(f"  {len(contract['classes'])} classes: {', '.join(contract['classes'])}")
    for line in outcome(artifact):
        print_(f"  {line}")
    for row in (latency or {}).get("rows", []):
        if row["kind"] == "artifact":
            print_(f"  {row['median_ms']:.1f} ms a {row['what']}, threads: {row['threads']}, "
                   f"measured on {(latency or {})['hardware']}")  # fmt: skip
    if contract["executed"]:
        print_(f"Next: understudy predict {quoted(artifact.path)} VIDEO")
