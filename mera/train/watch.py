"""A picture of a training run that changes as the run goes on: the loss, and samples of the flow."""

from __future__ import annotations

from os import PathLike
from typing import Any

from rich.console import Console
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera._utils.files import as_path
from mera.display.progress import Cell
from mera.train.callbacks import History
from mera.train.evaluate import sample
from mera.train.loop import Loop, Metrics


class Watch(History):
    """Draw the loss and samples after each evaluation: in place in a notebook, elsewhere to a file.

    >>> import mera
    >>> watch = mera.train.Watch("training.png", samples=4)  # fit(flow, data, callbacks=[watch])

    Args:
        path: the PNG to write; None in a notebook, which shows the picture.
        samples: the number of samples, from the same noise each time.
        contexts: contexts of the samples, (samples, ...), of a flow that takes contexts.

    Raises:
        ValueError: if there is neither a notebook nor a path.
    """

    def __init__(
        self, path: str | PathLike[str] | None = None, samples: int = 16, contexts: Tensor | None = None
    ) -> None:
        super().__init__()
        self.path = None if path is None else as_path(path)
        self.samples, self.contexts = check_count(samples, "samples"), contexts
        self.cell = Cell() if Console().is_jupyter else None
        if self.path is None and self.cell is None:
            raise InputError("a path of the picture outside of a notebook", "none")

    def on_evaluation(self, loop: Loop, metrics: Metrics) -> None:
        """Keep the metrics, and draw the picture again."""
        super().on_evaluation(loop, metrics)
        contexts = None if self.contexts is None else self.contexts.to(loop.device)
        samples = sample(loop.ema, self.samples, context=contexts)  # all processes share the work
        if not loop.is_main:
            return
        figure = self._draw(loop, loop.objective.pictures(loop.ema, samples))
        if self.path is not None:
            from mera.drawing.images import save_figure

            save_figure(figure, self.path)
        if self.cell is not None:
            self.cell.show({"image/png": figure._repr_png_(), "text/plain": f"step {loop.step}"})

    def _draw(self, loop: Loop, pictures: Tensor | None) -> Any:
        """The loss by step, and the samples beside it if they are images."""
        from mera.drawing.figures import panels
        from mera.drawing.images import draw_image, grid

        figure, axes = panels(1 if pictures is None else 2, 2, 4.6, 3.2, margin=0.5)
        steps = [line["step"] for line in self.metrics]
        for kind, label in (("median", "batches"), ("test", "test")):
            name = f"{kind}_{loop.objective.metric}"
            axes[0].plot(steps, [line[name] for line in self.metrics], marker="o", ms=3, label=label)
        axes[0].set(xlabel="step", ylabel=f"loss, {loop.objective.unit}")
        axes[0].legend()
        if pictures is not None:
            draw_image(axes[1], grid(pictures, round(len(pictures) ** 0.5)))
            axes[1].set_title(f"samples after step {loop.step}", fontsize=9)
        return figure
