"""The command line: `mera`, or `python -m mera`."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from mera._utils.errors import InputError, with_notes

__all__ = ["import_extensions", "main"]


def import_extensions(arguments: Sequence[str]) -> list[str]:
    """Import what `--import` names, modules (in the working directory too) or files, before the commands are made.

    Models, bijectors and data that these modules register then have commands and options like those of the package.
    """
    names, others = [], []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--import" and (name := next(remaining, None)) is not None:
            names.append(name)
        elif argument.startswith("--import="):
            names.append(argument.removeprefix("--import="))
        else:
            others.append(argument)
    for name in names:
        file = Path(name) if name.endswith(".py") else None
        sys.path.insert(0, os.getcwd() if file is None else str(file.parent.absolute()))
        module = import_module(name if file is None else file.stem)
        if file is not None and Path(module.__file__ or "").resolve() != file.resolve():
            raise InputError(f"a file that is not named as another module of Python: rename it my_{file.name}", name)
    return [*(f"--import={name}" for name in names), *others]


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Show a warning as one line, without the line of code that gave it."""
    print(f"warning: {message}", file=sys.stderr)


def main() -> None:
    """Run the command that the process arguments name.

    An error that a user can correct is printed as one line on standard error, without a traceback, with exit status 1.
    """
    from mera.cli import stopping
    from mera.cli.app import STOPPABLE, app

    words = (word for before, word in pairwise(sys.argv) if before != "--import" and not word.startswith("-"))
    if next(words, None) in STOPPABLE:
        stopping.install()
    warnings.showwarning = _show_warning
    try:
        sys.argv[1:] = import_extensions(sys.argv[1:])
        app()
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        print(f"error: {with_notes(error)}", file=sys.stderr)
        sys.exit(1)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("out of memory|allocate memory", str(error)):
            raise
        print(f"error: Expected enough memory; got {str(error).splitlines()[0]}", file=sys.stderr)
        sys.exit(1)
    finally:
        stopping.last_words()
