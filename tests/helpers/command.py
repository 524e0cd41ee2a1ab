"""The command line, called as a function or in a process of its own."""

import subprocess
import sys

from typer.testing import CliRunner

from mera.cli.app import app

SMALL = ["--L", "8", "--layers", "1", "--hidden", "6"]


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def plain(result):
    return " ".join(result.output.replace("│", " ").split())


def mera_command(folder, *arguments):
    """Run the command line in a process of its own, in a folder."""
    command = [sys.executable, "-m", "mera", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)
