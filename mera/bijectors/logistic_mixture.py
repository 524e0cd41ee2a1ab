"""The cumulative distribution function of a mixture of logistic distributions as a monotone map."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mera._utils.checks import check_count, check_positive
from mera.bijectors.univariate import Affine, Univariate, in_single


class LogisticMixture(Univariate):
    r"""The logit of a mixture of logistic distributions, then an affine map: :math:`y = a \, \mathrm{logit}(F(x)) + b`.

    .. math:: F(x) = \sum_{k=1}^{K} \pi_k \, \sigma\left(\frac{x - \mu_k}{s_k}\right)

    as in Flow++ (Ho et al. 2019, https://arxiv.org/abs/1902.00275). Each variable has 3 K + 2 parameters: K for the
    weights :math:`\pi_k`, K for the means :math:`\mu_k`, K for the scales :math:`s_k`, and two for :math:`a` and
    :math:`b`, as in `Affine`. All but :math:`b` are bounded, which keeps the map steep enough to be inverted in single
    precision. Parameters of 0 give slightly different means, so that the components can learn to differ; the map
    therefore starts close to the identity, but not at it.

    The inverse uses bisection between exact bounds, the smallest and the largest of the K solutions for single
    components. Two Newton steps after the bisection make the inverse twice differentiable.

    Args:
        components: K.
        max_mean: bound of the means, and of the logarithms of the weights before normalisation.
        max_log_scale: bound of :math:`\ln s_k` and :math:`\ln a`.

    Raises:
        ValueError: if the number of components is not a positive integer, or a bound is not a number above 0, up to 20.
    """

    def __init__(self, components: int = 4, max_mean: float = 2.0, max_log_scale: float = 1.0) -> None:
        super().__init__()
        self.components = check_count(components, "components")
        self.max_mean = check_positive(max_mean, "the bound of the means", most=20)
        self.outer = Affine(max_log_scale)
        self.n_params = 3 * self.components + 2

    @in_single
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the logit of the mixture, then scale and shift."""
        u, log_slope = _logit_of_mixture(x, *self._mixture(params))
        y, log_scale = self.outer(u, params[:, -2:])
        return y, log_slope + log_scale

    @in_single
    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the shift and the scaling, then invert the logit of the mixture."""
        u, log_scale = self.outer.inverse(y, params[:, -2:])
        mixture = self._mixture(params)
        with torch.no_grad():
            x = _bisect(u, *mixture)
        for _ in range(2):  # the first step makes first derivatives right, the second step second derivatives
            value, log_slope = _logit_of_mixture(x, *mixture)
            x = x - (value - u) * torch.exp(-log_slope.detach())
        return x, log_scale - _logit_of_mixture(x, *mixture)[1]

    def mirrored(self, params: Tensor) -> Tensor:
        """The parameters with components in reverse order, opposite means, and the opposite shift."""
        k = self.components
        weights, means, scales, outer = params.split([k, k, k, 2], 1)
        return torch.cat([weights.flip(1), -means.flip(1), scales.flip(1), self.outer.mirrored(outer)], 1)

    def _mixture(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and log-scales, each (B, *shape, K)."""
        k, bound = self.components, self.outer.max_log_scale
        weights, means, scales, _ = params.movedim(1, -1).split([k, k, k, 2], dim=-1)
        spread = torch.linspace(-0.5, 0.5, k, dtype=means.dtype, device=means.device) if k > 1 else 0.0
        means = self.max_mean * torch.tanh((means + spread) / self.max_mean)
        weights = self.max_mean * torch.tanh(weights / self.max_mean)
        return F.log_softmax(weights, dim=-1), means, bound * torch.tanh(scales / bound)


def _logit_of_mixture(x: Tensor, log_pi: Tensor, mu: Tensor, log_s: Tensor) -> tuple[Tensor, Tensor]:
    """The logit of F(x) and its log-derivative, computed from logarithms that are accurate in both tails."""
    z = (x[..., None] - mu) * torch.exp(-log_s)
    below, above = F.logsigmoid(z), F.logsigmoid(-z)
    log_below, log_above = torch.logsumexp(log_pi + below, -1), torch.logsumexp(log_pi + above, -1)
    log_density = torch.logsumexp(log_pi + below + above - log_s, -1)
    return log_below - log_above, log_density - log_below - log_above


def _bisect(u: Tensor, log_pi: Tensor, mu: Tensor, log_s: Tensor) -> Tensor:
    """Solve logit(F(x)) = u for x by bisection, until the bounds differ only by rounding errors."""
    solutions = mu + torch.exp(log_s) * u[..., None]  # of single components
    low, high = solutions.amin(-1), solutions.amax(-1)
    for _ in range(round(-math.log2(torch.finfo(u.dtype).eps)) + 4):
        middle = low + (high - low) / 2
        is_above = _logit_of_mixture(middle, log_pi, mu, log_s)[0] < u  # whether x lies above the middle
        low, high = torch.where(is_above, middle, low), torch.where(is_above, high, middle)
    return low + (high - low) / 2
