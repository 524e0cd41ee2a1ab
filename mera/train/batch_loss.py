"""The loss of a batch as a module, in the precision of the settings."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from mera._utils.precision import exactly
from mera.density import Density
from mera.train.objective import Objective


class BatchLoss(nn.Module):
    """The sum of the losses of a batch as a module, which accelerate wraps if several processes train together."""

    def __init__(self, flow: Density, objective: Objective, precision: str) -> None:
        super().__init__()
        self.flow, self.objective, self.precision = flow, objective, precision

    def forward(self, *batch: Tensor) -> Tensor:
        """The sum of the losses of all rows, a scalar."""
        with autocast(batch[0].device, self.precision):
            return self.objective.loss(self.flow, batch).sum()


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """A context in which networks run in bfloat16 if `precision` is "bfloat16"; see `Settings`."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else exactly(device)
