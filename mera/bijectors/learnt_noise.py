"""Variational dequantisation: the noise of pixels within their levels gets a learnt distribution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from mera._utils.flow_options import HiddenChannels, Padding, ResidualBlocks
from mera.bijectors.base import log_det_dtype
from mera.bijectors.conditioners.base import parameters_at
from mera.bijectors.conditioners.residual import ResidualConv
from mera.bijectors.image import LEVELS, MARGIN, Logit
from mera.bijectors.local import LocalBijector, Sites
from mera.bijectors.spline import RationalQuadratic
from mera.bijectors.univariate import transform

LOGIT = Logit()
STEEPEST = 3.5
"""The largest logarithm of a slope of g at a knot."""


class LearntNoise(LocalBijector):
    r"""Map the noise u of each pixel within its level k, given the levels of the pixels around it.

    .. math:: k + u \mapsto k + g(u), \qquad u, g(u) \in [0, 1)

    Uniform noise makes a step of the density at each level, which no smooth flow can learn. In front of a flow, g gives
    the noise the density :math:`1 / g'(u)` in place of a uniform one: narrow where the surrounding pixels tell what a
    pixel was before it was rounded. This is variational dequantisation (Flow++, Ho et al. 2019, Section 3.1,
    https://arxiv.org/abs/1902.00275), written as a bijector, so that log p remains a density of :math:`k + u`, and its
    mean over u a bound of the probability of k. A convolution that reads the levels, and no noise, has the parameters
    of g.

    Values are in the space of `ImagePreprocess`; those beyond the 256 levels stay as they are. Levels and noise are
    computed in double precision.

    Args:
        event_shape: shape (C, *sites) of one event.
        hidden: channels of the hidden convolutions in one residual block.
        residual_blocks: number of residual blocks.
        padding: "zeros" between open borders, "circular" on a periodic lattice.
    """

    of_angles = False

    def __init__(
        self, event_shape: tuple[int, ...], hidden: HiddenChannels = (48,), residual_blocks: ResidualBlocks = 2,
        padding: Padding = "zeros",
    ) -> None:  # fmt: skip
        super().__init__(event_shape)
        channels, *sites = event_shape
        self.transform = _UnitSpline(bins=2, bound=0.5)
        self.network = ResidualConv(
            ((1 + len(sites)) * channels, *sites), event_shape, self.transform.n_params,
            hidden=hidden, blocks=residual_blocks, padding=padding,
        )  # fmt: skip
        self.circular = self.network.circular

    @property
    def receptive_kernel(self) -> tuple[int, ...]:
        """The window of the network, and a pixel more to each side."""
        return (3 + 2 * (self.network.radius or 0),) * (len(self.event_shape or ()) - 1)

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Sites | None) -> tuple[Tensor, Tensor]:
        """Map the noise of each pixel, or map it back."""
        values = LEVELS * LOGIT.inverse(x.double())[0] + MARGIN
        features = self._features(values.floor(), () if sites is None else sites.interior_ends).to(x.dtype)
        inner = None if sites is None else sites.shrunk((1,) * len(sites.shape))
        params = parameters_at(self.network, features, inner).double()
        if sites is not None:
            x, values = sites.shrink(x, self.radius), sites.shrink(values, self.radius)
        level = values.floor()
        noise, log_slope = transform(self.transform, values - level - 0.5, params, inverse)
        within = (level >= 0) & (level < LEVELS)
        y = LOGIT((torch.where(within, level, 0) + noise + 0.5 - MARGIN) / LEVELS)[0]
        log_slope = log_slope + LOGIT.log_slope(x.double()) - LOGIT.log_slope(y)
        log_slope = torch.where(within, log_slope, 0).to(log_det_dtype(x))
        return torch.where(within, y.to(x.dtype), x), log_slope.sum(1)

    def _features(self, levels: Tensor, interior_ends: Sequence[bool]) -> Tensor:
        """The levels, and differences of the neighbours of each pixel along each axis, as channels of moderate size."""
        dims = levels.ndim - 2
        beyond = [int(not end) for end in interior_ends or (False,) * 2 * dims]
        padded = pad(levels, beyond, "circular" if self.circular else "replicate")

        def part(axis: int, where: slice) -> Tensor:
            return padded[(..., *(where if a == axis else slice(1, -1) for a in range(dims)))]

        steps = [torch.asinh(part(axis, slice(2, None)) - part(axis, slice(-2))) for axis in range(dims)]
        return torch.cat([part(-1, slice(1, -1)) / 64 - 2, *steps], dim=1)


class _UnitSpline(RationalQuadratic):
    """A spline of the interval, with learnt slopes at its ends, from 1/33 to 33 as at the knots between bins."""

    def __init__(self, bins: int, bound: float) -> None:
        super().__init__(bins, bound)
        self.n_params = 3 * bins + 1

    def _ends(self, slopes: Tensor) -> Tensor:
        """The slopes at all knots are learnt."""
        return slopes

    def _slope(self, params: Tensor) -> Tensor:
        """Slopes at knots from their parameters; 0 is mapped to 1."""
        return torch.exp(STEEPEST * torch.tanh(params / STEEPEST))
