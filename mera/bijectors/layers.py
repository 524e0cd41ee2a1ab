"""Layers of the conditioner networks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Swish", "WeightNormLinear"]


class Swish(nn.Module):
    """x sigmoid(a x), with one learnable a for each of `features`, 1 at the start (Chen et al. 2019)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, features) -> (B, features)."""
        return x * torch.sigmoid(self.scale * x)


class WeightNormLinear(nn.Module):
    r"""A linear layer with weight g v / \|v\|, the norm taken of each row (Salimans & Kingma 2016).

    Torch's own parametrisation of the same name cannot be pickled, so that a flow built on it could not be either.

    Weights start uniform within ±sqrt(2.81 * 3 / fan_in), biases at 0.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = math.sqrt(2.81 * 3 / in_features)
        self.weight_v = nn.Parameter(torch.empty(out_features, in_features).uniform_(-bound, bound))
        self.weight_g = nn.Parameter(self.weight_v.detach().norm(dim=1, keepdim=True))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_features) -> (B, out_features)."""
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=1, keepdim=True))
        return F.linear(x, weight, self.bias)
