"""The command `mera compare`: trains several models on the same data, and writes a report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mera.analysis.compare import compare
from mera.cli.options import DataOptions, DataRoot, Device, Download, value
from mera.cli.sources import choose_device
from mera.cli.terminal import console, show, with_options
from mera.cli.train import DATA_HELP, settings_of, settings_options
from mera.data import load as load_data


def _compare(
    models: Annotated[
        list[str],
        typer.Argument(
            help='Models, with or without options: rgflow "rgflow(prior=laplace)" realnvp; files of layouts, .toml; '
            "trained flows, which are evaluated as they are."
        ),
    ],
    data: Annotated[str, typer.Option(help=DATA_HELP, rich_help_panel="Data")],
    out: Annotated[Path, typer.Option(help="Folder of the runs and of report.md.", metavar="DIR")] = Path("comparison"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each model; several give errors over seeds.")] = 1,
    parameters: Annotated[
        int | None,
        typer.Option(min=1, help="Fit the width of hidden layers to this number of parameters.", metavar="N"),
    ] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Test examples of the score; all if left out.")] = None,
    L: Annotated[
        Any, typer.Option(parser=value, help="Edge of the lattice, or all its edges.", metavar="INT[,INT...]")
    ] = "32",
    root: DataRoot = None,
    download: Download = False,
    data_options: DataOptions = None,
    conditional: Annotated[
        bool,
        typer.Option("--conditional", help="Condition the flows on the data set's classes.", rich_help_panel="Data"),
    ] = False,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Choose the learning rate of each model by three runs of a tenth of the length, on held-out "
            "training examples.",
        ),
    ] = False,
    device: Device = "auto",
    **values: Any,
) -> None:
    """Train models on the same data for the same time or steps, and write one report; the same command resumes."""
    settings = settings_of(values, {"eval_every": None})
    found = compare(
        models, load_data(data, L, root, download, **(data_options or {})), settings, out, seeds=seeds,
        parameters=parameters, images=images, conditional=conditional, tune=tune, device=choose_device(device),
        console=console, command=shlex.join(["mera", *sys.argv[1:]]),
    )  # fmt: skip
    if found.scores:
        show(found.table, *found.legend.splitlines())
        console.print(f"report: {out / 'report.md'}, with table.csv, .json, .tex and curves.pdf")
    if not found.is_complete:
        console.print("interrupted and saved; the same command resumes the comparison")


compare_command = with_options(_compare, settings_options)
