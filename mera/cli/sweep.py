"""The command `mera sweep`: learns and measures an action at many values of parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from mera._utils.files import make_folder
from mera.cli.declared_options import assignments
from mera.cli.lazy import OPTIONS
from mera.cli.measure import app as measure_app
from mera.cli.output import console, show
from mera.cli.train import app as train_app
from mera.display.progress import ProgressBar
from mera.sweep import Grid, Point, values_of, write_report
from mera.sweep.cluster import submit
from mera.sweep.point import flags_of

app = typer.Typer(**OPTIONS)


@app.command()
def _sweep(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(help="A model; or a file .toml with model, action, over, seeds, train and measure.")
    ],
    action: Annotated[
        str | None, typer.Option(help="The action to learn and measure.", metavar="NAME[(NAME=VALUE, ...)]")
    ] = None,
    over: Annotated[
        list[str],
        typer.Option(
            help="A parameter of the action or an option of mera train, and its values. May be repeated.",
            metavar="NAME=START:END:NUMBER|V,V...",
        ),
    ] = [],  # noqa: B006, typer wants a list
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each combination of values.")] = 1,
    train: Annotated[
        Any, typer.Option(parser=assignments, help="Options of mera train.", metavar="NAME=VALUE ...")
    ] = None,
    measure: Annotated[
        Any, typer.Option(parser=assignments, help="Options of mera measure.", metavar="NAME=VALUE ...")
    ] = None,
    draw: Annotated[
        str | None, typer.Option(help="The quantities of the table and the picture.", metavar="NAME[,NAME...]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs, results.csv and results.png.", metavar="DIR")] = Path(
        "sweep"
    ),
    slurm: Annotated[
        Any,
        typer.Option(
            parser=assignments,
            help="Submit the points as jobs of Slurm, with options of submitit: slurm_partition=gpu timeout_min=60. A "
            "job that comes to its time limit saves, and is queued again.",
            metavar="NAME=VALUE ...",
        ),
    ] = None,
) -> None:
    """Learn and measure an action at many values of parameters: one table, results.csv and one picture.

    The same command goes on after an interruption. With --slurm, run it again when the submitted jobs have ended.
    """
    if what.endswith(".toml"):
        if action is not None or over or train or measure or seeds != 1:
            raise typer.BadParameter("Expected either a file, or a model with --action and --over; got both")
        grid = Grid.read(Path(what))
    else:
        if action is None or not over:
            raise typer.BadParameter("Expected both --action and --over beside a model")
        pairs = [text.split("=", 1) for text in over]
        if any(len(pair) != 2 for pair in pairs):
            raise typer.BadParameter(f"Expected --over NAME=VALUES; got {', '.join(over)}")
        grid = Grid(what, action, {name: values_of(text) for name, text in pairs}, seeds, train or {}, measure or {})
    _check_options(grid)
    make_folder(out)
    imports = context.find_root().params.get("modules") or ()
    points = [replace(point, imports=tuple(imports)) for point in grid.points(out.resolve())]
    remaining = [point for point in points if not point.is_done]
    console.print(f"{len(points)} points, of which {len(points) - len(remaining)} are done: {out / 'points'}")
    if slurm is not None and remaining:
        jobs = submit(remaining, out / "jobs", "slurm", slurm)
        console.print(f"submitted {len(jobs)} jobs; run the same command again when they have ended, for the table")
        return
    failed = _run(remaining)
    for point in failed:
        lines = [line.strip("│ ") for line in (point.folder / "log.txt").read_text().splitlines()]
        reason = next((line for line in reversed(lines) if any(sign.isalpha() for sign in line)), "no output")
        console.print(f"{point.folder.name} failed: {reason}")
    table = write_report(points, out, [] if draw is None else draw.split(","))
    show(str(table))
    console.print(f"results: {out / 'results.csv'}, {out / 'results.png'}")
    if failed:
        raise typer.Exit(1)


def _check_options(grid: Grid) -> None:
    """Refuse options that `mera train` or `mera measure` do not have, before anything runs."""
    (point, *_), group = grid.points(Path()), typer.main.get_command(train_app)
    _, train, _ = group.resolve_command(typer.Context(group), [grid.model])  # type: ignore[attr-defined]
    measure = typer.main.get_command(measure_app)
    for name, command, options in (("train", train, point.train), ("measure", measure, point.measure)):
        known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        if unknown := [flag for flag in flags_of(options) if flag.startswith("--") and flag not in known]:
            raise typer.BadParameter(f"Expected options of mera {name}; got {', '.join(unknown)}")


def _run(points: list[Point]) -> list[Point]:
    """Run points one after the other; return those that failed."""
    failed = []
    with ProgressBar("sweep", console, "point") as progress_bar:
        for i, point in enumerate(points):
            progress_bar.update(i, i / len(points), point.folder.name)
            if point():
                failed.append(point)
        progress_bar.update(len(points), 1.0)
    return failed
