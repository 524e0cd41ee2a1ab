"""Monotone maps of single variables, whose parameters come from the conditioner of a coupling."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from mera._utils.checks import check_interval
from mera._utils.errors import InputError
from mera.bijectors.base import log_det_dtype


def in_single(x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
    """Convert variables and parameters to at least single precision, for maps that are inexact in half precision."""
    dtype = log_det_dtype(x)
    return x.to(dtype), params.to(dtype)


class Univariate(nn.Module, ABC):
    """A monotone map of single variables, with `n_params` parameters for each variable.

    Variables are (B, *shape), parameters (B, n_params, *shape). Both methods return the new variables and the logarithm
    of the derivative at each variable, (B, *shape). A coupling starts with parameters of zero, for which the map should
    be the identity or close to it.

    Attributes:
        n_params: the number of parameters of each variable.
        of_angles: whether the map takes angles in [-pi, pi) to such angles, rather than real numbers.
    """

    n_params: int
    of_angles = False

    @abstractmethod
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Transform variables; see the class for shapes."""

    @abstractmethod
    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Transform variables back; returns the log-derivative of the inverse map."""

    def mirrored(self, params: Tensor) -> Tensor:
        """The parameters (B, n_params, ...) of the map x -> -f(-x), a linear function of the parameters of f.

        Odd couplings need this method. By default it raises a `ValueError`.
        """
        raise InputError("a transform with a mirror image, for odd couplings", type(self).__name__)


class Affine(Univariate):
    r"""The affine map :math:`y = x \, e^s + t` with a bounded log-scale :math:`s = b \tanh(r / b)`.

    The parameters are :math:`r` and :math:`t` (RG-Flow, Eq. 10, https://arxiv.org/abs/2010.00029).

    Args:
        max_log_scale: the bound :math:`b` of :math:`|s|`, which keeps values finite during training.

    Raises:
        ValueError: if the bound is not a number above 0, up to 20.
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
        """Undo the shift, then the scaling."""
        scale, shift = self._scale_and_shift(params)
        return (y - shift) * torch.exp(-scale), -scale

    def mirrored(self, params: Tensor) -> Tensor:
        """The parameters :math:`r` and :math:`-t`."""
        raw, shift = params.unbind(1)
        return torch.stack([raw, -shift], 1)

    def _scale_and_shift(self, params: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = params.unbind(1)
        bound = self.max_log_scale
        return torch.tanh(raw) if bound == 1 else bound * torch.tanh(raw / bound), shift


class Additive(Univariate):
    """The shift y = x + t, which keeps volumes (NICE, Dinh et al. 2014, https://arxiv.org/abs/1410.8516)."""

    n_params = 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Add the shift."""
        return x + params[:, 0], torch.zeros_like(x)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Subtract the shift."""
        return y - params[:, 0], torch.zeros_like(y)

    def mirrored(self, params: Tensor) -> Tensor:
        """The opposite shift."""
        return -params
