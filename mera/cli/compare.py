"""The command `mera compare`: trains several models on the same data, and writes a report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mera import data
from mera.analysis.compare import compare, contestants, score_table, write_report
from mera.cli.options import DataOptions, DataRoot, Device, Download, value
from mera.cli.sources import choose_device
from mera.cli.terminal import console, show, with_options
from mera.cli.train import settings_of, settings_options
from mera.data import load as load_data
from mera.train.likelihoods import likelihood_of


def _compare(
    models: Annotated[
        list[str], typer.Argument(help='Models, with or without options: rgflow "rgflow(prior=laplace)" realnvp.')
    ],
    data: Annotated[str, typer.Option(help=f"Data set: {', '.join(data.names())}.", rich_help_panel="Data")],
    out: Annotated[Path, typer.Option(help="Folder of the runs and of report.md.", metavar="DIR")] = Path("comparison"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each model; two or more give standard errors.")] = 1,
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
    device: Device = "auto",
    **values: Any,
) -> None:
    """Train models on the same data for the same time or steps, and write one report; the same command resumes."""
    splits = load_data(data, L, root, download, **(data_options or {}))
    settings = settings_of(values)
    candidates = contestants(models, {"L": L, "channels": splits.channels}, parameters)
    scores = []
    for score in compare(candidates, splits, settings, out, seeds, images, choose_device(device), console):
        scores.append(score)
        report = write_report(scores, splits, settings, out, shlex.join(["mera", *sys.argv[1:]]))
    if not scores:
        return
    show(score_table(scores, likelihood_of(splits.test[0]).unit))
    console.print(f"report: {report}")
    if len(scores) < seeds * len(candidates):
        console.print("interrupted and saved; the same command resumes the comparison")


compare_command = with_options(_compare, settings_options)
