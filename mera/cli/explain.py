"""The command `mera explain`: prints tables about what runs have learnt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from mera import data
from mera._utils.errors import InputError
from mera._utils.random import seeded
from mera.analysis.explain import NEED_FACTORS, TABLES, Finding, explain
from mera.cli.classes import Class, given_class, of_class
from mera.cli.common import Device, Lattice, Root, choose_device
from mera.cli.completion import sources
from mera.cli.lazy import OPTIONS
from mera.cli.output import Json, console, show, show_json
from mera.cli.sources import LEARNT_HELP, known_examples, load_flow, samples_of
from mera.display.means import with_error
from mera.display.progress import ProgressBar
from mera.display.table import Table
from mera.flow import Flow

app = typer.Typer(**OPTIONS)


@app.command()
def _explain(
    run: Annotated[
        list[Path], typer.Argument(autocompletion=sources, help=f"{LEARNT_HELP} Of several, means and standard errors.")
    ],
    images: Annotated[int, typer.Option(min=60, help="Number of test images.")] = 2000,
    only: Annotated[str, typer.Option(help="The tables to make.", metavar="NAME[,NAME...]")] = ",".join(TABLES),
    samples: Annotated[int, typer.Option(min=1, help="Samples over which receptive fields are averaged.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is random.")] = 0,
    label: Class = None,
    L: Lattice = None,
    root: Root = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Print tables about runs: bits, receptive fields and known factors by level, and effects of mixing."""
    findings: list[list[Finding]] = []
    names = _possible([name.strip() for name in only.split(",")])
    total = len(run) * len(names)
    with ProgressBar("explain", console, "table") as progress_bar:
        for number, path in enumerate(run):
            tables = count(number * len(names))

            def progress(title: str, tables: Iterator[int] = tables, name: str = path.name) -> None:
                progress_bar.update(done := next(tables), done / total, f"{name}: {title}")

            options = {"samples": samples, "seed": seed, "only": names, "progress": progress}
            if len(run) == 1 and not as_json:
                options["show"] = _show
            findings.append(_findings(path, images, label, L, root, choose_device(device), **options))
        progress_bar.update(total, 1.0)
    if as_json:
        pairs = zip(run, findings, strict=True)
        show_json([{"run": str(path), "tables": list(map(_plain, tables))} for path, tables in pairs])
        return
    if len(run) == 1:
        return
    _check_same(run, findings)
    for table in zip(*findings, strict=True):
        _show(*table)


def _show(*findings: Finding) -> None:
    """Print a table of one run, or of means over runs."""
    show(f"\n{findings[0].title}", _table(findings), findings[0].note)


def _possible(names: list[str]) -> list[str]:
    """The tables without those that need a package that is not installed, which a line names."""
    if find_spec("sklearn") is not None or set(names) <= set(NEED_FACTORS):
        return names
    if skipped := [name for name in names if name in NEED_FACTORS]:
        command = "pip install 'mera-flow[analysis]'"
        typer.echo(f"left out: {' and '.join(skipped)}, which need scikit-learn ({command})", err=True)
    return [name for name in names if name not in NEED_FACTORS]


def _check_same(runs: Sequence[Path], findings: Sequence[Sequence[Finding]]) -> None:
    """Refuse to average over runs whose tables have different titles, rows or columns."""
    first = [(table.title, table.rows, table.columns) for table in findings[0]]
    for path, tables in zip(runs, findings, strict=True):
        if [(table.title, table.rows, table.columns) for table in tables] != first:
            raise InputError(f"runs of one lattice and one data set, as {runs[0]}, for means", str(path))


def _findings(
    path: Path, n: int, label: str | None, L: Any, root: Path | None, device: torch.device, **options: Any
) -> list[Finding]:
    """The tables of one run, on `n` random test images; `options` are those of `mera.analysis.explain.explain`."""
    flow = load_flow(path, L).to(device)
    if not isinstance(flow, Flow):
        raise InputError("a flow with latents", f"{type(flow).__name__} in {path}")
    flow, number = given_class(path, flow, label)
    test = known_examples(path, flow, root)
    if test is None:
        return explain(flow, samples_of(flow, n), {}, **options)
    candidates = of_class(test, number)
    with seeded(options["seed"]):
        indices = candidates[torch.randperm(len(candidates))[:n]]
    images = torch.stack([test[i] for i in indices.tolist()])
    factors = {name: value[indices] for name, value in data.factors(test).items() if number is None or name != "class"}
    return explain(flow, images, factors, **options)


def _table(findings: Sequence[Finding]) -> Table:
    """A table of one run, or of means over runs, with one finding for each run."""
    first, *_ = findings
    values = torch.stack([finding.values for finding in findings], dim=2)
    cells = [[_cell(cell.tolist(), first.digits) for cell in row] for row in values]
    return Table(["", *first.columns], [[name, *row] for name, row in zip(first.rows, cells, strict=True)])


def _cell(values: Sequence[float], digits: int) -> str:
    """A number of one run, or the mean over several runs with its standard error."""
    numbers = [value for value in values if not math.isnan(value)]
    counted = "" if len(numbers) == len(values) else f" ({len(numbers)} of {len(values)} runs)"
    return with_error(numbers, digits) + counted if numbers else ""


def _plain(finding: Finding) -> dict[str, Any]:
    """A table as numbers and lists."""
    return asdict(finding) | {"values": finding.values.tolist()}
