"""The console, and the output of commands as text or JSON, without torch."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from mera._utils.processes import is_main
from mera.display.table import Table

console = Console(highlight=False, markup=False, soft_wrap=True, quiet=not is_main())
Json = Annotated[bool, typer.Option("--json", help="Print JSON, in place of text for people.")]


def show(*parts: Table | str) -> None:
    """Print texts and tables; a table that is wider than the terminal is printed with one line for each cell."""
    for part in parts:
        if isinstance(part, Table) and console.is_terminal:
            console.print(part.fit(console.width))
        else:
            console.print(str(part))
