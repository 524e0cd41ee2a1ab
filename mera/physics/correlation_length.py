"""The correlation length by a fit of the two-point function of time slices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera.physics.measured import binned, jackknife_error
from mera.physics.observables import slice_means, two_point
from mera.physics.verdicts import Trust, Verdict, pareto_k, verdict_on_weights

BINS, MIN_FIELDS = 30, 16
"""The number of bins of the jackknife, and the fewest fields."""
SIGNIFICANT = 5.0
"""The number of standard errors from which a correlation of fields counts."""
SHIFT, MAX_DRIFT = 2, 3.0
"""How much farther a second fit begins, and the largest change of the length, in errors, that is called steady."""
MASSES = 1e-3, 20.0
"""The smallest and the largest inverse correlation length, in units of the inverse lattice constant."""


@dataclass(frozen=True, repr=False)
class CorrelationLength:
    r"""A correlation length, from a fit of :math:`A \cosh((t - T / 2) / \xi)` to the two-point function of slices.

    Args:
        value: the correlation length, in lattice constants.
        error: its standard error, by jackknife.
        first: the first distance of the fit.
        drift: the change of the length if the fit begins two sites farther, in units of the error of that change. The
            sum of squared deviations from the fit would say little: points of one ensemble deviate together.
        correlator: the two-point function of slices for t = 0 to T / 2 and its errors, (T / 2 + 1,) each.
        fit: the fit at the same distances.
        masses: the effective masses :math:`\mathrm{arcosh}((C(t - 1) + C(t + 1)) / 2 C(t))` for t = 1 to T / 2 - 1 and
            their errors; NaN where noise makes the ratio smaller than 1. On a plateau they are :math:`1 / \xi`.
        correlation: the largest significant correlation between fields of one chain in different bins, 0 if there is
            none; it makes errors too small.
        verdict_on_weights: the verdict on the weights of the fields; None without weights.
    """

    value: float
    error: float
    first: int
    drift: float
    correlator: tuple[Tensor, Tensor]
    fit: Tensor
    masses: tuple[Tensor, Tensor]
    correlation: float = 0.0
    verdict_on_weights: Verdict | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the length and its error can be trusted."""
        if self.verdict_on_weights is not None and self.verdict_on_weights.trust < Trust.GOOD:
            return self.verdict_on_weights
        if self.correlation:
            reason = f"fields of different bins are correlated by {self.correlation:.2f}"
            return Verdict(Trust.TOO_SMALL, reason)
        smallest, largest = (1 / mass for mass in reversed(MASSES))
        if not (self.error < self.value and 1.1 * smallest < self.value < 0.9 * largest):
            return Verdict(Trust.MEANINGLESS, "noise hides how the two-point function falls")
        change = f"from distance {self.first + SHIFT} on, the fit changes by {abs(self.drift):.1f} errors"
        if not abs(self.drift) <= MAX_DRIFT:
            reason = f"the two-point function is not a hyperbolic cosine from distance {self.first} on: {change}"
            return Verdict(Trust.WRONG, reason)
        return Verdict(Trust.GOOD, f"the fit from distance {self.first} on is steady: {change}")

    def _repr_png_(self) -> bytes:
        """The two-point function of slices with its fit, and effective masses."""
        from mera.analysis.drawing.physics import correlation_figure  # late: matplotlib takes a second

        return correlation_figure(self)._repr_png_()

    def __repr__(self) -> str:
        """The length with its error, and the verdict."""
        return f"correlation length {self.value:.4g} +- {self.error:.2g}\n{self.verdict}"


