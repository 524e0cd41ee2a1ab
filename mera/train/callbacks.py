"""What else happens during a run: anything that wants to know of its steps and evaluations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mera._utils.progress import ProgressBar
from mera.drawing.images import save_grid
from mera.train.evaluate import sample
from mera.train.run import RunFolder

if TYPE_CHECKING:
    from mera.train.loop import Loop

__all__ = ["Callback", "Progress", "Recorder"]

SMOOTH = 0.98
SAMPLES = 64

Metrics = dict[str, float]


class Callback:
    """Override what you need. `loop` has the flow, the step, the settings, and `loop.stop()`.

    Where several processes train together each has its callbacks; `loop.is_main` is true in one of them.
    """

    def on_start(self, loop: Loop) -> None:
        """Before the first step, of a resumed run too."""

    def on_step(self, loop: Loop, metrics: Metrics) -> None:
        """After each step: train_bits (bits/dim of the batch), gradient_norm, lr."""

    def on_evaluation(self, loop: Loop, metrics: Metrics) -> None:
        """After each evaluation, before the checkpoint: step, seconds, test_bits, and those of the last step."""

    def on_end(self, loop: Loop) -> None:
        """After the last step, an interruption, or an error."""


class Progress(Callback):
    """A bar with rate and time left, or plain lines where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bits = math.nan

    def on_start(self, loop: Loop) -> None:
        """Show the bar."""
        self.progress_bar = ProgressBar("train", self.console, done=loop.step, fraction=loop.progress)
        self.progress_bar.__enter__()

    def on_step(self, loop: Loop, metrics: Metrics) -> None:
        """Move it."""
        bits = metrics["train_bits"]
        self.bits = bits if math.isnan(self.bits) else SMOOTH * self.bits + (1 - SMOOTH) * bits
        if loop.progress < 1:  # the end is shown at the end
            self._show(loop)

    def on_end(self, loop: Loop) -> None:
        """Leave the terminal as it was."""
        self._show(loop)
        self.progress_bar.__exit__()

    def _show(self, loop: Loop) -> None:
        self.progress_bar.update(loop.step, loop.progress, "" if math.isnan(self.bits) else f"{self.bits:.3f} bits/dim")


class Recorder(Callback):
    """Writes metrics, curves and sample grids to the folder of a run."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.curves: Any = None

    def on_start(self, loop: Loop) -> None:
        """Open the curves; those of a resumed run go on from its step."""
        if loop.is_main:
            from torch.utils.tensorboard import SummaryWriter

            self.run.samples.mkdir(parents=True, exist_ok=True)
            self.curves = SummaryWriter(str(self.run.tensorboard), purge_step=loop.step + 1)

    def on_step(self, loop: Loop, metrics: Metrics) -> None:
        """A point of each curve."""
        if self.curves is not None:
            for name, value in metrics.items():
                self.curves.add_scalar(name, value, loop.step)

    def on_evaluation(self, loop: Loop, metrics: Metrics) -> None:
        """A line of metrics, and a grid of samples from the same noise each time."""
        context = None if loop.contexts is None else loop.contexts[:SAMPLES].to(loop.device)
        samples = sample(loop.averaged, SAMPLES if context is None else len(context), context=context)  # by all
        if self.curves is not None:
            self.run.log(metrics)
            self.curves.add_scalar("test_bits", metrics["test_bits"], loop.step)
            save_grid(loop.averaged.to_images(samples), self.run.samples / f"step_{loop.step:06d}.png")

    def on_end(self, loop: Loop) -> None:
        """Close the curves."""
        if self.curves is not None:
            self.curves.close()
