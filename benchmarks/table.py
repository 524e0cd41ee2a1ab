"""Training step, forward, inverse, sampling and peak memory, against others on the same work: one Markdown table.

    pip install -e '.[benchmarks]'
    python benchmarks/table.py                   # about ten minutes on two cores
    python benchmarks/table.py --hidden 64 --L 32

RG-Flow is the published architecture (preset "authors", its depths) of a hidden width; "published" is the published
design written down plainly (benchmarks/published.py), with the same weights; "products" are the bare matrix products
of the same shapes, which none of them can do without. Real NVP is one of equal shape in each library
(benchmarks/baselines.py). Figures are medians of runs that take turns, in milliseconds; ratios are to mera.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from baselines import BASELINES
from published import Published
from torch import Tensor, nn

import mera
from mera.graph import Apply

BATCHES = {64: 32, 128: 16, 512: 8}
"""At L=32; four times fewer images where an image is four times larger."""

Calls = dict[str, Callable[[], object]]


def training_step(log_prob: Callable[[Tensor], Tensor], x: Tensor, module: nn.Module) -> Callable[[], None]:
    def step() -> None:
        module.zero_grad()
        (-log_prob(x).mean()).backward()

    return step


def products(flow: mera.Flow, batch: int) -> list[tuple[int, int, int]]:
    """Rows, inputs and outputs of every matrix product of a forward pass of the published design."""
    shapes = []
    for step in flow.plan.steps:
        if isinstance(step.operation, Apply):
            rows = batch * step.operation.events
            for coupling in flow.bijectors[step.module].members:
                networks = coupling.networks[0].networks
                linears = [linear.weight_v.shape for linear in networks.linears]
                # two halves, each with so many networks of so many blocks
                shapes += 2 * [(rows, i, o) for blocks, n, i, o in linears for _ in range(blocks * n)]
    return shapes


def run_products(shapes: list[tuple[int, int, int]], gradient: bool) -> Callable[[], None]:
    inputs = {(n, i): torch.randn(n, i, requires_grad=gradient) for n, i, _ in shapes}
    outputs = {(n, o): torch.randn(n, o) for n, _, o in shapes}
    weights = {(i, o): torch.randn(i, o, requires_grad=gradient) for _, i, o in shapes}

    def run() -> None:
        for n, i, o in shapes:
            y = inputs[n, i] @ weights[i, o]
            if gradient:
                torch.autograd.grad(y, (inputs[n, i], weights[i, o]), outputs[n, o])

    return run


def rgflow_calls(L: int, hidden: int) -> tuple[int, dict[str, Calls]]:
    """The functions to time for one width and size, by case and contestant."""
    batch = max(1, BATCHES.get(hidden, 16) * 32**2 // L**2)
    flow = mera.build("rgflow", L=L, preset="authors", hidden=(hidden, hidden))
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            if name.endswith(".scale"):
                parameter.add_(0.02 * torch.randn_like(parameter))
    published, x, shapes = Published(flow), torch.randn(batch, 3, L, L), products(flow, batch)
    torch.testing.assert_close(flow.log_prob(x), published.log_prob(x), rtol=1e-4, atol=0.1)
    z = tuple(level.detach() for level in flow(x)[0])
    return batch, {
        "training step": {
            "mera": training_step(flow.log_prob, x, flow),
            "published": training_step(published.log_prob, x, published),
            "products": run_products(shapes, True),
        },
        "forward": {
            "mera": torch.no_grad()(lambda: flow.log_prob(x)),
            "published": torch.no_grad()(lambda: published.log_prob(x)),
            "products": torch.no_grad()(run_products(shapes, False)),
        },
        "forward, fixed weights": {
            "mera": torch.no_grad()(lambda: flow.log_prob(x)),
            "published": torch.no_grad()(lambda: published.log_prob(x)),
        },
        "inverse": {"mera": torch.no_grad()(lambda: flow.inverse(z))},
        "sampling": {"mera": lambda: flow.sample(batch)},
    }


def realnvp_calls(L: int, hidden: int) -> tuple[int, dict[str, Calls]]:
    """The same for Real NVP in each library."""
    batch = max(1, 32 * 32**2 // L**2)
    x = torch.randn(batch, 3, L, L)
    made = {name: make(L, hidden) for name, make in BASELINES.items()}
    samplers = {name: sample for name, (_, sample, _) in made.items()}
    return batch, {
        "training step": {name: training_step(f, x, module) for name, (f, _, module) in made.items()},
        "forward": {name: torch.no_grad()(lambda f=f: f(x)) for name, (f, _, _) in made.items()},
        "sampling": {name: torch.no_grad()(lambda draw=draw: draw(batch)) for name, draw in samplers.items()},
    }


def medians(calls: Calls, repeats: int) -> dict[str, float]:
    """Milliseconds of each call, the calls taking turns, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: sorted(values[1:])[repeats // 2] for name, values in times.items()}


def peak_memory(call: Callable[[], object]) -> float:
    """MiB that a call needs at its highest beyond what is held before it (Linux)."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the highest mark starts again from here
    before = _status("VmRSS")
    call()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field))


def row(what: str, batch: int, case: str, times: dict[str, float], memory: dict[str, float]) -> str:
    """A line of the table."""
    cells = []
    for name, value in times.items():
        ratio = "" if name == "mera" else f" ({value / times['mera']:.2f}x)"
        held = f", {memory[name]:,.0f} MiB" if name in memory else ""
        cells.append(f"{name} {value:,.1f}{ratio}{held}")
    return f"| {what} | {batch} | {case} | {'; '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 128, 512])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    mera.tune_allocator()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of {arguments.repeats}, ms\n")
    print("| model | batch | what | time (ratio to mera), peak memory |\n|---|---|---|---|")
    jobs = [("RG-Flow", rgflow_calls, L, hidden) for hidden in arguments.hidden for L in arguments.L]
    jobs += [("Real NVP", realnvp_calls, L, 64) for L in arguments.L]
    for name, make, L, hidden in jobs:
        batch, cases = make(L, hidden)
        for case, calls in cases.items():
            with mera.fixed_weights() if "fixed" in case else nullcontext():
                times = medians(calls, arguments.repeats)
            measured = {} if case != "training step" else calls
            memory = {key: peak_memory(call) for key, call in measured.items() if key != "products"}
            print(row(f"{name} L={L}, hidden {hidden}", batch, case, times, memory), flush=True)


if __name__ == "__main__":
    main()
