"""What surrounds the forward and backward pass in a training step: a Markdown table.

    python benchmarks/step.py
    python benchmarks/step.py --flows rgflow realnvp --optimizers Muon AdamW --batch 32

Each row trains a flow on random images, and subtracts the median time of a pass from the median time of a step:
what is left is the next batch, clipping, the optimiser and the callbacks. Numbers are medians in milliseconds.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from torch import Tensor

import mera
from mera.train import Callback
from mera.train.loop import Loop, Metrics

SKIPPED = 8
"""The first steps, which set up memory."""


class Clock(Callback):
    """The seconds of each step and of its pass."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.passes: list[float] = []

    def on_start(self, loop: Loop) -> None:
        """Time the passes of the loop."""
        run = loop._backward

        def timed(batch: tuple[Tensor, ...]) -> Tensor:
            start = time.perf_counter()
            loss = run(batch)
            self.passes.append(time.perf_counter() - start)
            return loss

        loop._backward = timed  # type: ignore[method-assign]

    def on_step(self, loop: Loop, metrics: Metrics) -> None:
        """Note the end of a step."""
        self.ends.append(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", nargs="+", default=["rgflow", "realnvp"])
    parser.add_argument("--optimizers", nargs="+", default=["Muon", "AdamW"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    images = torch.randint(0, 256, (1024, 3, 32, 32), dtype=torch.uint8)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {options.batch}; medians, ms\n")
    print("| flow | optimiser | step | pass | around | share of the pass |\n|---|---|---|---|---|---|")
    for name in options.flows:
        for optimizer in options.optimizers:
            torch.manual_seed(0)
            flow, clock = mera.build(name), Clock()
            mera.train.fit(
                flow, images, steps=options.steps, batch_size=options.batch, optimizer=optimizer, compile=False,
                eval_every=10**6, eval_images=8, callbacks=[clock],
            )  # fmt: skip
            steps = [after - before for before, after in zip(clock.ends, clock.ends[1:], strict=False)][SKIPPED:]
            step, whole = 1e3 * median(steps), 1e3 * median(clock.passes[SKIPPED + 1 :])
            cells = [name, optimizer, f"{step:.1f}", f"{whole:.1f}", f"{step - whole:.1f}", f"{step / whole - 1:.1%}"]
            print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
