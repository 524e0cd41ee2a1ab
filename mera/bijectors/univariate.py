"""Monotone maps of single variables, whose parameters come from the conditioner of a coupling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mera._utils.checks import check_positive
from mera._utils.errors import InputError
from mera.bijectors.base import log_det_dtype


class Univariate(nn.Module, ABC):
    """A monotone map of single variables, with `n_params` parameters for each variable.

    Variables are (B, *shape), parameters (B, n_params, *shape). Both methods return the new variables and the logarithm
    of the derivative at each variable, (B, *shape). A coupling starts with parameters of zero, for which the map should
    be the identity or close to it.

    Attributes:
        n_params: the number of parameters of each variable.
        of_angles: whether the map takes angles in [-pi, pi) to such angles, rather than real numbers.
        aligned: values of parameters, by index, for data in a narrow peak around 0; see `AngleFrame`.
    """

    n_params: int
    of_angles = False
    aligned: Mapping[int, float] = {}

    @abstractmethod
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Transform variables (B, *shape) with parameters (B, n_params, *shape)."""

    @abstractmethod
    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Transform variables back; returns the log-derivative of the inverse map."""


def map_variables(univariate: Univariate, x: Tensor, params: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """Apply a map of single variables, or its inverse, and refuse parameters or log-slopes that would broadcast.

    Variables and log-slopes are (B, *shape), parameters (B, n_params, *shape) in any floating-point dtype. The map runs
    in at least single precision; the variables come back in their own dtype.
    """
    expected = x.shape[0], univariate.n_params, *x.shape[1:]
    if not isinstance(params, Tensor) or params.shape != expected:
        got = str(tuple(params.shape)) if isinstance(params, Tensor) else type(params).__name__
        raise InputError(f"parameters {expected} from the conditioner", got)
    dtype = log_det_dtype(x)
    values = x if x.dtype == dtype else x.to(dtype)
    params = params if params.dtype == dtype else params.to(dtype)
    y, log_slope = univariate.inverse(values, params) if inverse else univariate(values, params)
    if not y.shape == log_slope.shape == x.shape:
        got = f"{tuple(y.shape)} and {tuple(log_slope.shape)}"
        raise InputError(f"variables and log-slopes {tuple(x.shape)} from {type(univariate).__name__}", got)
    return y if y.dtype == x.dtype else y.to(x.dtype), log_slope


class Affine(Univariate):
    r"""The affine map :math:`y = x \, e^s + t` with a bounded log-scale :math:`s = b \tanh(r / b)`.

    The parameters are :math:`r` and :math:`t` (RG-Flow, Eq. 10, https://arxiv.org/abs/2010.00029).

    Args:
        max_log_scale: the bound :math:`b` of :math:`|s|`, up to 20, which keeps values finite during training.
    """

    n_params = 2

    def __init__(self, max_log_scale: float = 2.0) -> None:
        super().__init__()
        self.max_log_scale = check_positive(max_log_scale, "the bound of the log-scale", most=20)

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, then shift."""
        raw, shift = params.unbind(1)
        bound = self.max_log_scale
        scale = torch.tanh(raw) if bound == 1 else bound * torch.tanh(raw / bound)
        return torch.addcmul(shift, x, torch.exp(scale)), scale

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the shift, then the scaling."""
        raw, shift = params.unbind(1)
        bound = self.max_log_scale
        scale = torch.tanh(raw) if bound == 1 else bound * torch.tanh(raw / bound)
        return (y - shift) * torch.exp(-scale), -scale


class Composition(Univariate):
    """A composition of maps of single variables, in the order from data to latents; log-slopes add up.

    Args:
        maps: the maps, whose parameters follow each other.
    """

    def __init__(self, *maps: Univariate) -> None:
        super().__init__()
        self.maps = nn.ModuleList(maps)
        self.sizes = tuple(part.n_params for part in maps)
        self.n_params = sum(self.sizes)
        self.of_angles = maps[0].of_angles
        starts = [sum(self.sizes[:i]) for i in range(len(maps))]
        self.aligned = {n + i: v for n, part in zip(starts, maps, strict=True) for i, v in part.aligned.items()}

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the maps from the first to the last."""
        log_slope = torch.zeros_like(x)
        for part, values in zip(cast(list[Univariate], list(self.maps)), params.split(self.sizes, 1), strict=True):
            x, term = part(x, values)
            log_slope = log_slope + term
        return x, log_slope

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the inverses of the maps from the last to the first."""
        log_slope = torch.zeros_like(y)
        parts = list(zip(cast(list[Univariate], list(self.maps)), params.split(self.sizes, 1), strict=True))
        for part, values in reversed(parts):
            y, term = part.inverse(y, values)
            log_slope = log_slope + term
        return y, log_slope
