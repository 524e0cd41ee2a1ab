"""Times and peaks of memory against other checkouts, other libraries and bare matrix products: one Markdown table.

    pip install -e '.[benchmarks]'
    python benchmarks/speed.py                                   # all, about ten minutes on two cores
    git worktree add ../before HEAD~1
    python benchmarks/speed.py ../before --work rgflow           # work whose names contain a text
    python benchmarks/speed.py --device cuda

Each contestant runs in a process of its own, and the processes take turns, one call at a time. Times are medians in
milliseconds after two calls that do not count; memory is what the second call needs at its highest beyond what is held
before it, in MiB (Linux, CUDA). Ratios are to mera.

"products" are the bare matrix products of the same shapes. "published" is the published design of RG-Flow written down
plainly (published.py), with the same weights. Libraries have a Real NVP of equal shape (baselines.py). "whole" is the
log p of whole images beside a restriction to 4 x 4 pixels of them, or of an image in memory beside a stream.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent.parent
Call = Callable[[], object]
FLOWS: dict[str, tuple[str, dict[str, Any], int]] = {
    "rgflow": ("rgflow", {"L": 32}, 32),
    "rgflow, splines": ("rgflow", {"L": 16, "channels": 1, "transform": "spline", "hidden": (64,)}, 64),
    "rgflow, details": ("rgflow", {"L": 32, "details": 2}, 32),
    "realnvp": ("realnvp", {"L": 32}, 32),
    "glow": ("glow", {"L": 32}, 32),
    "published RG-Flow, width 64": ("rgflow", {"L": 32, "preset": "authors", "hidden": (64, 64)}, 32),
    "published RG-Flow, width 512": ("rgflow", {"L": 32, "preset": "authors", "hidden": (512, 512)}, 8),
}
"""Model, options and batch by name."""
MODELS = ("glow", "realnvp", "wavelet", "tree", "ternary", "tebd", "branching", "neuralrg", "decimation")
"""Models at their defaults, whose training steps are compared with that of rgflow; `ternary` has an edge of 27."""
LIBRARIES = ("FrEIA", "nflows", "normflows")
SIDE = 4


def works() -> Iterator[tuple[str, dict[str, Callable[[str], Call]]]]:
    """The name of each work, and by contestant a function that prepares it on a device."""
    for name in FLOWS:
        others: dict[str, Any] = {}
        if name == "rgflow":
            others = {"compiled": {"compiled": True}, "checkpoint": {"checkpoint": True}}
        if not name.startswith(("realnvp", "glow")):
            others["products"] = {"kind": "products"}
        if name.startswith("published"):
            others["published"] = {"kind": "published"}
        for case in ("training step", "forward", "inverse"):
            used = {} if case == "inverse" else others
            yield (
                f"{name}, {case}",
                {who: partial(prepared, name, case, **options) for who, options in ({"mera": {}} | used).items()},
            )
    yield "models, L=32, training step", {who: partial(model, who) for who in ("mera", *MODELS)}
    for case in ("training step", "forward"):
        yield f"Real NVP of libraries, {case}", {who: partial(library, who, case) for who in ("mera", *LIBRARIES)}
    for L, K, details in ((128, 64, 0), (256, 1, 0), (256, 64, 0), (256, 64, 2)):
        yield (
            f"restriction, L={L}, {K} settings{', details' if details else ''}",
            {
                "mera": partial(restricted, L, K, details=details),
                "whole": partial(restricted, L, K, details=details, whole=True),
            },
        )
    yield "stream, 1,024 x 1,024", {"mera": partial(streamed, 1024), "whole": partial(streamed, 1024, whole=True)}
    yield "window of 64 x 64 at an edge of 2^20", {"mera": window}


def disturbed(flow: Any, device: str) -> Any:
    """A flow with noise on its parameters, since many begin as the identity."""
    import torch

    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return flow.to(device)


def step_of(log_prob: Callable[[Any], Any], module: Any, x: Any) -> Call:
    def step() -> None:
        module.zero_grad()
        (-log_prob(x).mean()).backward()

    return step


def prepared(
    name: str, case: str, device: str, kind: str = "mera", compiled: bool = False, checkpoint: bool = False
) -> Call:
    """A pass, or a training step, of a flow; or its bare products, or the published design."""
    import torch

    import mera

    model, options, batch = FLOWS[name]
    torch.manual_seed(0)
    flow = disturbed(mera.build(model, **options), device)
    x = torch.randn(batch, *flow.plan.input.event_shape, device=device)
    if kind == "products":
        return products_of(lambda: flow.log_prob(x), backward=case == "training step")
    if kind == "published":
        from published import Published

        flow = Published(flow)
    if checkpoint:
        flow.checkpoint = True
    log_prob = torch.compile(flow.log_prob) if compiled else flow.log_prob
    if case == "training step":
        return step_of(log_prob, flow, x)
    if case == "forward":
        return torch.no_grad()(lambda: log_prob(x))
    with torch.no_grad():
        z = flow(x)[0]
    return torch.no_grad()(lambda: flow.inverse(z))


def model(name: str, device: str) -> Call:
    """A training step of a model at its defaults, with batches of 32."""
    import torch

    import mera

    torch.manual_seed(0)
    L = 27 if name == "ternary" else 32
    flow = disturbed(mera.build("rgflow" if name == "mera" else name, L=L, channels=3), device)
    return step_of(flow.log_prob, flow, torch.randn(32, 3, L, L, device=device))


def library(name: str, case: str, device: str) -> Call:
    """A pass, or a training step, of a Real NVP of a library."""
    import torch
    from baselines import BASELINES

    torch.manual_seed(0)
    log_prob, _, module = BASELINES[name](32, 48)
    module, x = module.to(device), torch.randn(32, 3, 32, 32, device=device)
    return step_of(log_prob, module, x) if case == "training step" else torch.no_grad()(lambda: log_prob(x))


def restricted(L: int, K: int, device: str, details: int = 0, whole: bool = False) -> Call:
    """log p of K images that differ in a few pixels, by a restriction or of whole images."""
    import torch

    import mera

    torch.manual_seed(0)
    options: dict[str, Any] = {"details": details} if details else {"layers": 2, "hidden": (64,)}
    flow = disturbed(mera.build("rgflow", L=L, **options), device)
    x, first = torch.randn(1, 3, L, L, device=device), L // 2 - SIDE
    if whole:
        images = x.expand(min(K, max(1, 64 * 128**2 // L**2)), -1, -1, -1).contiguous()
        return torch.no_grad()(lambda: [flow.log_prob(images) for _ in range(K // len(images))])
    local = flow.restrict(x, ((first, first + SIDE), (first, first + SIDE)))
    pixels = torch.randn(K, 3, SIDE**2, device=device)
    with torch.no_grad():
        for _ in range(5):  # the pass is recorded after the first calls
            local.log_prob(pixels)
    return torch.no_grad()(lambda: local.log_prob(pixels))


def streamed(edge: int, device: str, whole: bool = False) -> Call:
    """log p of a large image tile by tile, or at once."""
    import torch

    import mera

    torch.manual_seed(0)
    flow = disturbed(mera.build("rgflow", L=32).resized((edge, edge)), device)
    image = torch.randint(0, 256, (3, edge, edge), dtype=torch.uint8)
    if whole:
        return torch.no_grad()(lambda: flow.bits_per_dim(image[None].to(device)))
    return lambda: flow.stream(image.numpy())


def window(device: str) -> Call:
    """A window of a sample that nobody could hold."""
    import torch

    import mera

    torch.manual_seed(0)
    flow = disturbed(mera.build("rgflow", L=2**20, levels=18, hidden=(64,), share_levels=True), device)
    return lambda: flow.window(0, (2**19, 2**19 + 64), (2**19, 2**19 + 64))


def products_of(forward: Call, backward: bool) -> Call:
    """The bare matrix products of a forward pass, and of the backward pass behind it, of shapes that are recorded."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    shapes: list[tuple[Any, Any]] = []

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.overloadpacket.__name__ in ("addmm", "mm", "bmm"):
                shapes.append(tuple((t.shape, t.device) for t in args[-2:]))
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Record():
        forward()
    made = {key: torch.randn(key[0], device=key[1]) for pair in shapes for key in pair}

    def run() -> None:
        for a, b in ((made[first], made[second]) for first, second in shapes):
            y = a @ b
            if backward:
                y @ b.mT
                a.mT @ y

    return torch.no_grad()(run)


