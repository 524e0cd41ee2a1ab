"""The command `mera doctor`: a description of this machine, and the accuracy and speed of the default flow on it."""

from __future__ import annotations

import os
import platform
import statistics
import timeit
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
import typer

from mera import __version__
from mera._utils.allocator import tune_allocator
from mera.cli.lazy import OPTIONS
from mera.cli.output import Json, show, show_json
from mera.display.table import Table
from mera.laws import check
from mera.models import build

PACKAGES = ("torch", "torchvision", "numpy", "einops", "networkx", "accelerate", "safetensors", "matplotlib", "typer")
BATCH, REPEATS = 32, 5

app = typer.Typer(**OPTIONS)


@app.command()
def _doctor(as_json: Json = False) -> None:
    """Show versions, devices and threads, and test the default flow for ten seconds, for bug reports."""
    machine, report, speed = _machine(), check(build("rgflow", L=8, m=4, channels=1).double()), _speed()
    if as_json:
        laws = {law.name: law.found for law in report.laws}
        show_json({"machine": machine, "laws": laws, "speed": speed, "is_well": report.ok})
    else:
        show(Table(["machine", ""], list(machine.items())), "")
        show(report.table(), "")
        show(Table([f"speed, {BATCH} images of 32 x 32", ""], list(speed.items())), "")
        words = (
            "All is well." if report.ok else "Expected laws that hold; got one that fails: please report this table."
        )
        show(f"{words} A bug report should hold all of the above, the command or the code, and the whole error.")
    if not report.ok:
        raise typer.Exit(1)


def _machine() -> dict[str, Any]:
    """Versions, devices and threads."""
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return {
        "mera": __version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{name: _version(name) for name in PACKAGES},
        "accelerators": ", ".join(devices) or "none",
        "processor": f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "threads of torch": torch.get_num_threads(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _speed() -> dict[str, str]:
    """Times of the default flow, and the speed of matrix products for comparison."""
    tune_allocator()
    flow = build("rgflow", L=32, m=4)
    x = torch.randn(BATCH, 3, 32, 32)

    def step() -> None:
        flow.zero_grad()
        (-flow.log_prob(x).mean()).backward()

    n = 1024
    matrix = torch.randn(n, n)
    products = _seconds(lambda: matrix @ matrix)
    return {
        "training step": f"{1e3 * _seconds(step):.0f} ms",
        "forward pass": f"{1e3 * _seconds(torch.no_grad()(lambda: flow(x))):.0f} ms",
        "matrix products": f"{2 * n**3 / products / 1e9:.0f} GFLOP/s",
    }


def _seconds(call: Callable[[], object]) -> float:
    """The median time of a call, in seconds, after one call that is not timed."""
    call()
    return statistics.median(timeit.repeat(call, number=1, repeat=REPEATS))
