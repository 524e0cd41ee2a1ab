r"""Fields at the sites: the free field, :math:`\phi^4`, n components, uncoupled double wells, and angles (XY)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mera._utils.checks import check_count, check_flag, check_number, check_positive
from mera._utils.errors import InputError
from mera.bijectors.circular import wrap
from mera.physics.action import Action, Periodic, laplacian, neighbours, register


class _QuarticField(Action):
    """The base of fields with a mass and a quartic coupling of their length; 0 gives a free field."""

    mass2: float
    coupling: float = 0.0

    is_even = True

    def __post_init__(self) -> None:
        check_number(self.mass2, "mass2")
        check_positive(self.coupling, "coupling", or_zero=True)
        for flag in self.periodic if isinstance(self.periodic, tuple) and self.periodic else [self.periodic]:
            check_flag(flag, "periodic, for all directions or for each of them,")
        if self.coupling == 0 and self.mass2 <= 0:
            raise InputError("a positive mass2, or a positive coupling, for a bounded action", repr(self))

    def density(self, phi: Tensor) -> Tensor:
        """The contribution of each site to the action, (B, *shape)."""
        square = phi.square().sum(1)
        return neighbours(phi, self.periodic) / 2 + square * (self.mass2 / 2 + self.coupling * square)

    def embed(self, phi: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The components along a random direction, whose signs leave the lengths as they are (Wolff 1989)."""
        direction = normalize(torch.randn(*phi.shape[:2], *[1] * (phi.ndim - 2), dtype=torch.float64), dim=1).to(phi)
        component = (direction * phi).sum(1)
        return component, lambda signs: phi + ((signs - 1) * component)[:, None] * direction


@register("free")
@dataclass(frozen=True)
class FreeField(_QuarticField):
    r"""The free scalar field.

    .. math:: S = \sum_x \frac{1}{2} \sum_\mu (\phi(x + \mu) - \phi(x))^2 + \frac{1}{2} \text{mass2}\, \phi(x)^2

    Args:
        mass2: the squared mass, positive.
        periodic: see `Action`.

    >>> round(FreeField(mass2=1.25).log_z((8, 8)), 4)
    8.6083
    """

    mass2: float = 1.0
    periodic: Periodic = True

    def eigenvalues(self, shape: Sequence[int]) -> Tensor:
        r"""The eigenvalues of the quadratic form, :math:`\text{mass2} + \sum_\mu (2 - 2 \cos k_\mu)`, (*shape)."""
        return self.mass2 + laplacian(tuple(shape), self.periodic)

    def log_z(self, shape: Sequence[int]) -> float:
        r"""The exact :math:`\ln Z`, for one channel."""
        return 0.5 * (2 * math.pi / self.eigenvalues(shape)).log().sum().item()

    def phi2(self, shape: Sequence[int]) -> float:
        r"""The exact :math:`\langle \phi^2 \rangle`, the mean over the sites."""
        return self.eigenvalues(shape).reciprocal().mean().item()


@register("phi4")
@dataclass(frozen=True)
class Phi4(_QuarticField):
    r"""The scalar field with a quartic coupling, :math:`\phi^4`.

    .. math::
        S = \sum_x \frac{1}{2} \sum_\mu (\phi(x + \mu) - \phi(x))^2 + \frac{1}{2} \text{mass2}\, \phi(x)^2
        + \text{coupling}\, \phi(x)^4

    In two dimensions, a coupling of 0.25 is critical at
    mass2 = -1.2723 (Schaich and Loinaz 2009, https://arxiv.org/abs/0902.0045).

    Args:
        mass2: the squared mass, which may be negative.
        coupling: the coupling, positive; 0 gives the free field and needs a positive `mass2`.
        periodic: see `Action`.

    Raises:
        ValueError: if the action is not bounded from below.
    """

    mass2: float = -4.0
    coupling: float = 1.143
    periodic: Periodic = True

    @classmethod
    def from_hopping(cls, kappa: float, lam: float, dimensions: int = 2) -> Phi4:
        r"""Make the action from its hopping parameter, on a periodic lattice.

        .. math::
            S = \sum_x -2 \kappa \sum_\mu \varphi(x) \varphi(x + \mu) + \varphi(x)^2 + \lambda (\varphi(x)^2 - 1)^2

        Here :math:`\phi = \sqrt{2 \kappa}\, \varphi`, mass2 :math:`= (1 - 2 \lambda) / \kappa - 2 D` in D dimensions,
        and the coupling is :math:`\lambda / (4 \kappa^2)`. The constant :math:`\lambda` of each site is left out.

        >>> Phi4.from_hopping(kappa=0.25, lam=0.5)
        Phi4(mass2=-4.0, coupling=2.0, periodic=True)
        """
        check_positive(kappa, "kappa")
        check_positive(lam, "lambda", or_zero=True)
        check_count(dimensions, "a number of dimensions")
        return cls((1 - 2 * lam) / kappa - 2 * dimensions, lam / (4 * kappa**2))


