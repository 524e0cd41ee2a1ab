"""The exponential running mean of the weights of a flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class RunningMean(AveragedModel):
    """An `AveragedModel` that walks through the modules once, not for each update, of which it would be the most part.

    Its buffers are those of the module. Weights and buffers must stay the same tensors from the first update on.

    Args:
        module: the module whose weights are averaged.
        decay: the weight of the mean so far, 0 to below 1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__(module, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.decay = decay
        self._tensors: tuple[list[list[Tensor]], list[list[Tensor]]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies, which have other tensors."""
        return self.__dict__ | {"_tensors": None}

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the mean towards the weights of the module; the first time, to the weights."""
        is_first = self._tensors is None and self.n_averaged == 0
        if self._tensors is None:
            pair = self.module, model
            self._tensors = [[*part.parameters()] for part in pair], [[*part.buffers()] for part in pair]
        if is_first:
            super().update_parameters(model)
            return
        (means, weights), (kept, buffers) = self._tensors
        torch._foreach_lerp_(means, weights, 1 - self.decay)
        if kept:
            torch._foreach_copy_(kept, buffers)
        self.n_averaged += 1
