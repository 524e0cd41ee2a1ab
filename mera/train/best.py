"""The best weights of a run so far, by the losses of examples."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from mera.flow.density import Density
from mera.train.evaluate import mean_and_error

CONFIDENCE = 0.95
"""The coverage of the interval of the mean change of losses, all of which is negative for an improvement."""


class BestWeights:
    """The step with the lowest loss, and its weights.

    With keep="best" and keep="improved" the loss is that of training examples that are held out. With "improved" the
    weights before the first step are the best until the losses of later ones are lower, example by example, with 97.5 %
    confidence by Student's t; of windows, the pictures from which they come are counted.

    Args:
        keep: which weights the run keeps, see `Settings.keep`.

    Attributes:
        best: step and loss; None before the first evaluation.
        weights: the weights of that step, by name; empty if the last weights are kept.
    """

    def __init__(self, keep: str) -> None:
        self.keep = keep
        self.best: tuple[int, float] | None = None
        self.weights: dict[str, Tensor] = {}
        self._start: Tensor | None = None

    def update(self, step: int, losses: Tensor, flow: Density, pictures: Tensor | None = None) -> float:
        """Take note of the losses after a step, (n,), and of the weights if they are the best; return the mean loss.

        `pictures` has the number of the picture of each example, if examples are windows; see `mean_and_error`.
        """
        loss, is_better = losses.mean().item(), True
        if self.keep == "improved":
            self._start = losses if self._start is None else self._start
            change, error = mean_and_error(losses - self._start, pictures, CONFIDENCE)
            is_better = change < -error
        if self.best is None or math.isnan(self.best[1]) or (is_better and loss < self.best[1]):
            self.best = step, loss
            weights = {} if self.keep == "last" else flow.state_dict()
            self.weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        return loss

    def state_dict(self) -> dict[str, Any]:
        """All but the weights, which the file of the run's flow has."""
        return {"best": self.best, "start": self._start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a result of `state_dict`."""
        self.best, self._start = state["best"], state["start"]