def serve(device: str) -> None:
    """Prepare and run what is asked for on standard input, and print milliseconds and MiB."""
    import torch

    import mera

    mera.tune_allocator()
    by_name, last, call = dict(works()), None, None
    for line in sys.stdin:
        asked = json.loads(line)
        memory = None
        if asked != last:
            last, call = asked, by_name[asked[0]][asked[1]](device)
            memory = peak(call, device)
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.accelerator.synchronize()
        print(json.dumps([1e3 * (time.perf_counter() - start), memory]), flush=True)


def peak(call: Call, device: str) -> float:
    """MiB that a call needs at its highest beyond what is held before it; NaN where nobody counts."""
    import torch

    call()  # imports what only the first call needs
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if not Path("/proc/self/clear_refs").exists():
        call()
        return float("nan")
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark starts again from here
    before = status("VmRSS")
    call()
    return (status("VmHWM") - before) / 1024


def status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


class Contestant:
    """A process that runs one contestant of a work."""

    def __init__(self, checkout: Path, work: str, name: str, device: str) -> None:
        command = [sys.executable, __file__, "--serve", str(checkout), "--device", device]
        self.asked = json.dumps([work, name]) + "\n"
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self) -> tuple[float, float | None]:
        """Milliseconds of a call, and MiB of the first one; NaN if the contestant cannot do it."""
        try:
            self.process.stdin.write(self.asked)  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
            return tuple(json.loads(self.process.stdout.readline()))  # type: ignore[union-attr]
        except (BrokenPipeError, ValueError):
            return float("nan"), None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path, help="folders of other versions")
    parser.add_argument("--work", default="", help="a text in the names of what is timed")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        sys.path.insert(0, str(arguments.serve))
        return serve(arguments.device)
    print("| work | contestants: ms (ratio to mera), MiB |\n|---|---|")
    for work, makers in works():
        if arguments.work not in work:
            continue
        names = {name: Contestant(HERE, work, name, arguments.device) for name in makers}
        names |= {str(path): Contestant(path.resolve(), work, "mera", arguments.device) for path in arguments.checkouts}
        rounds = [[each.call() for each in names.values()] for _ in range(arguments.repeats + 1)]
        for each in names.values():
            each.process.kill()
        first = median(found[0][0] for found in rounds[1:])
        cells = []
        for i, name in enumerate(names):
            ms, memory = median(found[i][0] for found in rounds[1:]), rounds[0][i][1]
            held = "" if memory is None or memory != memory else f", {memory:,.0f} MiB"
            cells.append(f"{name} {ms:,.1f}{f' ({ms / first:.2f}x)' if i else ''}{held}")
        print(f"| {work} | {'; '.join(cells)} |", flush=True)
    return None


if __name__ == "__main__":
    main()
