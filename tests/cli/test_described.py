"""Help and completion from the description of the commands are those of the commands themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mera.cli.described import FILE

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


@pytest.fixture(scope="module")
def texts() -> dict[str, object]:
    """The description as it should be, and help texts, from a process in which no test has registered names."""
    command = [sys.executable, "-m", "tests.cli.describe", *PATHS]
    output = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "100"}).stdout
    return json.loads(output)


def test_the_file_describes_the_commands_as_they_are(texts: dict[str, object]) -> None:
    assert FILE.read_text(encoding="utf-8") == texts["description"], "run python -m tests.cli.describe"


@pytest.mark.parametrize("path", PATHS)
def test_help_is_the_same(path: str, texts: dict[str, list[str]]) -> None:
    described, real = texts[path]
    assert described == real
    assert "--help" in real


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
