"""The command `mera runs`: lists the runs in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mera._utils.manifest import NAME
from mera._utils.run_records import ROW, RunRecords, is_run
from mera._utils.table import Table
from mera.cli.output import Json, show, show_json


def command(
    folder: Annotated[Path, typer.Argument(help="A folder with runs in it, at any depth.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the runs in a folder: model, data, steps, training time, test loss of the weights kept, and parameters."""
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder with runs; got {folder}")
    folders = (path.parent for path in sorted(folder.rglob(NAME)))
    rows = [{"run": str(path.relative_to(folder))} | _row(RunRecords(path)) for path in folders if is_run(path)]
    if as_json:
        show_json(rows)
        return
    if not rows:
        raise FileNotFoundError(f"Expected a folder with runs; {folder} holds none")
    show(Table(list(rows[0]), [["-" if cell is None else cell for cell in row.values()] for row in rows]))


def _row(run: RunRecords) -> dict[str, Any]:
    """The row of a run. If a file is damaged, the model is "damaged", and the error is printed."""
    try:
        return run.row()
    except ValueError as error:
        typer.echo(str(error), err=True)
        return dict.fromkeys(ROW) | {"model": "damaged"}
