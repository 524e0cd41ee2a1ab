"""Callbacks of a run: the progress bar, and the history of metrics with the files of metrics and samples."""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean
from typing import TYPE_CHECKING

from rich.console import Console

from mera._utils.files import make_folder
from mera._utils.progress import ProgressBar
from mera.train.evaluate import sample
from mera.train.loop import Loop, Metrics
from mera.train.run import METRICS

if TYPE_CHECKING:
    from mera.drawing.figures import Picture

RECENT = 20
"""The number of steps over which the loss on the progress bar is averaged."""
GRID_IMAGES = 64
"""The number of images in a grid of samples."""


class Callback:
    """The base class of callbacks: override the methods that you need.

    `loop` has the flow, the step, the settings, and `loop.stop()`. If several processes train together, each process
    calls its own callbacks; `loop.is_main` is true in one process only. After a step, gradients of parameters are those
    that were used, clipped.
    """

    def on_start(self, loop: Loop) -> None:
        """Called before the first step of a new run or of a resumed run."""

    def on_step(self, loop: Loop, metrics: Metrics) -> None:
        """Called after each step.

        Args:
            metrics: the loss of the batch, train_bits (bits per dimension) for images or train_nats (nats per variable)
                for fields; gradient_norm and lr.
        """

    def on_evaluation(self, loop: Loop, metrics: Metrics) -> None:
        """Called after each evaluation, before the checkpoint.

        Args:
            metrics: step, seconds (of training steps), outside_seconds, test_bits or test_nats, and the metrics of the
                last step.
        """

    def on_end(self, loop: Loop) -> None:
        """Called after the last step, an interruption, or an error."""


class Progress(Callback):
    """A progress bar with rate and time left, or plain lines without a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._losses = deque[float](maxlen=RECENT)

    def on_start(self, loop: Loop) -> None:
        """Show the bar."""
        self.progress_bar = ProgressBar("train", self.console)
        self.progress_bar.__enter__()

    def on_step(self, loop: Loop, metrics: Metrics) -> None:
        """Move the bar."""
        self._losses.append(metrics[f"train_{loop.objective.metric}"])
        if loop.progress < 1:  # `on_end` shows the end
            self._show(loop)

    def on_end(self, loop: Loop) -> None:
        """Show the final state, and close the bar."""
        self._show(loop)
        self.progress_bar.__exit__()

    def _show(self, loop: Loop) -> None:
        parts = [f"{fmean(self._losses):.3f} {loop.objective.unit}"] if self._losses else []
        parts += [] if math.isnan(loop.test_loss) else [f"test {loop.test_loss:.3f}"]
        parts += [f"{loop.outside:.0f} s besides steps"] if loop.outside >= 1 else []
        self.progress_bar.update(loop.step, loop.progress, ", ".join(parts))


class History(Callback):
    """The metrics of all evaluations of a run, which plot themselves in a notebook.

    If the run has a folder, they are also written to it, with a grid of samples from the same noise each time.

    Attributes:
        metrics: a dict for each evaluation: step, seconds, test_bits or test_nats, and the metrics of its step.
    """

    def __init__(self) -> None:
        self.metrics: list[Metrics] = []

    def on_start(self, loop: Loop) -> None:
        """Load the metrics of the earlier part of a resumed run."""
        self.metric, self._train = f"test_{loop.objective.metric}", f"train_{loop.objective.metric}"
        self.unit = loop.objective.unit
        if loop.run is not None and loop.step:
            self.metrics = [line for line in loop.run.metrics() if line["step"] <= loop.step]

    def on_evaluation(self, loop: Loop, metrics: Metrics) -> None:
        """Keep the metrics, and write them and samples to the folder of the run."""
        self.metrics.append(metrics)
        if loop.run is None or not loop.is_main:
            return
        loop.run.append(METRICS, metrics)
        if loop.trained.plan.input.is_picture:
            from mera.drawing.images import save_grid

            has_classes = loop.trained.context_encoder.classes is not None  # the samples cycle through all of them
            contexts = None if has_classes else loop.objective.contexts
            contexts = None if contexts is None else contexts[:GRID_IMAGES].to(loop.device)
            n = GRID_IMAGES if contexts is None else len(contexts)
            pictures = loop.objective.pictures(loop.trained, sample(loop.trained, n, context=contexts))
            make_folder(loop.run.samples)
            save_grid(pictures, loop.run.samples / f"step_{loop.step:06d}.png")

    def plot(self, x: str = "step") -> Picture:
        """Plot the test loss over the run, and the loss of the batch in the step before each evaluation.

        Args:
            x: the horizontal axis, "step" or "seconds".

        Returns:
            A matplotlib figure.
        """
        from mera.drawing.curves import loss_curves

        train = [{x: line[x], self.metric: line[self._train]} for line in self.metrics]
        return loss_curves({"test": [self.metrics], "batch": [train]}, x, self.metric, f"loss, {self.unit}")

    def __repr__(self) -> str:
        """The number of evaluations and the last loss."""
        last = f", test {self.metrics[-1][self.metric]:.4f} {self.unit}" if self.metrics else ""
        return f"History({len(self.metrics)} evaluations{last})"

    def _repr_png_(self) -> bytes | None:
        """The curves as a PNG, which notebooks ask for; None before the first evaluation."""
        return self.plot()._repr_png_() if self.metrics else None
