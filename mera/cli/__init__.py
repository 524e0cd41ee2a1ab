"""The command line: `mera`, or `python -m mera`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise

from mera._utils.errors import UNKNOWN_NAME, InputError

__all__ = ["import_modules", "main"]


def import_modules(arguments: Sequence[str]) -> None:
    """Import the modules that `--import` names, so that what they register has commands and options of its own.

    Args:
        arguments: the arguments of the command line; modules are found in the working directory too.

    Raises:
        ImportError: if a module cannot be imported.
    """
    names = [following for flag, following in pairwise(arguments) if flag == "--import"]
    names += [argument.removeprefix("--import=") for argument in arguments if argument.startswith("--import=")]
    if names:
        sys.path.insert(0, os.getcwd())
    for name in names:
        import_module(name.removesuffix(".py"))


def main() -> None:
    """Run the command that the arguments of the process name.

    An error that a user can correct is printed as one line on standard error, without a traceback, and the exit status
    is 1.
    """
    from mera.cli.app import app

    try:
        import_modules(sys.argv[1:])
        app()
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        is_unknown = isinstance(error, InputError) and error.kind == UNKNOWN_NAME
        hint = " (mera --import MODULE ... registers further names)" if is_unknown else ""
        print(f"error: {error}{hint}", file=sys.stderr)
        sys.exit(1)
