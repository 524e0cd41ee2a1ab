"""The command `mera check`: the laws of a run, a flow or a data set, or versions and devices."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mera.analysis.laws import check
from mera.cli.output import Json, show, show_json


def command(
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
    report = check(subject)
    if as_json:
        show_json({"ok": report.ok, "laws": [asdict(law) for law in report.laws]})
    else:
        show(report.subject, report.table(), repr(report).splitlines()[-1])
    if not report.ok:
        raise typer.Exit(1)
