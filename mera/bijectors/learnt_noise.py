"""Variational dequantisation: the noise of pixels within their levels gets a learnt distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from mera._utils.flow_options import HiddenChannels, Padding, ResidualBlocks
from mera.bijectors.base import log_det_dtype
from mera.bijectors.boxes import Box
from mera.bijectors.conditioners.residual import ResidualConv
from mera.bijectors.image import LEVELS, MARGIN, log_slope, squeezed, unsqueezed
from mera.bijectors.local import LocalBijector
from mera.bijectors.partition import Grids, Masked, even_sites
from mera.bijectors.spline import RationalQuadratic
from mera.bijectors.univariate import map_variables

STEEPEST = 3.5
"""The largest logarithm of a slope of g at a knot."""
NOISE_SCALE = 4.0
"""The factor of noise, from -1/2 to 1/2, where a network reads it."""


def _first_channel(grids: Grids) -> Tensor:
    """True in the first channel."""
    return grids[0] == 0


def _first_channel_even(grids: Grids) -> Tensor:
    """True in the first channel at even sites."""
    return _first_channel(grids) & even_sites(grids)


def _first_channel_or_even(grids: Grids) -> Tensor:
    """True in the first channel, and at even sites."""
    return _first_channel(grids) | even_sites(grids)


class LearntNoise(LocalBijector):
    r"""Map the noise u of each pixel within its level k, given the levels of the pixels around it.

    .. math:: k + u \mapsto k + g(u), \qquad u, g(u) \in [0, 1)

    Uniform noise makes a step of the density at each level, which no smooth flow can learn. In front of a flow, g gives
    the noise the density :math:`1 / g'(u)` in place of a uniform one: narrow where the surrounding pixels tell what a
    pixel was before it was rounded. This is variational dequantisation (Flow++, Ho et al. 2019, Section 3.1,
    https://arxiv.org/abs/1902.00275), written as a bijector, so that log p remains a density of :math:`k + u`, and its
    mean over u a bound of the probability of k.

    A convolution that reads the levels, and no noise, has the parameters of g. The variables then take turns: the first
    channel at sites whose coordinates have an even sum, the first channel at odd sites, all other channels at even
    sites, and at odd ones. From the second turn on, a convolution that also reads the noise of all turns before it
    corrects the parameters, since a smooth surface tells what noise neighbouring pixels have in common.

    Values are in the space of `ImagePreprocess`; those beyond the 256 levels stay as they are, and so does noise within
    2^-15 of a level's border, which rounding to single precision may then not cross. Levels and noise are computed in
    double precision.

    Args:
        event_shape: shape (C, *sites) of one event.
        hidden: channels of the hidden convolutions in one residual block.
        residual_blocks: number of residual blocks of the first convolution; those of later turns have one.
        padding: "zeros" between open borders, "circular" on a periodic lattice.
    """

    of_angles = False

    def __init__(
        self, event_shape: tuple[int, ...], hidden: HiddenChannels = (48,), residual_blocks: ResidualBlocks = 2,
        padding: Padding = "zeros",
    ) -> None:  # fmt: skip
        super().__init__(event_shape)
        channels, *sites = event_shape
        self.transform = _UnitSpline(bins=2, bound=0.5 - 2 * MARGIN)
        turns = (_first_channel_even, _first_channel, _first_channel_or_even) if channels > 1 else (even_sites,)
        self.before: Any = nn.ModuleList(Masked(event_shape, mask) for mask in turns)
        read = (1 + len(sites)) * channels
        self.networks: Any = nn.ModuleList(
            ResidualConv(
                (read + noise, *sites), event_shape, self.transform.n_params,
                hidden=hidden, blocks=blocks, padding=padding,
            )
            for noise, blocks in [(0, residual_blocks), *[(channels, 1)] * len(turns)]
        )  # fmt: skip
        self.circular = padding == "circular"
        self.radii = [1 + residual_blocks, *[2] * len(turns)]

    @property
    def receptive_kernel(self) -> tuple[int, ...]:
        """The combined window of all networks, and one more pixel on each side."""
        return (3 + 2 * sum(self.radii),) * (len(self.event_shape or ()) - 1)

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None) -> tuple[Tensor, Tensor]:
        """Map the noise of each pixel, or map it back."""
        values = LEVELS * unsqueezed(x.double()) + MARGIN
        features = self._features(values.floor()).to(x.dtype)
        params = self.networks[0](features)
        mapped = self._map_noise(values, params, inverse)
        for before, network in zip(self.before, self.networks[1:], strict=True):
            known = NOISE_SCALE * before.confine(values - values.floor() - 0.5 if inverse else mapped[0], 0, sites)
            later = self._map_noise(values, params + network(torch.cat([features, known.to(x.dtype)], 1)), inverse)
            pairs = zip(mapped, later, strict=True)
            mapped = [before.confine(a, 0, sites) + before.confine(b, 1, sites) for a, b in pairs]
        noise, slope = mapped
        is_level, level = _are_levels(values), values.floor()
        y = torch.logit(squeezed((torch.where(is_level, level, 0) + noise + 0.5 - MARGIN) / LEVELS))
        slope = slope + log_slope(x.double()) - log_slope(y)
        slope = torch.where(is_level, slope, 0).to(log_det_dtype(x))
        return torch.where(is_level, y.to(x.dtype), x), slope.sum(1)

    def _map_noise(self, values: Tensor, params: Tensor, inverse: bool) -> Sequence[Tensor]:
        """The mapped noise, from -1/2 to 1/2, and the logarithms of slopes; beyond the levels noise stays as it is."""
        u = values - values.floor() - 0.5
        noise, slope = map_variables(self.transform, u, params.double(), inverse)
        return torch.where(_are_levels(values), noise, u), slope

    def _features(self, levels: Tensor) -> Tensor:
        """The levels, and differences of the neighbours of each pixel along each axis, as channels of moderate size."""
        dims = levels.ndim - 2
        padded = pad(levels, (1, 1) * dims, "circular" if self.circular else "replicate")

        def part(axis: int, where: slice) -> Tensor:
            return padded[(..., *(where if a == axis else slice(1, -1) for a in range(dims)))]

        steps = [torch.asinh(part(axis, slice(2, None)) - part(axis, slice(-2))) for axis in range(dims)]
        return torch.cat([part(-1, slice(1, -1)) / 64 - 2, *steps], dim=1)


def _are_levels(values: Tensor) -> Tensor:
    """True where values are within the 256 levels."""
    return (values >= 0) & (values < LEVELS)


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
