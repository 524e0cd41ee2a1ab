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
from torch import Tensor

from mera import __version__
from mera._utils.allocator import tune_allocator
from mera._utils.random import seeded
from mera.bijectors.laws import jacobian_error, largest, with_noise_on_parameters
from mera.cli.lazy import OPTIONS
from mera.cli.output import Json, show, show_json
from mera.display.table import Table
from mera.models import build

PACKAGES = ("torch", "torchvision", "numpy", "einops", "networkx", "accelerate", "safetensors", "matplotlib", "typer")
TOLERANCE = 1e-9
"""The largest error of a law in double precision."""
BATCH, REPEATS = 32, 5

app = typer.Typer(**OPTIONS)


@app.command()
def _doctor(as_json: Json = False) -> None:
    """Show versions, devices and threads, and test the default flow for ten seconds, for bug reports."""
    machine, laws, speed = _machine(), _laws(), _speed()
    is_well = all(error < TOLERANCE for error in laws.values())
    if as_json:
        show_json({"machine": machine, "laws": laws, "speed": speed, "is_well": is_well})
    else:
        show(Table(["machine", ""], list(machine.items())), "")
        show(Table(["law, of the default flow", "error"], [[name, f"{error:.0e}"] for name, error in laws.items()]), "")
        show(Table([f"speed, {BATCH} images of 32 x 32", ""], list(speed.items())), "")
        words = "All is well." if is_well else f"Expected errors below {TOLERANCE:g}: please report this table."
        show(f"{words} A bug report should hold all of the above, the command or the code, and the whole error.")
    if not is_well:
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


def _laws() -> dict[str, float]:
    """Errors of the laws of a flow, for the default model with random weights in double precision."""
    with seeded(0):
        flow = with_noise_on_parameters(build("rgflow", L=8, m=4, channels=1).double())
        x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    z, log_det = flow(x)
    back, log_det_back = flow.inverse(z)

    def flat(values: Tensor) -> Tensor:
        return torch.cat([level.flatten() for level in flow(values)[0]])

    return {
        "x -> z -> x": largest(back - x),
        "log-det of the two directions": largest(log_det + log_det_back),
        "log-det and the Jacobian": jacobian_error(flat, x, log_det),
    }


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
