"""From 8-bit images to the space in which flows are trained, and back."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mera._utils.checks import check_count, check_positive
from mera.bijectors.base import Bijector, log_det_dtype

__all__ = ["Dequantize", "Logit", "with_noise"]


class Dequantize(Bijector):
    r"""Integers k in 0 .. levels - 1 to numbers (k + u) / levels in [0, 1), u uniform in [0, 1).

    The density of the numbers bounds the probability of the integers from below (Theis et al. 2016). The log-det
    counts the volume of one level: -n ln(levels) for n variables. `inverse` rounds down to the level, which undoes
    `forward` exactly, whatever u was; numbers beyond the ends go to the end levels.

    The numbers have the dtype of the module, which `to` changes, but single precision at least: half has not enough
    digits for a level and its noise.

    Args:
        levels: how many values a variable has, 256 for 8 bits.
    """

    like: Tensor

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        if check_count(levels, "levels", 2) > 256:
            raise ValueError(f"Expected from 2 to 256 levels; got {levels}")
        self.levels = int(levels)
        self.register_buffer("like", torch.tensor(1.0), persistent=False)  # carries the module's dtype

    def extra_repr(self) -> str:
        """The levels."""
        return str(self.levels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (B, *event_shape), or floats that `with_noise` made of them, to floats."""
        if not x.is_floating_point():
            x = with_noise(x, torch.rand(x.shape, dtype=log_det_dtype(self.like), device=x.device))
        return x.to(log_det_dtype(self.like)) / self.levels, self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Floats to uint8; the log-det is that of the linear map."""
        x = torch.floor(y * self.levels).clamp(0, self.levels - 1).to(torch.uint8)
        return x, -self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        value = -math.prod(x.shape[1:]) * math.log(self.levels)
        return torch.full((x.shape[0],), value, dtype=log_det_dtype(self.like), device=x.device)


def with_noise(x: Tensor, noise: Tensor) -> Tensor:
    """k + u for integers k and u in [0, 1)."""
    return x + noise * (1 - 2**-15)  # else k + u could round up to k + 1 in float32


class Logit(Bijector):
    r"""y = logit(c x + (1 - c) / 2) on [0, 1], the squeezed logit of Dinh et al. (2017).

    With p = c x + (1 - c) / 2, log \|dy/dx\| = ln c - ln p - ln(1 - p), summed over the event.

    Args:
        constraint: c, the width left of the unit interval; it keeps y finite.
    """

    def __init__(self, constraint: float = 0.9) -> None:
        super().__init__()
        if check_positive(constraint, "a constraint") >= 1:
            raise ValueError(f"Expected a constraint between 0 and 1; got {constraint}")
        self.constraint = float(constraint)

    def extra_repr(self) -> str:
        """The constraint."""
        return str(self.constraint)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[0, 1] to the real line; see `Bijector`."""
        p = self.constraint * x + (1 - self.constraint) / 2
        return torch.logit(p), self._log_det(p)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The real line to numbers around [0, 1]; see `Bijector`."""
        p = torch.sigmoid(y)
        log_derivative = math.log(self.constraint) + F.softplus(y) + F.softplus(-y)
        return (p - (1 - self.constraint) / 2) / self.constraint, -log_derivative.flatten(1).sum(1)

    def _log_det(self, p: Tensor) -> Tensor:
        return (math.log(self.constraint) - torch.log(p) - torch.log1p(-p)).flatten(1).sum(1)
