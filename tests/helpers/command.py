"""The command line, called as a function or in a process of its own."""

import os
import subprocess
import sys

from typer.testing import CliRunner

from mera.cli.app import app

SMALL = ["--L", "8", "--layers", "1", "--hidden", "6"]


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def succeed(*arguments):
    """The result of a command that ends without an error."""
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def plain(result):
    return " ".join(result.output.replace("│", " ").split())


def mera_command(folder, *arguments, columns=80):
    """Run the command line in a process of its own, in a folder, for a terminal of so many columns."""
    command = [sys.executable, "-m", "mera", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": str(columns)}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
