"""This checkout against others on the same work, in one run: one Markdown table.

    git worktree add ../before HEAD~1
    python benchmarks/versions.py ../before              # about five minutes on two cores
    python benchmarks/versions.py ../before --work "rgflow, training step"

Each version runs in a process of its own, and the processes take turns, one call at a time. Figures are medians in
milliseconds; ratios are to this checkout. "products" are the bare matrix products in the forward pass, and in the
backward pass of a training step, of shapes that are recorded from this checkout.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent

MODELS: dict[str, tuple[str, dict[str, Any], int]] = {
    "rgflow": ("rgflow", {"L": 32, "m": 4}, 32),
    "rgflow, batch 4": ("rgflow", {"L": 32, "m": 4}, 4),
    "rgflow, splines": (
        "rgflow",
        {"L": 16, "m": 4, "channels": 1, "transform": "spline", "layers": 2, "hidden": (64,)},
        64,
    ),
    "rgflow, published, 64": ("rgflow", {"L": 32, "preset": "authors", "hidden": (64, 64)}, 32),
    "rgflow, published, 512": ("rgflow", {"L": 32, "preset": "authors", "hidden": (512, 512)}, 8),
    "realnvp": ("realnvp", {"L": 32}, 32),
    "glow": ("glow", {"L": 32}, 32),
    "rgflow, L=128": ("rgflow", {"L": 128, "m": 4, "layers": 2, "hidden": (64, 64), "residual_blocks": 2}, 64),
}
"""Model, options and batch by name."""
CASES = ("training step", "forward", "inverse")


def workloads() -> dict[str, Callable[[], Callable[[], object]]]:
    """From the name of a workload to a function that prepares it, in a process that has imported its version."""
    named: dict[str, Callable[[], Callable[[], object]]] = {}
    for model in MODELS:
        for case in CASES if "L=128" not in model else CASES[1:]:
            named[f"{model}, {case}"] = lambda model=model, case=case: prepared(model, case)
    for places in (1, 64):
        named[f"restricted, L=256, {places} images"] = lambda places=places: restricted(places)
    return named


def prepared(model: str, case: str) -> Callable[[], object]:
    """A pass, or a training step, of a flow with random weights."""
    import torch

    import mera

    name, options, batch = MODELS[model]
    torch.manual_seed(0)
    flow = mera.build(name, **options)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    x = torch.randn(batch, *flow.plan.input.event_shape)
    if case == "training step":

        def step() -> None:
            flow.zero_grad()
            (-flow.log_prob(x).mean()).backward()

        return step
    z = tuple(level.detach() for level in flow(x)[0])
    return torch.no_grad()((lambda: flow(x)) if case == "forward" else (lambda: flow.inverse(z)))


def restricted(places: int) -> Callable[[], object]:
    """log p of images that differ in one 4 x 4 patch, by restricted evaluation."""
    import torch

    import mera

    torch.manual_seed(0)
    flow = mera.build("rgflow", L=256, m=4, layers=2, hidden=(64,))
    mask = torch.zeros(256, 256, dtype=torch.bool)
    mask[124:128, 124:128] = True
    pixels = torch.randn(places, 3, 16)
    with torch.no_grad():
        local = flow.restrict(torch.randn(1, 3, 256, 256), mask)
        for _ in range(5):
            local.log_prob(pixels)
    return torch.no_grad()(lambda: local.log_prob(pixels))


def recorded_products(forward: Callable[[], object], device: str = "cpu", backward: bool = False) -> Callable[[], None]:
    """The bare matrix products of a forward pass, and of the backward pass behind it.

    Args:
        forward: runs the pass; the shapes of its products are recorded.
        device: where the products run.
        backward: whether those of a backward pass are run too.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    shapes: list[tuple[int, int, int]] = []

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.overloadpacket.__name__ in ("addmm", "mm"):
                a, b = args[-2:]
                shapes.append((a.shape[0], a.shape[1], b.shape[1]))
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Record():
        forward()
    inputs = {(n, i): torch.randn(n, i, device=device) for n, i, _ in shapes}
    outputs = {(n, o): torch.randn(n, o, device=device) for n, _, o in shapes}
    weights = {(i, o): torch.randn(o, i, device=device).t() for _, i, o in shapes}

    def run() -> None:
        for n, i, o in shapes:
            inputs[n, i] @ weights[i, o]
            if backward:
                outputs[n, o] @ weights[i, o].t()
                inputs[n, i].t() @ outputs[n, o]

    return torch.no_grad()(run)


def products(work: str) -> Callable[[], object] | None:
    """The bare matrix products of a workload; None where most of the work is in convolutions or batched products."""
    if work.startswith(("realnvp", "glow", "restricted", "rgflow, published")):
        return None
    forward = workloads()[work.replace("training step", "forward")]()
    return recorded_products(forward, backward="training" in work)


def serve() -> None:
    """Run what is asked for on standard input, a name a line, and print the milliseconds."""
    import mera

    if hasattr(mera, "tune_allocator"):
        mera.tune_allocator()
    prepared_name, call = None, None
    for line in sys.stdin:
        name = json.loads(line)
        if name != prepared_name:
            work = name.removeprefix("products of ")
            call = (products(work) if work != name else workloads()[name]()) or (lambda: None)
            prepared_name = name
            call()
        start = time.perf_counter()
        call()
        print(json.dumps(1e3 * (time.perf_counter() - start)), flush=True)


class Version:
    """A process that times one version.

    Args:
        checkout: the folder of the version.
    """

    def __init__(self, checkout: Path) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--serve", str(checkout)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def time(self, name: str) -> float:
        """Milliseconds of one call."""
        try:
            self.process.stdin.write(json.dumps(name) + "\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:  # the version stopped at a workload that it does not have
            return float("nan")
        answer = self.process.stdout.readline()  # type: ignore[union-attr]
        return json.loads(answer) if answer else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path, help="folders of other versions")
    parser.add_argument("--work", nargs="+", default=list(workloads()), choices=list(workloads()))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        sys.path.insert(0, str(arguments.serve))
        return serve()
    versions = {"here": Version(HERE), **{str(path): Version(path.resolve()) for path in arguments.checkouts}}
    bare = Version(HERE)
    print("| work | " + " | ".join([*versions, "products"]) + " |")
    print("|---" * (len(versions) + 2) + "|")
    for work in arguments.work:
        contestants = [(version, work) for version in versions.values()] + [(bare, f"products of {work}")]
        rounds = [[version.time(name) for version, name in contestants] for _ in range(arguments.repeats)]
        medians = [sorted(times)[len(times) // 2] for times in zip(*rounds, strict=True)]
        cells = [f"{ms:.1f} ({ms / medians[0]:.2f}x)" if ms > 0.05 else "" for ms in medians]
        print(f"| {work} | {' | '.join([f'{medians[0]:.1f}', *cells[1:]])} |", flush=True)
    return None


if __name__ == "__main__":
    main()
