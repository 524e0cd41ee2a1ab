"""Bijectors of angles: couplings by splines on the circle (Rezende et al. 2020, https://arxiv.org/abs/2002.02428)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.bijectors.base import Bijector
from mera.bijectors.prior import Prior
from mera.bijectors.spline import RationalQuadratic
from mera.bijectors.univariate import Univariate


def wrap(angle: Tensor) -> Tensor:
    r"""Wrap angles modulo :math:`2 \pi` into :math:`[-\pi, \pi)`.

    Args:
        angle: angles in radians, of any shape.

    >>> wrap(torch.tensor([0.5, 4.0, -7.0]))
    tensor([ 0.5000, -2.2832, -0.7168])
    """
    wrapped = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    if angle.dtype == torch.float64:
        return torch.where(wrapped >= math.pi, -math.pi, wrapped)
    end = float(np.nextafter(np.float32(math.pi), np.float32(0)))  # float32 rounds pi up
    return wrapped.clamp(-end, end)


class CircularSpline(RationalQuadratic):
    r"""A monotone rational-quadratic spline with equal slopes at :math:`\pm \pi`, then a rotation of the circle.

    Each variable has 3 K + 1 parameters: K for the widths of the bins, K for their heights, K for the slopes at the
    knots, where the two ends count as one, and r for the angle of the rotation, :math:`2 \pi \tanh(r / 2 \pi)`, which
    stays exact for any r. Angles are wrapped to :math:`[-\pi, \pi)`.

    Args:
        bins: K, 2 or more.
    """

    of_angles = True

    def __init__(self, bins: int = 8) -> None:
        super().__init__(bins, math.pi)
        self.n_params = 3 * self.bins + 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the spline, then the rotation."""
        y, log_slope = super().forward(wrap(x), params[:, :-1])
        return wrap(y + _rotation(params)), log_slope

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the rotation, then the spline."""
        x, log_slope = super().inverse(wrap(y - _rotation(params)), params[:, :-1])
        return wrap(x), log_slope

    def _ends(self, slopes: Tensor) -> Tensor:
        """Repeat the parameter of the first knot at the last knot, along dimension 1: K to K + 1 knots."""
        return torch.cat([slopes, slopes[:, :1]], dim=1)


def _rotation(params: Tensor) -> Tensor:
    """The angle of the rotation, within two turns, from the last parameter."""
    return 2 * math.pi * torch.tanh(params[:, -1] / (2 * math.pi))


def check_angles(bijectors: Mapping[str, Bijector], prior: Prior) -> bool:
    """Return whether bijectors act on angles; refuse bijectors and a prior of real numbers together with them.

    Angles that become real numbers on the way to the latents, or the reverse, have no normalised density. The names of
    bijectors are those of nodes.
    """
    of_angles: dict[str, bool | None] = {}
    for name, bijector in bijectors.items():
        parts = [part for part in bijector.modules() if isinstance(part, (Bijector, Univariate))]
        declared = {part.of_angles: type(part).__name__ for part in parts if part.of_angles is not None}
        if len(declared) == 2:
            expected = f"parts of angles alone in node {name!r}, as with norm=False and mix_channels=False"
            raise InputError(expected, f"{declared[True]} beside {declared[False]}, which acts on real numbers")
        of_angles[name] = next(iter(declared), None)
    first, other = (next((name for name, value in of_angles.items() if value is kind), None) for kind in (True, False))
    if first is None:
        return False
    if not prior.of_angles:
        examples = "VonMises(loc=0, concentration=1) or Uniform(low=-3.141592653589793, high=3.141592653589793)"
        got = "one on [{:g}, {:g}]".format(*prior.support)
        raise InputError(f"a prior of angles, such as {examples}, for the bijector of angles {first!r}", got)
    if other is not None:
        raise InputError(f"bijectors of angles together with node {first!r}", f"one of real numbers, node {other!r}")
    return True
