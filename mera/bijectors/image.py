"""Dequantisation and logit, which map 8-bit images to the space in which flows are trained."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mera._utils.checks import check_tensor
from mera._utils.errors import InputError
from mera.bijectors.base import Bijector, log_det_dtype

LEVELS, MARGIN = 256, 2**-16
"""Noise is below 1 - 2 * MARGIN, and MARGIN is added before levels are rounded down: k + u for a level k and noise u
comes back as k from (k + u) / LEVELS in single precision, whose error is below MARGIN / 2."""
WIDTH = 0.9
"""The width of the interval to which the unit interval is squeezed, so that its logit is finite."""


class ImagePreprocess(Bijector):
    r"""Uniform dequantisation of 8-bit integers k, then the logit of a squeezed unit interval.

    .. math:: y = \mathrm{logit}(p), \qquad p = c \, \frac{k + u}{256} + \frac{1 - c}{2}, \qquad c = 0.9

    with u uniform in [0, 1). The density of the result bounds the probability of the integers from below (Theis et al.
    2016, https://arxiv.org/abs/1511.01844); the logit is that of `Real NVP <https://arxiv.org/abs/1605.08803>`_ (Dinh
    et al. 2017, Section 4.1). The log-det is the sum of :math:`\ln c - \ln 256 - \ln p - \ln(1 - p)` over all
    variables. `inverse` rounds down to an integer; values beyond the 256 levels are rounded to 0 or 255.

    The result has the dtype of the module, which `to` changes, but at least single precision: half precision has too
    few digits for a level and its noise.
    """

    like: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("like", torch.tensor(1.0), persistent=False)  # carries the module's dtype

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map integers (B, *event_shape), or the output of `with_noise`, to the real line."""
        dtype = log_det_dtype(self.like)
        if not x.is_floating_point():
            x = with_noise(x, torch.rand(x.shape, dtype=dtype, device=x.device))
        p = squeezed(x.to(dtype) / LEVELS)
        log_det = (math.log(WIDTH) - torch.log(p) - torch.log1p(-p)).flatten(1).sum(1)
        return torch.logit(p), log_det - math.prod(x.shape[1:]) * math.log(LEVELS)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map the real line to uint8; the log-det is the log-det of the map without rounding."""
        levels = unsqueezed(y).to(log_det_dtype(y)) * LEVELS
        log_det = log_slope(y.to(log_det_dtype(y))).flatten(1).sum(1) + math.prod(y.shape[1:]) * math.log(LEVELS)
        return torch.floor(levels + MARGIN).clamp(0, LEVELS - 1).to(torch.uint8), log_det


def squeezed(x: Tensor) -> Tensor:
    """Squeeze the unit interval around its middle."""
    return WIDTH * x + (1 - WIDTH) / 2


def unsqueezed(y: Tensor) -> Tensor:
    """Map the real line to an interval a little larger than [0, 1]: the inverse of the logit of `squeezed`."""
    return (torch.sigmoid(y) - (1 - WIDTH) / 2) / WIDTH


def log_slope(y: Tensor) -> Tensor:
    """The logarithm of the slope of `unsqueezed` at each variable, of the shape of y."""
    return -(math.log(WIDTH) + F.softplus(y) + F.softplus(-y))


def with_noise(x: Tensor, noise: Tensor) -> Tensor:
    """Add noise u in [0, 1) to integers k: floats in [k, k + 1), at least in single precision.

    Args:
        x: the integers, of any shape.
        noise: the noise, floats of the same shape in [0, 1), which is checked on the CPU only.
    """
    check_tensor("noise", noise, tuple(x.shape[1:]), None)
    if noise.shape != x.shape or not noise.is_floating_point():
        raise InputError(f"noise of shape {tuple(x.shape)}, floats", f"{tuple(noise.shape)}, {noise.dtype}")
    is_cheap_to_read = noise.device.type == "cpu" and not torch.compiler.is_compiling()
    if is_cheap_to_read and noise.numel() and not 0 <= noise.min() <= noise.max() < 1:
        raise InputError("noise in [0, 1)", f"{noise.min().item():g} to {noise.max().item():g}")
    return x + noise.to(log_det_dtype(noise)) * (1 - 2 * MARGIN)
