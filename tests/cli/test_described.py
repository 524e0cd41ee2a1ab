"""Help and completion from the description of the commands are those of the commands themselves."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mera.cli.app import real_application
from mera.cli.described import FILE, described
from tests.cli.describe import text

PATHS = ["info", "train", "train rgflow", "explore glow", "measure", "compare", "runs", "inpaint", "figures", "sweep"]
PROGRAM = """
import sys
sys.argv = ["mera"]
from mera.cli.app import app
try:
    app(prog_name="mera")
finally:
    print("torch" in sys.modules)
"""


def test_the_file_describes_the_commands_as_they_are() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run python -m tests.cli.describe"


@pytest.mark.parametrize("path", PATHS)
def test_help_is_the_same(path: str) -> None:
    name, *rest = path.split()
    runner = CliRunner()
    shown = [
        runner.invoke(app, [*rest, "--help"], prog_name="mera", env={"COLUMNS": "100"}).output
        for app in (described(name), real_application(name))
    ]
    assert shown[0] == shown[1]
    assert "--help" in shown[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train --da", "--data"),
        ("train rgflow --data msd", "msds1"),
        ("train rgflow --bij", "--bijector"),
        ("sample msd", "msds2"),
        ("in", "inpaint"),
    ],
)
def test_completion_does_not_import_torch(words: str, expected: str) -> None:
    environment = os.environ | {
        "_MERA_COMPLETE": "complete_bash", "COMP_WORDS": f"mera {words}", "COMP_CWORD": str(len(words.split()))
    }  # fmt: skip
    output = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True).stdout
    assert expected in output.split()
    assert output.endswith("False\n")
