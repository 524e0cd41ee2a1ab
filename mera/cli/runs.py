"""Commands that compare runs: evaluate them, and list what a folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from mera import data
from mera._utils.table import table
from mera.cli.common import Device, Root, app, choose_device, configured, configured_flow, console, rebuild_error
from mera.flow import Flow
from mera.graph.summary import count_parameters
from mera.train import RunFolder
from mera.train.batches import example_contexts
from mera.train.evaluate import mean_loss
from mera.train.kinds import FIELDS, IMAGES, OwnLoss, kind_of

__all__ = ["evaluate", "runs"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object for each run, in place of a table.")]

UNITS: dict[str, str] = {kind.metric: kind.unit for kind in (IMAGES, FIELDS, OwnLoss)}
"""The unit of each metric, by the end of its name."""


@app.command()
def evaluate(
    run: Annotated[list[Path], typer.Argument(help="Folder of a run; several are compared in one table.")],
    images: Annotated[int | None, typer.Option(min=1, help="Number of test images; all if left out.")] = None,
    root: Root = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Evaluate runs on their test examples: the loss per variable, and the largest error of inverting the flow."""
    results = [_evaluate(RunFolder(path), images, root, choose_device(device)) for path in run]
    if as_json:
        console.print(json.dumps(results))
        return
    rows = [_formatted(result) for result in results]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if len(rows) == 1:
        console.print(table(["what", "value"], list(rows[0].items())[1:]))
    else:
        console.print(table(columns, [[row.get(name, "") for name in columns] for row in rows]))


def _evaluate(run: RunFolder, n: int | None, root: Path | None, device: torch.device) -> dict[str, Any]:
    """The figures of one run, by name."""
    flow = run.flow().to(device)
    test = configured(run, root)[0].test
    kind = kind_of(test[0])
    return {
        "run": str(run.path),
        f"test {kind.name}": len(test) if n is None else min(n, len(test)),
        kind.unit: mean_loss(flow, test, n),
        "largest error of x -> z -> x": _rebuild_error(flow, test),
        "parameters": count_parameters(flow),
    }


def _rebuild_error(flow: Flow, examples: data.Examples) -> float:
    """`rebuild_error` of the first 100 examples."""
    values, contexts = data.first(examples, 100).to(flow.device), example_contexts(flow, examples)
    return rebuild_error(flow, values, None if contexts is None else contexts[: len(values)].to(flow.device))


def _formatted(result: dict[str, Any]) -> dict[str, str]:
    """Figures as a table shows them."""
    return {
        name: (f"{value:.2e}" if name.startswith("largest") else f"{value:.4f}")
        if isinstance(value, float)
        else (f"{value:,}" if isinstance(value, int) else value)
        for name, value in result.items()
    }


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="A folder with runs in it, at any depth.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the runs in a folder: model, data, steps, training time, best test loss and parameters."""
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder with runs; got {folder}")
    every = [RunFolder(path.parent) for path in sorted(folder.rglob("config.json"))]
    found = [
        _listed(run, folder) for run in every if "settings" in run.config()
    ]  # other programs have a config.json too
    if as_json:
        console.print(json.dumps(found))
        return
    if not found:
        raise FileNotFoundError(f"Expected a folder with runs; {folder} holds none")
    console.print(table(list(found[0]), [["-" if cell is None else cell for cell in run.values()] for run in found]))


def _listed(run: RunFolder, folder: Path) -> dict[str, Any]:
    """What a list says of one run; None where the run does not say it."""
    config, metrics = run.config(), run.metrics()
    tests = [(line[f"test_{name}"], unit) for line in metrics for name, unit in UNITS.items() if f"test_{name}" in line]
    best, unit = min(tests, default=(None, None))
    try:
        parameters = count_parameters(configured_flow(run))
    except ValueError:
        parameters = None  # the configuration does not say how the flow was built
    return {
        "run": str(run.path.relative_to(folder)),
        "model": config.get("model", "own layout" if "layout" in config else None),
        "data": config.get("data", {}).get("name"),
        "steps": metrics[-1]["step"] if metrics else 0,
        "minutes": round(metrics[-1]["seconds"] / 60, 1) if metrics and "seconds" in metrics[-1] else None,
        "best test": None if best is None else round(best, 4),
        "unit": unit,
        "parameters": parameters,
    }
