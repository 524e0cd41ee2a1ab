"""The correlation length by a fit of the two-point function of time slices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera.physics.action import Periodic
from mera.physics.estimate import Report
from mera.physics.markov_chains import judged
from mera.physics.measured import Averaging, ChainAverage, Measured, WeightedAverage
from mera.physics.observables import periodic_axes, slice_means, two_point
from mera.physics.verdicts import pareto_k, verdict_on_weights
from mera.sampling.verdict import Trust, Verdict, least_trusted, worst

MIN_FIELDS = 16
"""The fewest fields."""
SHIFT, MAX_DRIFT, STEADY = 2, 3.0, 1.5
"""How much farther a second fit begins; and the largest change of the length, in errors, that is called steady, and at
which a distance is chosen."""
STEP = 1e-3
"""The change of the two-point function, in errors, from which the slopes of the length are taken."""
MASSES = 1e-3, 20.0
"""The smallest and the largest inverse correlation length, in units of the inverse lattice constant."""


@dataclass(frozen=True, repr=False)
class CorrelationLength:
    r"""A correlation length, from a fit of :math:`A \cosh((t - T / 2) / \xi)` to the two-point function of slices.

    Args:
        value: the correlation length, in lattice constants.
        error: its standard error, by the Gamma method along chains.
        first: the first distance of the fit.
        drift: the change of the length if the fit begins two sites farther, in units of the error of that change. The
            sum of squared deviations from the fit would say little: points of one ensemble deviate together.
        correlator: the two-point function of slices for t = 0 to T / 2 and its errors, (T / 2 + 1,) each.
        fit: the fit at the same distances.
        masses: the effective masses :math:`\mathrm{arcosh}((C(t - 1) + C(t + 1)) / 2 C(t))` for t = 1 to T / 2 - 1 and
            their errors; NaN where noise makes the ratio smaller than 1. On a plateau they are :math:`1 / \xi`.
        draws: the verdict on the draws: that of the measurement, and that on the length along its chains.
    """

    value: float
    error: float
    first: int
    drift: float
    correlator: tuple[Tensor, Tensor]
    fit: Tensor
    masses: tuple[Tensor, Tensor]
    draws: Verdict

    @property
    def verdict(self) -> Verdict:
        """The verdict on the length and its error: the worse one of those on the draws and on the fit."""
        smallest, largest = (1 / mass for mass in reversed(MASSES))
        change = f"from distance {self.first + SHIFT} on, the fit changes by {abs(self.drift):.1f} errors"
        if not (self.error < self.value and 1.1 * smallest < self.value < 0.9 * largest):
            fit = Verdict(Trust.MEANINGLESS, "noise hides how the two-point function falls")
        elif not abs(self.drift) <= MAX_DRIFT:
            reason = f"the two-point function is not a hyperbolic cosine from distance {self.first} on: {change}"
            fit = Verdict(Trust.WRONG, reason)
        else:
            fit = Verdict(Trust.GOOD, f"the fit from distance {self.first} on is steady: {change}")
        return least_trusted(fit, self.draws)

    def _repr_png_(self) -> bytes:
        """The two-point function of slices with its fit, and effective masses."""
        from mera.analysis.drawing.physics import correlation_figure  # late: matplotlib takes a second

        return correlation_figure(self)._repr_png_()

    def __repr__(self) -> str:
        """The length with its error, and the verdict."""
        return f"correlation length {self.value:.4g} +- {self.error:.2g}\n{self.verdict}"


@torch.no_grad()
def correlation_length(fields: Measured | Tensor, first: int | None = None) -> CorrelationLength:
    r"""Fit the decay of the two-point function of slices, whose momentum across the slice is zero.

    With :math:`M(t)` the mean of a field over a slice across one direction,

    .. math:: C(t) = \langle M(s) M(s + t) \rangle \to A \cosh((t - T / 2) / \xi),

    averaged over s and over the longest periodic directions, of length T. For a free field this is exact
    at all t, with :math:`\cosh(1 / \xi) = 1 + m^2 / 2`. The fit holds where the mean of the field vanishes: not in an
    ordered phase, where C tends to a constant. Errors are those of the averages of the measurement, propagated to the
    length by linear expansion.

    Args:
        fields: a measurement that keeps fields (`every=`), whose verdict the length inherits; or fields of a periodic
            lattice along one chain, (N, C, *shape), in the order of the draws.
        first: the first distance of the fit, at least 0, as higher states spoil small distances; None for the first
            from which the fit is steady.

    Raises:
        ValueError: if there are fewer than 16 fields, or 8 of a chain, or fewer than five distances to fit.

    >>> import torch
    >>> from mera import physics
    >>> chain = physics.hmc((1, 8, 8), physics.FreeField(1.0), draws=200, every=1)
    >>> found = physics.correlation_length(chain)
    >>> abs(found.value - 1.04) < 4 * found.error  # 1 / arcosh(1.5)
    True
    """
    inherited: dict[str, Verdict] = {}
    periodic: Periodic = True
    averaging: Averaging = ChainAverage()
    shape = (-1, 1)
    if isinstance(fields, Measured):
        inherited["the measurement"] = fields.verdict
        periodic, averaging = fields.periodic, fields.averaging
        shape = (-1, *next(iter(fields.history.values())).shape[1:])
        if isinstance(fields, Report):  # of whose samples some are kept
            weights = fields.field_log_weights
            averaging = WeightedAverage(weights.softmax(0))
            inherited["the weights"] = verdict_on_weights(weights, pareto_k(weights))
        fields = fields.fields
    if fields.ndim < 3 or len(fields) < MIN_FIELDS or not fields[0].numel():
        raise InputError(f"at least {MIN_FIELDS} fields (N, C, *shape)", str(tuple(fields.shape)))
    around = periodic_axes(periodic, fields.ndim - 2)
    length = max((fields.shape[axis] for axis in around), default=0)
    last = length // 2 - SHIFT - 2
    if last < 0:
        got = str(length or "no such direction")
        raise InputError(f"{2 * (SHIFT + 2)} sites or more along a periodic direction", got)
    if check_count(first or 0, "the first distance", 0) > last:
        expected = f"a first distance of at most {last} on {length} sites, or more sites along a periodic direction"
        raise InputError(expected, str(first))
    if not fields.isfinite().all():
        raise InputError("finite fields", "infinite values or NaN")
    directions = [axis for axis in around if fields.shape[axis] == length]
    slices = torch.stack([two_point(slice_means(fields.double(), axis)) for axis in directions]).mean(0).cpu()
    slices = slices.unflatten(0, shape)
    mean = torch.stack([averaging.average(column) for column in slices.unbind(-1)])
    centred = slices - mean
    errors = torch.tensor([averaging.error(column) for column in centred.unbind(-1)], dtype=torch.float64)
    if not (errors > 0).all():
        raise InputError("fields whose two-point function has errors", "fields that are all the same, or no channels")
    fits = _Fits(mean, errors, length)
    start, drift, influence = 0, math.inf, centred[..., 0]  # influence: how far each field changes the length
    for distance in range(last + 1) if first is None else [first]:
        slopes = fits.slopes(distance)
        change = fits.length(mean, distance + SHIFT) - fits.length(mean, distance)
        uncertainty = averaging.error(centred @ (fits.slopes(distance + SHIFT) - slopes))
        new = change / uncertainty if uncertainty else math.inf  # where a length is at the end of its range
        if abs(new) <= abs(drift):
            start, drift, influence = distance, new, centred @ slopes
        if abs(new) <= STEADY:
            break
    if isinstance(averaging, ChainAverage):
        inherited["the length"] = judged(averaging.weights * influence, 1.0).verdict
    value = fits.length(mean, start)
    ratio = (mean[:-2] + mean[2:]) / (2 * mean[1:-1])
    changes = (centred[..., :-2] + centred[..., 2:]) / (2 * mean[1:-1]) - ratio / mean[1:-1] * centred[..., 1:-1]
    ratio_errors = torch.tensor([averaging.error(column) for column in changes.unbind(-1)], dtype=torch.float64)
    return CorrelationLength(
        value=value,
        error=averaging.error(influence),
        first=start,
        drift=drift,
        correlator=(mean, errors),
        fit=fits.curve(mean, 1 / value, start),
        masses=(ratio.acosh(), ratio_errors / (ratio.square() - 1).sqrt()),  # if there were one exponential
        draws=worst(inherited),
    )


class _Fits:
    """Fits of a hyperbolic cosine to the two-point function of slices, (T / 2 + 1,), with its errors."""

    def __init__(self, mean: Tensor, errors: Tensor, length: int) -> None:
        self.mean, self.errors = mean, errors
        self.times = length / 2 - torch.arange(length // 2 + 1, dtype=torch.float64)
        self.inverse = (errors.min() / errors).square()  # relative, for fields of any size

    def curve(self, values: Tensor, mass: float, first: int) -> Tensor:
        """The hyperbolic cosine with the least squares from a first distance on, (T / 2 + 1,)."""
        end = self.times[first]  # where the cosine is 1 before it is scaled, so that it does not overflow
        shape = (mass * (self.times - end)).exp() * (1 + (-2 * mass * self.times).exp()) / (1 + (-2 * mass * end).exp())
        products = self.inverse * torch.stack([values * shape, shape.square()])
        above, below = products[:, first:].sum(1)
        return above / below * shape

    def length(self, values: Tensor, first: int) -> float:
        """The correlation length of a fit from a first distance on."""
        from scipy.optimize import minimize_scalar  # imported late, since `import mera` is to stay light

        def squares(log_mass: float) -> float:
            difference = values - self.curve(values, math.exp(log_mass), first)
            return (difference.square() * self.inverse)[first:].sum().item()

        bounds = [math.log(mass) for mass in MASSES]
        return math.exp(-minimize_scalar(squares, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x)

    def slopes(self, first: int) -> Tensor:
        """The derivatives of the length by the two-point function, (T / 2 + 1,)."""
        steps = torch.diag(STEP * self.errors)
        ends = [[self.length(self.mean + sign * step, first) for step in steps] for sign in (1, -1)]
        above, below = torch.tensor(ends, dtype=torch.float64)
        return (above - below) / (2 * STEP * self.errors)
