"""Steps of training by several processes against one process with several threads, as a Markdown table.

    python benchmarks/processes.py
    python benchmarks/processes.py --processes 1 2 4 --batches 8 32 128 512

Each row trains the same flow with the same batch, which all processes share, on random images: by one process with all
threads, by N processes that average their gradients, and by N processes that do not know of one another, each with its
share of the batch. The last column, the share of the time together that N separate processes do not need, is the cost
of communication. Each process has an equal share of the threads. Numbers are medians of the times of steps in
milliseconds, of the slowest process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from statistics import median

import torch

import mera
from mera.train.callbacks import Callback, Metrics
from mera.train.loop import Loop

SKIPPED = 5
"""The first steps, which set up memory and connections."""


class Clock(Callback):
    """The times of all steps, in seconds."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step(self, loop: Loop, metrics: Metrics) -> None:
        """Note the end of a step."""
        self.ends.append(time.monotonic())


def work(model: str, batch: int, steps: int) -> None:
    """Train, and print the median time of a step in milliseconds."""
    torch.manual_seed(0)
    flow, clock = mera.build(model), Clock()
    images = torch.randint(0, 256, (1024, 3, 32, 32), dtype=torch.uint8)
    mera.train.fit(flow, images, steps=steps, batch_size=batch, eval_every=10**6, eval_images=8, callbacks=[clock])
    times = [after - before for before, after in zip(clock.ends[SKIPPED:], clock.ends[SKIPPED + 1 :], strict=False)]
    print(f"step {1e3 * median(times):.2f}", flush=True)


def measure(options: argparse.Namespace, processes: int, batch: int, together: bool) -> float:
    """The median time of a step, by so many processes at once, which train one flow together or one each."""
    share = max(1, (os.cpu_count() or 1) // processes)
    environment = os.environ | {"OMP_NUM_THREADS": str(share)}
    arguments = ["--worker", "--model", options.model, "--steps", str(options.steps)]
    if together:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        commands = [[*command, __file__, *arguments, "--batches", str(batch)]]
    else:
        commands = [[sys.executable, __file__, *arguments, "--batches", str(batch // processes)]] * processes
    started = [subprocess.Popen(c, env=environment, stdout=subprocess.PIPE, text=True) for c in commands]
    printed = "".join(process.communicate()[0] for process in started)
    times = [float(line.split()[1]) for line in printed.splitlines() if line.startswith("step ")]
    if len(times) != processes:
        raise RuntimeError(f"Expected the times of {processes} processes; got {len(times)}")
    return max(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="rgflow")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps <= SKIPPED + 1:
        parser.error(f"Expected more than {SKIPPED + 1} steps; got {options.steps}")
    if options.worker:
        work(options.model, options.batches[0], options.steps)
        return
    weights = sum(p.numel() for p in mera.build(options.model).parameters())
    print(f"torch {torch.__version__}, {os.cpu_count()} cores; {options.model}, {4e-6 * weights:.2f} MB of gradients\n")
    print("| batch | one process | processes | together | apart | communication |\n|---|---|---|---|---|---|")
    for batch in options.batches:
        alone = measure(options, 1, batch, False)
        for n in options.processes:
            together, apart = (measure(options, n, batch, joined) for joined in (True, False))
            cells = [batch, f"{alone:.1f}", n, f"{together:.1f}", f"{apart:.1f}", f"{1 - apart / together:.0%}"]
            print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    main()
