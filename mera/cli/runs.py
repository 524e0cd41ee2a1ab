"""The commands `mera runs` and `mera check`: a list of runs, and the laws of a run, a flow or a data set."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mera._utils.manifest import NAME, is_run
from mera._utils.run_records import ROW, RunRecords
from mera._utils.table import Table
from mera.cli.terminal import Json, show, show_json


def runs_command(
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


def check_command(
    subject: Annotated[
        str | None,
        typer.Argument(
            help="Folder of a run, a file that mera.save wrote, or the name of a trained flow or a data set."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the laws of a run, a flow or a data set; without an argument, show versions, devices and what is missing.

    The exit status is 1 if a law fails. A bug report should hold what `mera check` prints.
    """
    from mera.analysis.laws import check  # late: a list of runs does not wait for torch

    report = check(subject)
    if as_json:
        show_json({"ok": report.ok, "laws": [asdict(law) for law in report.laws]})
    else:
        show(report.subject, report.table(), repr(report).splitlines()[-1])
    if not report.ok:
        raise typer.Exit(1)
