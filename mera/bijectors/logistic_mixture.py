"""The distribution function of a mixture of logistics as a map."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mera._utils.checks import check_count, check_interval
from mera.bijectors.univariate import Affine, Univariate, in_single

__all__ = ["LogisticMixture"]


class LogisticMixture(Univariate):
    r"""y = a logit(F(x)) + b, F(x) = sum of pi_k sigmoid((x - mu_k) / s_k) (Flow++, Ho et al. 2019, arXiv 1902.00275).

    Of each variable's 3 K + 2 parameters K make the weights, K the means and K the scales; the last two make a and b,
    as in `Affine`. All but b are bounded, so that the map is nowhere so flat that single precision could not invert it.
    Parameters of 0 spread the means a little, so that the components can come to differ: the map then starts close to
    the identity, not at it.

    The inverse bisects between bounds that are exact: y lies between the smallest and the largest of the K values that
    single components would give. Two Newton steps behind it make the inverse differentiable, twice.

    Args:
        components: K.
        max_mean: the bound of the means, and of the weights' logarithms before they are normalised.
        max_log_scale: the bound of ln s_k and ln a.

    Raises:
        ValueError: if there is no component, or a bound is not positive.
    """

    def __init__(self, components: int = 4, max_mean: float = 2.0, max_log_scale: float = 1.0) -> None:
        super().__init__()
        self.components = check_count(components, "components")
        self.max_mean = check_interval(max_mean, "the bound of the means", 0, 20)
        self.outer = Affine(max_log_scale)
        self.n_params = 3 * self.components + 2

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Through the mixture, then scale and shift."""
        dtype = x.dtype
        x, params = in_single(x, params)
        u, log_slope = _logit_of_mixture(x, *self._mixture(params))
        y, log_scale = self.outer(u, params[:, -2:])
        return y.to(dtype), log_slope + log_scale

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale back, then bisect."""
        dtype = y.dtype
        y, params = in_single(y, params)
        u, log_scale = self.outer.inverse(y, params[:, -2:])
        mixture = self._mixture(params)
        with torch.no_grad():
            x = _bisect(u, *mixture)
        for _ in range(2):  # the first makes first derivatives right, the second those of second order
            close, log_slope = _logit_of_mixture(x, *mixture)
            x = x - (close - u) * torch.exp(-log_slope.detach())
        return x.to(dtype), log_scale - _logit_of_mixture(x, *mixture)[1]

    def _mixture(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ln pi, mu and ln s, each (B, *shape, K)."""
        k, bound = self.components, self.outer.max_log_scale
        weights, means, scales, _ = params.movedim(1, -1).split([k, k, k, 2], dim=-1)
        spread = torch.linspace(-0.5, 0.5, k, dtype=means.dtype, device=means.device) if k > 1 else 0.0
        means = self.max_mean * torch.tanh((means + spread) / self.max_mean)
        weights = self.max_mean * torch.tanh(weights / self.max_mean)
        return F.log_softmax(weights, dim=-1), means, bound * torch.tanh(scales / bound)


def _logit_of_mixture(x: Tensor, log_pi: Tensor, mu: Tensor, log_s: Tensor) -> tuple[Tensor, Tensor]:
    """logit(F(x)) and the logarithm of its derivative, from logarithms that are exact in both tails."""
    z = (x[..., None] - mu) * torch.exp(-log_s)
    below, above = F.logsigmoid(z), F.logsigmoid(-z)
    log_below, log_above = torch.logsumexp(log_pi + below, -1), torch.logsumexp(log_pi + above, -1)
    log_density = torch.logsumexp(log_pi + below + above - log_s, -1)
    return log_below - log_above, log_density - log_below - log_above


def _bisect(u: Tensor, log_pi: Tensor, mu: Tensor, log_s: Tensor) -> Tensor:
    """x with logit(F(x)) = u: halvings until the bounds, at first as far apart as x is large, differ by rounding."""
    single = mu + torch.exp(log_s) * u[..., None]
    low, high = single.amin(-1), single.amax(-1)
    for _ in range(round(-math.log2(torch.finfo(u.dtype).eps)) + 4):
        middle = low + (high - low) / 2
        right = _logit_of_mixture(middle, log_pi, mu, log_s)[0] < u
        low, high = torch.where(right, middle, low), torch.where(right, high, middle)
    return low + (high - low) / 2
