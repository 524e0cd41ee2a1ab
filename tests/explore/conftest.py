"""An explorer that a process of its own serves."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch

import mera


@contextmanager
def served(*arguments, first=""):
    """The address of an explorer that a process of its own serves, after it has run `first`."""
    program = f"import mera.explore.studio as studio\n{first}\nfrom mera.cli import main\nmain()"
    command = [sys.executable, "-c", program, "explore", *map(str, arguments), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env=os.environ | {"PYTHONUNBUFFERED": "1"})  # fmt: skip
    try:
        line = next((line for line in process.stdout if "exploring" in line), "")
        yield re.search(r"http://\S+", line).group()
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert "Traceback" not in output, output


@pytest.fixture(scope="package")
def address(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("explore") / "small.safetensors"
    mera.save(mera.build("rgflow", L=8, m=4, channels=3, hidden=(6,)), path)
    with served(path) as found:
        yield found