@register("on")
@dataclass(frozen=True)
class ON(_QuarticField):
    r"""The linear O(n) model: `Phi4` for a field of n components, as many as the flow has channels.

    The action has lengths of vectors, :math:`|\phi(x + \mu) - \phi(x)|` and :math:`|\phi(x)|`, in the place of numbers.

    Args:
        n: the number of components; the other arguments, and the errors, are those of `Phi4`.
    """

    n: int = 2
    mass2: float = -1.0
    coupling: float = 0.25
    periodic: Periodic = True

    flow_options: ClassVar[Mapping[str, Any]] = {"frames": True}

    def __post_init__(self) -> None:
        check_count(self.n, "n")
        super().__post_init__()

    @property
    def channels(self) -> int:  # type: ignore[override]
        """The number of components."""
        return self.n


@register("double-well")
@dataclass(frozen=True)
class DoubleWell(Action):
    r"""A double well at each site, and no coupling between sites.

    .. math:: S = \sum_x \text{height}\, (\phi(x)^2 / \text{position}^2 - 1)^2

    Args:
        height: the height of the barrier at 0, positive, in units of the temperature.
        position: the distance of each minimum from 0, positive.
    """

    height: float = 4.0
    position: float = 1.0

    is_even = True

    def __post_init__(self) -> None:
        check_positive(self.height, "height")
        check_positive(self.position, "position")

    def density(self, phi: Tensor) -> Tensor:
        """The contribution of each site to the action, (B, *shape)."""
        return (self.height * (phi.square() / self.position**2 - 1).square()).sum(1)

    def log_z(self, shape: Sequence[int]) -> float:
        r"""The exact ln Z of one channel, :math:`\frac{\pi a}{2} e^{-h / 2} (I_{-1/4} + I_{1/4})(h / 2)` a site."""
        from scipy.special import ive

        h = self.height
        if h < 1e8:
            bessel = ive(-0.25, h / 2) + ive(0.25, h / 2)
        else:  # where scipy has no values, and the next term of the expansion is below rounding errors
            bessel = 2 / math.sqrt(math.pi * h) * (1 + 3 / (16 * h))
        return math.prod(shape) * math.log(math.pi * self.position / 2 * bessel)


@register("xy")
@dataclass(frozen=True)
class XY(Action):
    r"""The XY model on a periodic lattice, a field of angles.

    .. math:: S = -\beta \sum_x \sum_\mu \cos(\theta(x + \mu) - \theta(x))

    Fields are angles in :math:`[-\pi, \pi)`; a flow of angles has `XY.flow_options`. Magnetisation and two-point
    function are measured on the unit vectors :math:`(\cos \theta, \sin \theta)`.

    Args:
        beta: the inverse temperature, positive, in units of the coupling; the transition in 2D is near 1.12.

    >>> XY.flow_options["transform"]
    "circular-spline(peak='von-mises')"
    """

    beta: float = 1.0

    is_even = True
    is_compact = True
    clusters_suffice = True
    flow_options: ClassVar[Mapping[str, Any]] = {
        "transform": "circular-spline(peak='von-mises')",
        "prior": f"Uniform(low={-math.pi}, high={math.pi})",
    }

    def __post_init__(self) -> None:
        check_positive(self.beta, "beta")

    def density(self, phi: Tensor) -> Tensor:
        """The contribution of each site to the action, (B, *shape)."""
        links = [-self.beta * (phi.roll(-1, axis) - phi).cos() for axis in range(2, phi.ndim)]
        return reduce(torch.add, links).sum(1)

    def embed(self, phi: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The components of the unit vectors along a random direction (Wolff 1989, Phys. Rev. Lett. 62, 361)."""
        angle = math.pi * (2 * torch.rand(*phi.shape[:2], *[1] * (phi.ndim - 2), dtype=torch.float64) - 1).to(phi)
        mirrored = wrap(math.pi + 2 * angle - phi)
        component = math.sqrt(self.beta) * (phi - angle).cos().sum(1)
        return component, lambda signs: torch.where(signs[:, None] < 0, mirrored, phi)

    @property
    def observables(self) -> dict[str, Callable[[Tensor], Tensor]]:  # type: ignore[override]
        """`helicity_modulus`."""
        return {"helicity_modulus": self.helicity_modulus}

    def helicity_modulus(self, phi: Tensor) -> Tensor:
        r"""The number for each field (B, C, *shape), (B,), whose average is the helicity modulus.

        With the differences :math:`\Delta_\mu` of neighbours, it is the mean over the d directions :math:`\mu` of

        .. math:: \frac{1}{V} \Big(\sum_x \cos \Delta_\mu \theta - \beta (\sum_x \sin \Delta_\mu \theta)^2\Big)

        In two dimensions it jumps from :math:`2 / (\pi \beta)` to 0 at the transition of Kosterlitz and Thouless.
        """
        total = torch.zeros_like(phi[:, 0].flatten(1).sum(1))
        for axis in range(2, phi.ndim):
            difference = (phi.roll(-1, axis) - phi).flatten(1)
            total = total + difference.cos().sum(1) - self.beta * difference.sin().sum(1).square()
        return total / (phi.ndim - 2) / phi[0].numel()

    def order_parameter(self, phi: Tensor) -> Tensor:
        """The unit vectors of the angles, (B, 2, *shape) for one channel."""
        return torch.cat([phi.cos(), phi.sin()], dim=1)
