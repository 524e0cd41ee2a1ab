"""The console, and the output of commands as text or JSON, without torch."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

import typer
from rich.console import Console

from mera._utils.processes import is_main
from mera._utils.table import Table

console = Console(highlight=False, markup=False, soft_wrap=True, quiet=not is_main())
Json = Annotated[bool, typer.Option("--json", help="Print JSON, in place of text for people.")]


def show(*parts: Table | str) -> None:
    """Print texts and tables; a table that is wider than the terminal is printed with one line for each cell."""
    for part in parts:
        if isinstance(part, Table) and console.is_terminal:
            console.print(part.fit(console.width))
        else:
            console.print(str(part))


def show_json(value: Any) -> None:
    """Print a value as JSON."""
    show(json.dumps(plain(value)))


def plain(value: Any) -> Any:
    """Replace NaN and infinite numbers, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
