"""Full against restricted evaluation: time, blocks and memory of log p when one patch of an image changes.

    python benchmarks/restricted.py --out docs/images

prints a table and draws `restricted.png`. For each edge L, with the same weights and in one run: log p of K images
that differ in one 4 x 4 patch, once by the whole flow and once by `Flow.restrict`. Times are medians; the whole flow
takes as many images at once as have the pixels of 64 of edge 128. Memory is what each needs at its peak beside what is
held already. The last table is a 64 x 64 window of images that nobody could hold.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import mera
from mera.display.table import Table
from mera.drawing.images import save_figure
from mera.graph import Apply

PATCH = 4


def setup(L: int, K: int) -> tuple[mera.Flow, Tensor, Tensor, Tensor]:
    """A flow, an image, the mask of a patch, K fillings of it."""
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=L, m=4, channels=3, layers=2, hidden=(64,))
    for parameter in flow.parameters():  # a recording leaves out what is zero before training
        parameter.data.add_(torch.randn_like(parameter), alpha=0.02)
    mask = torch.zeros(L, L, dtype=torch.bool)
    mask[L // 2 - PATCH : L // 2, L // 2 - PATCH : L // 2] = True
    return flow, torch.randn(1, 3, L, L), mask, torch.randn(K, 3, PATCH**2)


def full(flow: mera.Flow, x: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
    """log p of the K whole images, as many at once as memory allows."""
    at_once = max(1, 64 * 128**2 // mask.numel())
    parts = []
    for part in pixels.split(at_once):
        images = x.repeat(len(part), 1, 1, 1)
        images[:, :, mask] = part
        parts.append(flow.log_prob(images))
    return torch.cat(parts)


def median(call: Callable[[], object], repeats: int, warmup: int = 1) -> float:
    """Seconds of a call."""
    times = []
    for i in range(repeats + warmup):
        start = time.perf_counter()
        call()
        if i >= warmup:
            times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


@torch.no_grad()
def measure(L: int, K: int) -> dict[str, float]:
    """Times and block counts at one edge."""
    flow, x, mask, pixels = setup(L, K)
    start = time.perf_counter()
    local = flow.restrict(x, mask)
    once = time.perf_counter() - start
    exact = full(flow, x, mask, pixels)
    error = ((local.log_prob(pixels) - exact) / exact).abs().max().item()
    slow = median(lambda: full(flow, x, mask, pixels), 3 if L * K > 8192 else 7)
    fast = median(lambda: local.log_prob(pixels), 31, warmup=5)
    memory = peak_memory(lambda: local.log_prob(pixels))
    blocks = sum(step.operation.events for step in flow.plan.steps if isinstance(step.operation, Apply))
    return {
        "L": L, "K": K, "full": slow, "restricted": fast, "once": once, "error": error,
        "full_memory": peak_memory(lambda: full(flow, x, mask, pixels)),
        "memory": memory, "blocks": blocks, "cone": sum(local.cone.blocks),
    }  # fmt: skip


def peak_memory(call: Callable[[], object]) -> float:
    """MB that a call needs beside what is held already; only Linux tells."""
    if not Path("/proc/self/clear_refs").exists():
        return float("nan")
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, so that using it again counts
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = status("VmRSS")
    call()
    return (status("VmHWM") - before) / 1e3


def status(name: str) -> float:
    """A line of this process's status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name))


@torch.no_grad()
def windows() -> list[tuple[str, str, str]]:
    """Time and memory of a 64 x 64 window of a scale-invariant flow."""
    rows = []
    for h in (10, 20, 30):
        flow = mera.build("rgflow", L=2**h, hidden=(16,), share_levels=True)
        spans = (2**h // 2 - 30, 2**h // 2 + 34), (100, 164)
        seconds = median(lambda flow=flow, spans=spans: flow.window(0, *spans), 7)
        memory = peak_memory(lambda flow=flow, spans=spans: flow.window(0, *spans))
        rows.append((f"2^{h}", f"{1e3 * seconds:.0f}", f"{memory:.1f}"))
    return rows


def draw(results: list[dict[str, float]]) -> Figure:
    """Time over L, with a + b log2 L fitted to the restricted evaluation, and L^2 through the last of the full."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for K, marker in ((1, "o"), (64, "s")):
        rows = [r for r in results if r["K"] == K]
        L = np.array([r["L"] for r in rows])
        slow, fast = (np.array([r[key] for r in rows]) for key in ("full", "restricted"))
        slope, offset = np.polyfit(np.log2(L), fast, 1)
        axes.plot(L, 1e3 * slow, marker, color="tab:orange", label=f"full, K = {K}")
        axes.plot(L, 1e3 * slow[-1] * (L / L[-1]) ** 2, "--", color="tab:orange", lw=1)
        axes.plot(L, 1e3 * fast, marker, color="tab:blue", label=f"restricted, K = {K}: "
                  f"{1e3 * offset:.1f} + {1e3 * slope:.2f} log2 L ms")  # fmt: skip
        axes.plot(L, 1e3 * (offset + slope * np.log2(L)), "--", color="tab:blue", lw=1)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set(xlabel="edge L", ylabel="log p of K candidates, ms", title="a 4 x 4 patch changes")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, nargs="+", default=[32, 64, 128, 256, 512, 1024])
    parser.add_argument("--out", type=Path, default=Path("."))
    arguments = parser.parse_args()
    mera.tune_allocator()
    results = []
    for L in arguments.edges:
        for K in (1, 64):
            results.append(measure(L, K))
            r = results[-1]
            print(f"L {L}, K {K}: {1e3 * r['full']:.1f} ms, {1e3 * r['restricted']:.2f} ms", flush=True)
    print(f"\nm = 4, 3 channels, hidden 64, float32, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    header = ["L", "K", "blocks", "in the cone", "full, ms", "restricted, ms", "ratio", "of blocks",
              "full, MB", "restricted, MB", "restrict(), ms", "relative error"]  # fmt: skip
    rows = [
        (
            r["L"], r["K"], f"{r['blocks']:,}", r["cone"], f"{1e3 * r['full']:.1f}", f"{1e3 * r['restricted']:.2f}",
            f"{r['full'] / r['restricted']:.1f}",
            f"{r['blocks'] / r['cone']:.0f}", f"{r['full_memory']:.0f}", f"{r['memory']:.1f}",
            f"{1e3 * r['once']:.0f}", f"{r['error']:.1e}",
        )
        for r in results
    ]  # fmt: skip
    print(Table(header, rows))
    save_figure(draw(results), arguments.out / "restricted.png")
    print()
    print(Table(["edge", "64 x 64 window, ms", "MB"], windows()))


if __name__ == "__main__":
    main()
