"""The Ising model as a continuous field, and its exact partition function in two dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mera._utils.checks import check_flag, check_positive, is_integer
from mera._utils.errors import InputError
from mera.physics.action import Action, laplacian, register

CRITICAL_TEMPERATURE = 2 / math.log(1 + math.sqrt(2))
"""The critical temperature of the square lattice, in units of the coupling between spins (Onsager 1944)."""


@register("ising")
@dataclass(frozen=True)
class Ising(Action):
    r"""The ferromagnetic Ising model on a periodic lattice, as a continuous field (Hubbard-Stratonovich).

    .. math:: S = \frac{1}{2} \phi^T K^{-1} \phi - \sum_x \ln \cosh \phi(x), \qquad
        K = \frac{A}{T} + \left(\text{gap} - \lambda_{\min}(A / T)\right) 1

    with the adjacency matrix A of the lattice (NeuralRG, https://arxiv.org/abs/1802.02840). Given the field, spins
    :math:`\pm 1` are independent, of mean :math:`\tanh \phi(x)`; samplers draw and measure them. With `local=True` the
    field is :math:`\psi = K^{-1} \phi`, the spins plus Gaussian noise of covariance :math:`K^{-1}`:

    .. math:: S = \frac{1}{2} \psi^T K \psi - \sum_x \ln \cosh (K \psi)(x).

    Args:
        temperature: T, positive, in units of the coupling between spins.
        local: whether the field is the one with a local action.
        gap: the smallest eigenvalue of K, positive; with `local` on odd edges a lower bound, since K then has 2 d / T
            in place of :math:`-\lambda_{\min}`. A larger gap gives sharper spins in the local field.

    >>> round(Ising(temperature=2.0).log_z((8, 8)), 6)
    166.143583
    """

    temperature: float = CRITICAL_TEMPERATURE
    local: bool = False
    gap: float = 0.1

    is_even = True
    clusters_suffice = True

    def __post_init__(self) -> None:
        check_positive(self.temperature, "temperature")
        check_positive(self.gap, "gap")
        check_flag(self.local, "local")

    def eigenvalues(self, shape: Sequence[int]) -> Tensor:
        """The eigenvalues of K for all wave numbers of a lattice, (*shape), in double precision."""
        scaled = (2 * len(shape) - laplacian(tuple(shape))) / self.temperature  # of the adjacency matrix
        return scaled + self.gap - (-2 * len(shape) / self.temperature if self.local else scaled.min())

    def density(self, phi: Tensor) -> Tensor:
        """The contribution of each site to the action, (B, *shape), which depends on the whole field if not local."""
        if self.local:
            smooth = self._power(phi, 1)
            return (phi * smooth / 2 - _log_cosh(smooth)).sum(1)
        return (phi * self._power(phi, -1) / 2 - _log_cosh(phi)).sum(1)

    def _power(self, phi: Tensor, power: float) -> Tensor:
        """A power of K times phi."""
        axes = tuple(range(2, phi.ndim))
        scale = self.eigenvalues(phi.shape[2:]).pow(power).to(phi)
        return torch.fft.ifftn(torch.fft.fftn(phi, dim=axes) * scale, dim=axes).real

    @property
    def inverse_temperature(self) -> float:  # type: ignore[override]
        """1 / T."""
        return 1 / self.temperature

    def order_parameter(self, phi: Tensor) -> Tensor:
        r"""Draw spins :math:`\pm 1` with probabilities :math:`(1 \pm \tanh \phi) / 2`; phi is :math:`\psi` if local."""
        phi = self._power(phi, 1) if self.local else phi
        return torch.where(torch.rand_like(phi) < torch.sigmoid(2 * phi), 1.0, -1.0).to(phi)

    def embed(self, phi: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Spins that are drawn given the field; the field is then drawn anew, given the changed spins."""
        spins = self.order_parameter(phi)

        def field(signs: Tensor) -> Tensor:
            changed, noise = signs[:, None] * spins, torch.randn(phi.shape, dtype=torch.float64).to(phi)
            if self.local:  # a Gaussian of mean s and covariance 1 / K
                return changed + self._power(noise, -0.5)
            return self._power(changed, 1.0) + self._power(noise, 0.5)  # a Gaussian of mean K s and covariance K

        return spins[:, 0] / math.sqrt(self.temperature), field

    def energy(self, order: Tensor) -> Tensor:
        """The energy of spins (B, C, *shape), minus the sum of the products of neighbours, (B,)."""
        products = torch.stack([order * order.roll(-1, axis) for axis in range(2, order.ndim)])
        return -products.sum(0).flatten(1).sum(1)

    def log_z(self, shape: Sequence[int]) -> float:
        """The exact ln Z of the field on a lattice (L, L'), from Kaufman's solution; else a ValueError."""
        if len(shape) != 2:
            return super().log_z(shape)
        eigenvalues = self.eigenvalues(shape)
        n = math.prod(shape)
        shift = eigenvalues.mean().item()  # the diagonal of K; the diagonal of A is 0
        sign = -1 if self.local else 1  # of ln det K: the covariance is K, or its inverse if local
        gaussian = 0.5 * (n * math.log(2 * math.pi) + sign * eigenvalues.log().sum().item())
        return kaufman(shape, self.temperature) + gaussian - n * math.log(2) + n / 2 * shift


def kaufman(shape: Sequence[int], temperature: float) -> float:
    r"""The exact :math:`\ln Z` of the spins of the Ising model on a torus (Kaufman 1949, Phys. Rev. 76, 1232).

    Args:
        shape: the shape of the lattice, (L, L'); each edge at least 3, so that two sites share at most one bond.
        temperature: T, in units of the coupling between spins.

    Raises:
        ValueError: if the lattice is not two-dimensional, an edge is below 3, or the temperature is not positive.

    >>> round(kaufman((4, 4), 2.0), 6)
    17.105367
    """
    if len(shape) != 2 or not all(is_integer(edge) and edge >= 3 for edge in shape):
        raise InputError("a lattice of two dimensions, each at least 3", str(tuple(shape)))
    n, m = shape
    k = 1 / check_positive(temperature, "temperature")
    r = torch.arange(2 * n, dtype=torch.float64)
    log_sinh_2k = 2 * k + math.log(-math.expm1(-4 * k)) - math.log(2)
    log_cosh_2k = 2 * k + math.log1p(math.exp(-4 * k)) - math.log(2)
    log_ratio = 2 * log_cosh_2k - log_sinh_2k  # ln(cosh 2k / tanh 2k), which itself would overflow
    log_x = (log_ratio + (-(math.pi * r / n).cos() * math.exp(-log_ratio)).log1p()).clamp(min=0)
    gamma = log_x + (-(-2 * log_x).expm1()).sqrt().log1p()  # arcosh x
    gamma[0] = 2 * k + math.log(math.tanh(k))  # negative above the critical temperature
    half = m * gamma / 2
    log_cosh = half.abs() + torch.log1p((-2 * half.abs()).exp())  # of 2 cosh
    log_sinh = half.abs() + torch.log1p(-(-2 * half.abs()).exp())  # of 2 |sinh|
    odd, even = slice(1, None, 2), slice(0, None, 2)
    terms = torch.stack([log_cosh[odd].sum(), log_sinh[odd].sum(), log_cosh[even].sum(), log_sinh[even].sum()])
    signs = torch.tensor([1.0, 1.0, 1.0, math.copysign(1.0, gamma[0].item())], dtype=torch.float64)
    top = terms.max()
    total = top + (signs * (terms - top).exp()).sum().log()
    return n * m / 2 * (log_sinh_2k + math.log(2)) - math.log(2) + total.item()


def _log_cosh(x: Tensor) -> Tensor:
    """Compute ln cosh x without overflow."""
    return torch.logaddexp(x, -x) - math.log(2)
