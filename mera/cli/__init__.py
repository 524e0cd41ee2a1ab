"""The command line: `mera`, or `python -m mera`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments of the process name.

    An error that a user can correct is printed as one line on standard error, without a traceback, and the exit status
    is 1.
    """
    from mera._utils.allocator import tune_allocator
    from mera.cli import commands, cones, demo, inpaint, train  # noqa: F401, each module adds its commands
    from mera.cli.common import app

    tune_allocator()
    try:
        app()
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
