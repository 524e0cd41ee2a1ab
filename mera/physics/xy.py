"""The XY model: angles on a lattice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mera._utils.checks import check_positive
from mera.physics.action import Action
from mera.physics.by_name import register


@register("xy")
@dataclass(frozen=True)
class XY(Action):
    r"""The XY model on a periodic lattice, a field of angles.

    .. math:: S = -\beta \sum_x \sum_\mu \cos(\theta(x + \mu) - \theta(x))

    Fields are angles in :math:`[-\pi, \pi)`. A flow of angles has the transform "circular-spline" and the prior
    "Uniform(low=-3.141592653589793, high=3.141592653589793)", as in `XY.flow_options`. Magnetisation and two-point
    function are measured on the unit vectors :math:`(\cos \theta, \sin \theta)`.

    Args:
        beta: the inverse temperature, positive, in units of the coupling; the transition in 2D is near 1.12.

    >>> XY.flow_options["transform"]
    'circular-spline'
    """

    beta: float = 1.0

    is_even = True
    is_compact = True
    flow_options: ClassVar[Mapping[str, Any]] = {
        "transform": "circular-spline",
        "prior": f"Uniform(low={-math.pi}, high={math.pi})",
    }

    def __post_init__(self) -> None:
        check_positive(self.beta, "beta")

    def density(self, phi: Tensor) -> Tensor:
        """The contribution of each site to the action, (B, *shape)."""
        total = torch.zeros_like(phi)
        for axis in range(2, phi.ndim):
            total = total - self.beta * (phi.roll(-1, axis) - phi).cos()
        return total.sum(1)

    def order_parameter(self, phi: Tensor) -> Tensor:
        """The unit vectors of the angles, (B, 2, *shape) for one channel."""
        return torch.cat([phi.cos(), phi.sin()], dim=1)

    def log_z(self, shape: Sequence[int]) -> float:
        r"""The exact :math:`\ln Z` of a chain (L,), :math:`\ln \sum_n (2 \pi I_n(\beta))^L`; else a ValueError."""
        if len(shape) != 1:
            return super().log_z(shape)
        from scipy.special import ive  # imported late, since `import mera` is to stay light

        n = torch.arange(math.ceil(40 + 12 * self.beta**0.5), dtype=torch.float64)  # larger orders do not count
        logs = shape[0] * (torch.from_numpy(ive(n.numpy(), self.beta)).log() + self.beta + math.log(2 * math.pi))
        return torch.cat([logs, logs[1:]]).logsumexp(0).item()
