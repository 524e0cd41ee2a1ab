"""The command `mera explain`: tables about what runs have learnt."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from mera import analysis, data
from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera._utils.progress import ProgressBar, check_console
from mera._utils.random import fixed_seed, seeded
from mera._utils.table import Numbers, Table, plus_minus
from mera.analysis.latents import own_space
from mera.cli.options import Class, Device, Lattice, Root, Seed
from mera.cli.sources import (
    Runs,
    class_indices,
    examples_of,
    load_flow,
    select_class,
    set_threads,
)
from mera.cli.terminal import Json, console, show, show_json
from mera.flow.flow import Flow

FACTORS = "factors"
"""The table that needs scikit-learn, and data with known factors."""
WITHOUT_IMAGES = "strengths"
"""The table that needs no images."""
TABLES: dict[str, tuple[str, Callable[[Flow, Any, Any], Numbers]]] = {
    "bits": (
        "bits per dimension of each level, without the preprocessing",
        lambda flow, images, factors: _parts(flow, images).table,
    ),
    "latents": (
        "latents of images, compared with the prior",
        lambda flow, images, factors: analysis.statistics(flow, images).table,
    ),
    WITHOUT_IMAGES: (
        "strengths of receptive fields: Euclidean norms, geometric means over samples",
        lambda flow, images, factors: analysis.strengths(flow, 1024).table,
    ),
    FACTORS: (
        "known factors that each level predicts: R^2 or balanced accuracy on other images, and of shuffled factors",
        lambda flow, images, factors: analysis.factors(flow, images, factors).table,
    ),
}
"""By name, the title of a table, and a function of a flow, images and their factors that makes it."""
BATCH = 100


def explain_command(
    runs: Runs,
    images: Annotated[int, typer.Option(min=60, help="Number of test images.")] = 2000,
    only: Annotated[str, typer.Option(help="The tables to make.", metavar="NAME[,NAME...]")] = ",".join(TABLES),
    seed: Seed = 0,
    label: Class = None,
    L: Lattice = None,
    root: Root = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Print tables about runs: bits, latents, strengths and known factors by level.

    Of several runs, means and standard errors are printed. All tables but that of strengths need the run's test images.
    """
    names = [check_choice(name.strip(), TABLES, "a table") for name in only.split(",")]
    if find_spec("sklearn") is None and FACTORS in names:
        typer.echo("left out: factors, which need scikit-learn (pip install 'mera-flow[analysis]')", err=True)
        names.remove(FACTORS)
    needs_images = set(names) != {WITHOUT_IMAGES}
    if root is not None and not needs_images:
        raise typer.BadParameter(f"--root is the folder of test images, which the table {WITHOUT_IMAGES} does not need")
    all_tables: list[dict[str, Numbers]] = []
    with ProgressBar("explain", check_console(console, quiet=as_json), "table") as progress_bar:
        for path in runs:
            flow, number = _load(path, label, L, device)
            pictures, factors = _images(path, flow, number, images, root, seed) if needs_images else (None, {})
            possible = [name for name in names if factors or name != FACTORS]
            if not possible:
                raise InputError(f"data with known factors for the table {FACTORS}", "none")
            all_tables.append({})
            for count, name in enumerate(possible, start=1):
                with fixed_seed(seed):
                    all_tables[-1][name] = TABLES[name][1](flow, pictures, factors)
                done = (len(all_tables) - 1) * len(possible) + count
                progress_bar.update(done, done / (len(runs) * len(possible)), f"{path.name}: {name}")
    if as_json:
        results = []
        for path, tables in zip(runs, all_tables, strict=True):
            numbers = [
                {"name": name, "rows": [row[0] for row in t.rows], "columns": list(t.header[1:]), "values": t.values}
                for name, t in tables.items()
            ]
            results.append({"run": str(path), "tables": numbers})
        show_json(results)
        return
    shapes = [[(name, table.header, len(table.rows)) for name, table in tables.items()] for tables in all_tables]
    if any(shape != shapes[0] for shape in shapes):
        others = ", ".join(map(str, runs[1:]))
        raise InputError(f"runs of one lattice and one data set, as {runs[0]}, for means", others)
    for name, table in all_tables[0].items():
        show(f"\n{TABLES[name][0]}", table if len(runs) == 1 else _means([tables[name] for tables in all_tables]))


def _load(path: Path, label: str | None, L: Any, device: str) -> tuple[Flow, int | None]:
    """The flow of a run, and the number of its class."""
    flow = load_flow(path, device, L)
    set_threads(flow)
    if not isinstance(flow, Flow):
        raise InputError("a flow with latents", f"{type(flow).__name__} in {path}")
    return select_class(path, flow, label)


def _images(
    path: Path, flow: Flow, number: int | None, n: int, root: Path | None, seed: int
) -> tuple[torch.Tensor, dict[str, Any]]:
    """At most `n` random test images of a run, of a class if its number is not None, and their known factors."""
    test = examples_of(path, flow, root)
    candidates = class_indices(test, number)
    with seeded(seed):
        indices = candidates[torch.randperm(len(candidates))[:n]]
    images = torch.stack([test[i] for i in indices.tolist()])
    factors = {name: value[indices] for name, value in data.factors(test).items() if number is None or name != "class"}
    return images, factors


def _parts(flow: Flow, images: torch.Tensor) -> analysis.Parts:
    """The parts of log p of images."""
    parts = [analysis.decompose(flow, own_space(flow, batch)) for batch in images.split(BATCH)]
    maps = zip(*(part.maps for part in parts), strict=True)
    levels = torch.cat([part.levels for part in parts])
    return analysis.Parts(levels, {}, tuple(map(torch.cat, maps)), parts[0].variables)


def _means(tables: Sequence[Numbers]) -> Table:
    """The means of the numbers of several runs, with their standard errors."""
    first = tables[0]
    values = torch.tensor([table.values for table in tables], dtype=torch.float64).movedim(0, 2).tolist()
    rows: list[list[object]] = []
    for row, cells in zip(first.rows, values, strict=True):
        rows.append([row[0]])
        for cell in cells:
            numbers = [value for value in cell if not math.isnan(value)]
            counted = "" if len(numbers) == len(cell) else f" ({len(numbers)} of {len(cell)} runs)"
            error = statistics.stdev(numbers) / math.sqrt(len(numbers)) if len(numbers) > 1 else math.nan
            rows[-1].append(plus_minus(statistics.fmean(numbers), error, first.digits) + counted if numbers else "")
    return Table(first.header, rows)
