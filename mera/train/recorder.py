"""What a run leaves behind as it goes: metrics, curves, sample grids."""

from __future__ import annotations

import math
from typing import Any

from mera.flow import Flow
from mera.pictures import save_grid
from mera.random import fixed_seed
from mera.train.run import RunFolder

__all__ = ["Recorder"]

SMOOTH = 0.98
SAMPLES = 64


class Recorder:
    """Writes to a run folder; without one it only keeps the running mean of the loss.

    Args:
        run: the folder, or None.
    """

    def __init__(self, run: RunFolder | None) -> None:
        self.run = run
        self.smooth_bits = float("nan")
        self.last: dict[str, float] = {}
        self.curves: Any = None

    def __enter__(self) -> Recorder:
        if self.run is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.curves = SummaryWriter(str(self.run.tensorboard))
        return self

    def __exit__(self, *error: object) -> None:
        if self.curves is not None:
            self.curves.close()

    def step(self, step: int, bits: float, gradient_norm: float, lr: float) -> None:
        """After each step."""
        smooth = self.smooth_bits
        self.smooth_bits = bits if math.isnan(smooth) else SMOOTH * smooth + (1 - SMOOTH) * bits
        self.last = {"train_bits": bits, "gradient_norm": gradient_norm, "lr": lr}
        if self.curves is not None:
            for name, value in self.last.items():
                self.curves.add_scalar(name, value, step)

    def evaluation(self, flow: Flow, step: int, seconds: float, test_bits: float) -> None:
        """After each evaluation: a line of metrics, and a grid of samples from the same noise each time."""
        if self.run is None:
            return
        self.run.log({"step": step, "seconds": round(seconds, 3), "test_bits": test_bits} | self.last)
        self.curves.add_scalar("test_bits", test_bits, step)
        with fixed_seed(0):
            images = flow.to_images(flow.sample(SAMPLES))
        save_grid(images, self.run.samples / f"step_{step:06d}.png")