@torch.no_grad()
def correlation_length(
    fields: Tensor, first: int = 2, log_weights: Tensor | None = None, chains: int = 1
) -> CorrelationLength:
    r"""Fit the decay of the two-point function of slices, whose momentum across the slice is zero.

    With :math:`M(t)` the mean of a field over a slice across one direction,

    .. math:: C(t) = \langle M(s) M(s + t) \rangle \to A \cosh((t - T / 2) / \xi),

    averaged over s and over the longest directions, of length T, of a periodic lattice. For a free field this is exact
    at all t, with :math:`\cosh(1 / \xi) = 1 + m^2 / 2`. The fit holds where the mean of the field vanishes: not in an
    ordered phase, where C tends to a constant. Errors are those of a jackknife over whole chains; chains are
    divided into equal parts if there are 15 or fewer.

    Args:
        fields: fields of a periodic lattice, (N, C, *shape), in the order of the draws, as `hmc` keeps them.
        first: the first distance of the fit, at least 0. Higher states spoil small distances.
        log_weights: the logarithms of the weights of the fields, as `Report.field_log_weights`, (N,).
        chains: the number K of chains, whose fields take turns; 1 for samples of a flow.

    Returns:
        The length with its error, the two-point function, effective masses, and a verdict; notebooks show a picture.

    Raises:
        ValueError: if there are fewer than 16 fields, fewer than five distances to fit, or not as many of each chain.

    >>> import torch
    >>> from mera import physics
    >>> chain = physics.hmc((1, 8, 8), physics.FreeField(1.0), chains=64, draws=20)
    >>> found = physics.correlation_length(chain.fields, first=0)  # the last field of each chain
    >>> abs(found.value - 1.04) < 4 * found.error  # 1 / arcosh(1.5)
    True
    """
    if fields.ndim < 3 or len(fields) < MIN_FIELDS or not fields[0].numel():
        raise InputError(f"at least {MIN_FIELDS} fields (N, C, *shape)", str(tuple(fields.shape)))
    if log_weights is not None and log_weights.shape != fields.shape[:1]:
        raise InputError(f"a log-weight for each of {len(fields)} fields", str(tuple(log_weights.shape)))
    if len(fields) % chains:
        raise InputError(f"the same number of fields of each of {chains} chains", f"{len(fields)} fields")
    length = max(fields.shape[2:])
    check_count(first, "the first distance", 0)
    if length // 2 + 1 - first < SHIFT + 3:
        raise InputError(f"at least {SHIFT + 3} distances from {first} on", f"{max(0, length // 2 + 1 - first)}")
    if not fields.isfinite().all() or (log_weights is not None and not log_weights.softmax(0).isfinite().all()):
        raise InputError("finite fields, with weights of which one is not 0", "infinite values or NaN")
    weights = torch.ones(len(fields)) if log_weights is None else (log_weights - log_weights.max()).exp()
    weights = weights.double().cpu()
    directions = [axis for axis in range(2, fields.ndim) if fields.shape[axis] == length]
    slices = torch.stack([two_point(slice_means(fields.double(), axis)) for axis in directions]).mean(0)
    products = slices.cpu() * weights[:, None]
    per_chain = max(1, min(BINS, len(fields)) // chains)
    sizes, bins = (binned(values.unflatten(0, (-1, chains)), per_chain) for values in (weights, products))
    mean = bins.sum(0) / sizes.sum()
    centred = (products[:, first] - mean[first] * weights).unflatten(0, (-1, chains))
    left_out = (bins.sum(0) - bins) / (sizes.sum() - sizes)[:, None]
    errors = jackknife_error(left_out)
    if not (errors > 0).all():
        raise InputError("fields whose two-point function has errors", "fields that are all the same, or no channels")
    times = torch.arange(length // 2 + 1, dtype=torch.float64) - length / 2
    inverse = (errors.min() / errors).square()  # relative, for fields of any size
    rows = (mean, *left_out)
    lengths, later = (
        1 / torch.tensor([_mass(row[start:], times[start:], inverse[start:]) for row in rows], dtype=torch.float64)
        for start in (first, first + SHIFT)
    )
    fit = _shape(1 / lengths[0], times)
    fit = fit * _amplitude(mean[first:], fit[first:], inverse[first:])
    change = later - lengths
    curves = torch.stack(rows)
    effective = torch.acosh((curves[:, :-2] + curves[:, 2:]) / (2 * curves[:, 1:-1]))  # if there were one exponential
    return CorrelationLength(
        value=lengths[0].item(),
        error=jackknife_error(lengths[1:]).item(),
        first=first,
        drift=(change[0] / jackknife_error(change[1:])).item(),
        correlator=(mean, errors),
        fit=fit,
        masses=(effective[0], jackknife_error(effective[1:])),
        correlation=0.0 if per_chain == 1 else _correlation(centred, len(centred) // per_chain),
        verdict_on_weights=None if log_weights is None else verdict_on_weights(log_weights, pareto_k(log_weights)),
    )


def _correlation(values: Tensor, least: int) -> float:
    """The largest correlation of values of chains, (draws, K), at distances from `least` on; 0 if it may be noise."""
    n = len(values)
    covariance = torch.fft.irfft(torch.fft.rfft(values, n=2 * n, dim=0).abs().square(), n=2 * n, dim=0)[:n].sum(1)
    correlation = covariance / covariance[0]
    largest = correlation[max(least, 1) : n // 2 + 1].max().item() if n > 2 * least else 0.0
    return largest if largest > SIGNIFICANT / math.sqrt(values.numel()) else 0.0


def _shape(mass: Tensor, times: Tensor) -> Tensor:
    """The hyperbolic cosine, divided by its value at distance 0 so that it does not overflow."""
    ends = mass * times.abs().max()
    return torch.exp(mass * times.abs() - ends) * (1 + torch.exp(-2 * mass * times.abs())) / (1 + torch.exp(-2 * ends))


def _amplitude(values: Tensor, shape: Tensor, inverse: Tensor) -> Tensor:
    """The factor of the shape with the least squares."""
    return (inverse * values * shape).sum() / (inverse * shape.square()).sum()


def _mass(values: Tensor, times: Tensor, inverse: Tensor) -> float:
    """The inverse correlation length with the least squares; the amplitude is that of `_amplitude`."""
    from scipy.optimize import minimize_scalar  # imported late, since `import mera` is to stay light

    def squares(log_mass: float) -> float:
        shape = _shape(torch.tensor(math.exp(log_mass), dtype=torch.float64), times)
        return ((values - _amplitude(values, shape, inverse) * shape).square() * inverse).sum().item()

    found = minimize_scalar(squares, bounds=[math.log(mass) for mass in MASSES], method="bounded")
    return math.exp(found.x)
