"""The command line: `mera`, or `python -m mera`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run a command. What a user can mend is one line on standard error and exit status 1, without a traceback."""
    from mera._utils.allocator import tune_allocator
    from mera.cli import commands, cones, demo, inpaint, train  # noqa: F401, each adds its commands
    from mera.cli.common import app

    tune_allocator()
    try:
        app()
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
