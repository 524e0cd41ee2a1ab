"""The loss of a training step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mera.flow import Flow

__all__ = ["Objective", "autocast"]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context that runs networks in half precision where that is asked for.

    Args:
        device: where the flow is.
        precision: "float32" or "bfloat16"; see `Settings`.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


class Objective(nn.Module):
    """Mean bits per dimension of a batch, as a module, which processes can share.

    Args:
        flow: the flow.
        precision: "float32" or "bfloat16"; see `Settings`.
    """

    def __init__(self, flow: Flow, precision: str) -> None:
        super().__init__()
        self.flow, self.precision = flow, precision

    def forward(self, images: Tensor, noise: Tensor, context: Tensor | None = None) -> Tensor:
        """The loss, a scalar.

        Args:
            images: uint8 images (B, C, L, L).
            noise: dequantisation noise of the same shape.
            context: contexts of a conditional flow, (B, ...).
        """
        with autocast(images.device, self.precision):
            return self.flow.bits_per_dim(images, context, noise=noise).mean()
