"""What a coupling does to each variable, given the parameters that its conditioner computed for it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from mera._utils.checks import check_interval
from mera.bijectors.base import log_det_dtype

__all__ = ["Additive", "Affine", "Univariate", "in_single"]


def in_single(x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
    """Variables and parameters in single precision at least, for maps that half would spoil."""
    single = log_det_dtype(x)
    return x.to(single), params.to(single)


class Univariate(nn.Module, ABC):
    """A monotone map of single variables, with `n_params` parameters for each.

    Shapes: variables (B, *shape), parameters (B, n_params, *shape); both methods return the new variables and the
    logarithm of the derivative at each, (B, *shape). Parameters that are all zero make the identity, or a map close
    to it: a coupling starts there.
    """

    n_params: int

    @abstractmethod
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The map and the logarithm of its derivative."""

    @abstractmethod
    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse map and the logarithm of its derivative."""


class Affine(Univariate):
    r"""y = x exp(s) + t with s = b tanh(r / b), where the parameters are r and t (paper, Eq. 10).

    Args:
        max_log_scale: the bound b of \|s\|, so that no step can blow up.
    """

    n_params = 2

    def __init__(self, max_log_scale: float = 2.0) -> None:
        super().__init__()
        self.max_log_scale = check_interval(max_log_scale, "the bound of the log-scale", 0, 20)

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, then shift."""
        scale, shift = self._scale_and_shift(params)
        return torch.addcmul(shift, x, torch.exp(scale)), scale

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Shift back, then scale back."""
        scale, shift = self._scale_and_shift(params)
        return (y - shift) * torch.exp(-scale), -scale

    def _scale_and_shift(self, params: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = params.unbind(1)
        bound = self.max_log_scale
        return torch.tanh(raw) if bound == 1 else bound * torch.tanh(raw / bound), shift


class Additive(Univariate):
    """y = x + t, which keeps volumes (NICE, Dinh et al. 2014)."""

    n_params = 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Shift."""
        return x + params[:, 0], torch.zeros_like(x)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Shift back."""
        return y - params[:, 0], torch.zeros_like(y)
