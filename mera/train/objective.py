"""The loss of a training step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mera.density import Density
from mera.train.kinds import Kind

__all__ = ["Objective", "autocast"]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context that runs networks in half precision where that is asked for.

    Args:
        device: where the flow is.
        precision: "float32" or "bfloat16"; see `Settings`.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


class Objective(nn.Module):
    """The mean loss of a batch, as a module, which processes can share.

    Args:
        flow: the flow.
        kind: the kind of the examples.
        precision: "float32" or "bfloat16"; see `Settings`.
    """

    def __init__(self, flow: Density, kind: Kind, precision: str) -> None:
        super().__init__()
        self.flow, self.kind, self.precision = flow, kind, precision

    def forward(self, examples: Tensor, noise: Tensor, context: Tensor | None = None) -> Tensor:
        """The loss, a scalar.

        Args:
            examples: examples (B, C, *shape).
            noise: the noise that they need.
            context: contexts of a conditional flow, (B, ...).
        """
        with autocast(examples.device, self.precision):
            return self.kind.loss(self.flow, examples, noise, context).mean()
