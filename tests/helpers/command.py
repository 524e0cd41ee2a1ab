"""The command line, called as a function."""

from typer.testing import CliRunner

from mera.cli import commands, cones, demo, inpaint, train  # noqa: F401, each adds its commands
from mera.cli.common import app

SMALL = ["--L", "8", "--layers", "1", "--hidden", "6"]


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def plain(result):
    return " ".join(result.output.replace("│", " ").split())
