"""The command `mera runs`: lists the runs in a folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from mera._utils.run_records import UNITS, RunRecords
from mera.cli.lazy import OPTIONS
from mera.cli.output import Json, show
from mera.display.table import Table

app = typer.Typer(**OPTIONS)


@app.command()
def _runs(
    folder: Annotated[Path, typer.Argument(help="A folder with runs in it, at any depth.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the runs in a folder: model, data, steps, training time, test loss of the weights kept, and parameters."""
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder with runs; got {folder}")
    folders = (RunRecords(path.parent) for path in sorted(folder.rglob("config.json")))
    rows = [_row(run, folder) for run in folders if _is_run(run)]
    if as_json:
        show(json.dumps(rows))
        return
    if not rows:
        raise FileNotFoundError(f"Expected a folder with runs; {folder} holds none")
    show(Table(list(rows[0]), [["-" if cell is None else cell for cell in row.values()] for row in rows]))


def _is_run(run: RunRecords) -> bool:
    """Whether a folder with a config.json is a run; other programs write files of that name too."""
    try:
        return "settings" in run.config()
    except ValueError:
        return False


def _row(run: RunRecords, folder: Path) -> dict[str, Any]:
    """The entries of one run by column, None where the run lacks them."""
    config, metrics = run.config(), run.metrics()
    kept, weights = _kept(metrics)
    name = next((name for name in UNITS if f"test_{name}" in kept), None)
    test = None if name is None else kept[f"test_{name}"]
    return {
        "run": str(run.path.relative_to(folder)),
        "model": config.get("model", "own layout" if "layout" in config else None),
        "data": config.get("action") or config.get("data", {}).get("name"),
        "steps": max(run.steps(), default=0),
        "minutes": round(metrics[-1]["seconds"] / 60, 2) if metrics and "seconds" in metrics[-1] else None,
        "test": None if test is None else round(test, 4),
        "unit": None if name is None else UNITS[name],
        "weights": weights,
        "parameters": config.get("parameters"),
    }


def _kept(metrics: list[dict[str, Any]]) -> tuple[dict[str, Any], str | None]:
    """The metrics of the weights that a run keeps, and which weights these are: the last, or those of its best step."""
    if not metrics:
        return {}, None
    validation = next((key for key in metrics[-1] if key.startswith("validation_")), None)
    if validation is None:
        return metrics[-1], "last"
    best = min(metrics, key=lambda line: line.get(validation, math.inf))
    return best, f"best, step {best['step']}"
