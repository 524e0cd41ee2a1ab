"""The command `mera runs`: lists the runs in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mera._utils.run_records import FACTS, RunRecords
from mera._utils.table import Table
from mera.cli.output import Json, show, show_json


def command(
    folder: Annotated[Path, typer.Argument(help="A folder with runs in it, at any depth.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the runs in a folder: model, data, steps, training time, test loss of the weights kept, and parameters."""
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder with runs; got {folder}")
    folders = (RunRecords(path.parent) for path in sorted(folder.rglob("config.json")))
    rows = [{"run": str(run.path.relative_to(folder))} | _facts(run) for run in folders if _is_run(run)]
    if as_json:
        show_json(rows)
        return
    if not rows:
        raise FileNotFoundError(f"Expected a folder with runs; {folder} holds none")
    show(Table(list(rows[0]), [["-" if cell is None else cell for cell in row.values()] for row in rows]))


def _facts(run: RunRecords) -> dict[str, Any]:
    """The facts of a run. If a file is damaged, the model is "damaged", and the error is printed."""
    try:
        return run.facts()
    except ValueError as error:
        typer.echo(str(error), err=True)
        return dict.fromkeys(FACTS) | {"model": "damaged"}


def _is_run(run: RunRecords) -> bool:
    """Whether a folder with a config.json is a run; other programs write files of that name too."""
    try:
        return "settings" in run.config()
    except ValueError:
        return False
