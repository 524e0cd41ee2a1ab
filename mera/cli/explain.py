"""The command `mera explain`: prints tables about what runs have learnt."""

from __future__ import annotations

import math
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
from mera._utils.table import Numbers, Table, with_error
from mera.analysis.receptive import extents_by_level
from mera.cli.common import (
    Class,
    Device,
    Lattice,
    Root,
    Seed,
    choose_device,
    class_indices,
    select_class,
    set_threads,
)
from mera.cli.lazy import sources
from mera.cli.output import Json, console, show, show_json
from mera.cli.sources import LEARNT_HELP, known_examples, load_flow, samples_of
from mera.flow.flow import Flow

TABLES: dict[str, tuple[str, Callable[[Flow, torch.Tensor, Any], Numbers]]] = {
    "bits": (
        "bits per dimension of each level, without the preprocessing",
        lambda flow, images, factors: _parts(flow, images).table,
    ),
    "latents": (
        "latents of images, compared with the prior",
        lambda flow, images, factors: analysis.statistics(flow, images).table,
    ),
    "fields": (
        "extents of receptive fields: pixels of the cone, participation ratio, root mean square radius",
        lambda flow, images, factors: extents_by_level(flow),
    ),
    "strengths": (
        "strengths of receptive fields: Euclidean norms, geometric means over samples",
        lambda flow, images, factors: analysis.strengths(flow, 1024).table,
    ),
    "factors": (
        "known factors that each level predicts: R^2 or balanced accuracy on other images, and of shuffled factors",
        lambda flow, images, factors: analysis.factors(flow, images, factors).table,
    ),
    "mixing": (
        "mixing: weights in the factors of image A, which gives level h and coarser levels, and of image B",
        lambda flow, images, factors: analysis.mixing(flow, images, factors).table,
    ),
}
"""By name, the title of a table, and a function of a flow, images and their factors that makes it."""
NEED_FACTORS = ("factors", "mixing")
BATCH = 100


def command(
    run: Annotated[
        list[Path], typer.Argument(autocompletion=sources, help=f"{LEARNT_HELP} Of several, means and standard errors.")
    ],
    images: Annotated[int, typer.Option(min=60, help="Number of test images.")] = 2000,
    only: Annotated[str, typer.Option(help="The tables to make.", metavar="NAME[,NAME...]")] = ",".join(TABLES),
    seed: Seed = 0,
    label: Class = None,
    L: Lattice = None,
    root: Root = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Print tables about runs: bits, latents, receptive fields and known factors by level, and effects of mixing."""
    names = [check_choice(name.strip(), TABLES, "a table") for name in only.split(",")]
    if find_spec("sklearn") is None and set(names) & set(NEED_FACTORS):
        typer.echo(
            "left out: factors and mixing, which need scikit-learn (pip install 'mera-flow[analysis]')", err=True
        )
        names = [name for name in names if name not in NEED_FACTORS]
    found: list[dict[str, Numbers]] = []
    with ProgressBar("explain", check_console(console, quiet=as_json), "table") as progress_bar:
        for path in run:
            flow, pictures, factors = _read(path, images, label, L, root, choose_device(device), seed)
            possible = [name for name in names if factors or name not in NEED_FACTORS]
            if not possible:
                raise InputError(f"data with known factors for {' and '.join(names)}", "none")
            found.append({})
            for number, name in enumerate(possible, start=1):
                with fixed_seed(seed):
                    found[-1][name] = TABLES[name][1](flow, pictures, factors)
                done = (len(found) - 1) * len(possible) + number
                progress_bar.update(done, done / (len(run) * len(possible)), f"{path.name}: {name}")
    if as_json:
        results = []
        for path, tables in zip(run, found, strict=True):
            numbers = [
                {"name": name, "rows": [row[0] for row in t.rows], "columns": list(t.header[1:]), "values": t.values}
                for name, t in tables.items()
            ]
            results.append({"run": str(path), "tables": numbers})
        show_json(results)
        return
    shapes = [[(name, table.header, len(table.rows)) for name, table in each.items()] for each in found]
    if any(shape != shapes[0] for shape in shapes):
        raise InputError(f"runs of one lattice and one data set, as {run[0]}, for means", ", ".join(map(str, run[1:])))
    for name, table in found[0].items():
        show(f"\n{TABLES[name][0]}", table if len(run) == 1 else _means([each[name] for each in found]))


def _read(
    path: Path, n: int, label: str | None, L: Any, root: Path | None, device: torch.device, seed: int
) -> tuple[Flow, torch.Tensor, dict[str, Any]]:
    """The flow of a run, `n` random test images, and their known factors."""
    flow = load_flow(path, L).to(device)
    set_threads(flow)
    if not isinstance(flow, Flow):
        raise InputError("a flow with latents", f"{type(flow).__name__} in {path}")
    flow, number = select_class(path, flow, label)
    test = known_examples(path, flow, root)
    if test is None:
        return flow, samples_of(flow, n), {}
    candidates = class_indices(test, number)
    with seeded(seed):
        indices = candidates[torch.randperm(len(candidates))[:n]]
    images = torch.stack([test[i] for i in indices.tolist()])
    return (
        flow,
        images,
        {name: value[indices] for name, value in data.factors(test).items() if number is None or name != "class"},
    )


def _parts(flow: Flow, images: torch.Tensor) -> analysis.Parts:
    """The parts of log p of images."""
    parts = [analysis.decompose(flow, flow.from_images(batch.to(flow.device))) for batch in images.split(BATCH)]
    maps = zip(*(part.maps for part in parts), strict=True)
    levels = torch.cat([part.levels for part in parts])
    return analysis.Parts(levels, {}, tuple(map(torch.cat, maps)), parts[0].variables)


def _means(tables: Sequence[Numbers]) -> Table:
    """The means of the numbers of several runs, with their standard errors."""
    first = tables[0]
    values = torch.tensor([table.values for table in tables], dtype=torch.float64).movedim(0, 2).tolist()
    cells = [[_cell(cell, first.digits) for cell in row] for row in values]
    return Table(first.header, [[row[0], *means] for row, means in zip(first.rows, cells, strict=True)])


def _cell(values: Sequence[float], digits: int) -> str:
    """The mean over several runs with its standard error."""
    numbers = [value for value in values if not math.isnan(value)]
    counted = "" if len(numbers) == len(values) else f" ({len(numbers)} of {len(values)} runs)"
    return with_error(numbers, digits) + counted if numbers else ""
