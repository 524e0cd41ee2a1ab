"""Observables of fields: means over fields, and quantities of such means, with errors and verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mera._utils.checks import check_precise
from mera._utils.errors import InputError
from mera.physics.action import ActionLike, Periodic, as_action, by_direction
from mera.sampling.diagnostics import ROUNDING, Averaging

Observable = Callable[[Tensor], Tensor]
"""A function from fields (B, C, *shape) to a number for each field, (B,)."""
Average = Callable[[Mapping[str, Tensor]], Tensor]
"""A function from the averages of observables, by name, to a quantity."""
NAMES = (
    "m", "abs_m", "m2", "m4", "phi2", "energy", "susceptibility", "binder", "specific_heat", "correlation_length",
    "correlator",
)  # fmt: skip
"""The names of the built-in observables."""


class Quantity(NamedTuple):
    """A measured quantity: its value and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        """The value and its error, to the error's second digit.

        An error that is not finite, or below the rounding error of the value, is unknown; that of a constant is 0.

        >>> str(Quantity(0.25839, 0.00061)), str(Quantity(12.0, 3.4)), str(Quantity(2.2996, 1.7e-19))
        ('0.25839 +- 0.00061', '12.0 +- 3.4', '2.2996 +- unknown')
        """
        if self.error == 0:
            return f"{self.value:.6g} +- 0"
        if not (math.isfinite(self.error) and self.error > ROUNDING * abs(self.value)):
            return f"{self.value:.6g} +- unknown"
        digits = max(0, 1 - math.floor(math.log10(self.error)))
        return f"{self.value:.{digits}f} +- {self.error:.{digits}f}"


class Observables:
    r"""The observables that are measured on each field, or on its order parameter.

    docs/physics.md defines them, with an order parameter, such as the spins of `Ising`, in the place of :math:`\phi`.
    Of a single field there are m, abs_m, m2, m4, phi2 and energy; `averages_of` has those of averages. The two-point
    function is measured for r up to half of the shortest periodic edge. An action may have observables of its own
    (`Action.observables`).

    Args:
        action: the action.
        own: your own observables by name: functions from fields (B, C, *shape) to numbers (B,). They get the field
            itself, also where the order parameter is another.

    Raises:
        ValueError: if one of your own observables is not a function, or has a built-in name or a name that begins
            with "_".
    """

    def __init__(self, action: ActionLike, own: Mapping[str, Observable] | None = None) -> None:
        self.action = as_action(action)
        self.own = {**self.action.observables, **(own or {})}
        for name, function in self.own.items():
            if name in NAMES or name.startswith("_"):
                raise InputError("a name of an observable of your own that is not taken", repr(name))
            if not callable(function):
                raise InputError(f"a function from fields to numbers (B,) as observable {name!r}", repr(function))

    @torch.no_grad()
    def measure(self, phi: Tensor, action: Tensor | None = None) -> dict[str, Tensor]:
        """The observables of fields (B, C, *shape), in double precision on the CPU: (B,) each, and "correlator" (B, r).

        The actions of the fields, (B,), may be given if they are already computed.

        Raises:
            ValueError: if one of your own observables returns another shape, or a value that is not finite.
        """
        check_precise(phi.dtype, "observables of fields")
        axes = tuple(range(2, phi.ndim))
        sites = phi[0, 0].numel()
        field, phi = phi, self.action.order_parameter(phi)
        energy = self.action.energy(phi)
        if energy is None:
            energy = self.action(field) if action is None else action
        energy = energy.double() / sites
        squared = phi if self.action.is_compact else field
        mean = phi.mean(axes)
        square = mean.square().sum(1)
        values = {
            "m": mean[:, 0] if phi.shape[1] == 1 else square.sqrt(),
            "abs_m": square.sqrt(),
            "m2": square,
            "m4": square.square(),
            "phi2": squared.square().sum(1).flatten(1).mean(1),
            "energy": energy,
            "_energy2": energy.square(),
        }
        for name, function in self.own.items():
            result = function(field.clone())  # it may change its copy of the field
            if not isinstance(result, Tensor) or result.shape != phi.shape[:1]:
                got = str(tuple(result.shape)) if isinstance(result, Tensor) else type(result).__name__
                raise InputError(f"one number for each of {len(phi)} fields from the observable {name!r}", got)
            if result.is_complex():
                raise InputError(f"real numbers from the observable {name!r}", "complex ones: measure .real and .imag")
            if not result.isfinite().all():
                raise InputError(f"finite values of the observable {name!r}", "some that are infinite or NaN")
            values[name] = result
        if around := periodic_axes(self.action.periodic, phi.ndim - 2):
            longest = [axis for axis in around if phi.shape[axis] == max(phi.shape[axis] for axis in around)]
            power = torch.fft.fftn(phi, dim=axes).abs().square().sum(1) / sites**2
            products = torch.fft.ifftn(power, dim=tuple(range(1, power.ndim))).real * sites  # of sites at a distance
            distances = min(phi.shape[axis] for axis in around) // 2 + 1
            first = [_line(power, axis)[:, 1 % phi.shape[axis]] for axis in longest]  # of the smallest wave number
            values["_structure"] = torch.stack(first).mean(0)
            values["correlator"] = torch.stack([_line(products, axis)[:, :distances] for axis in around]).mean(0)
        return {name: value.double().cpu() for name, value in values.items()}

    def measure_parts(self, parts: Iterable[Tensor]) -> dict[str, Tensor]:
        """The observables of all fields of several batches; see `measure`."""
        measured = [self.measure(part) for part in parts]
        return {name: torch.cat([part[name] for part in measured]) for name in measured[0]}


def periodic_axes(periodic: Periodic, dimensions: int) -> list[int]:
    """The axes of fields (B, C, *shape) along which their lattice is periodic."""
    return [2 + d for d, is_periodic in enumerate(by_direction(periodic, dimensions)) if is_periodic]


def averages_of(shape: Sequence[int], periodic: Periodic, inverse_temperature: float) -> dict[str, Average]:
    """By name, the quantities of a lattice of this shape that are functions of the averages of the observables."""
    sites = math.prod(shape)
    functions: dict[str, Average] = {
        "susceptibility": lambda mean: sites * (mean["m2"] - mean["abs_m"].square()),
        "binder": lambda mean: 1 - mean["m4"] / (3 * mean["m2"].square()),
        "specific_heat": lambda mean: inverse_temperature**2 * sites * (mean["_energy2"] - mean["energy"].square()),
    }
    if around := periodic_axes(periodic, len(shape)):
        longest = max(shape[axis - 2] for axis in around)
        k_hat = 2 * math.sin(math.pi / longest)  # the lattice momentum of the smallest wave number
        functions["correlation_length"] = lambda mean: (mean["m2"] / mean["_structure"] - 1).sqrt() / k_hat
    return functions


def _line(values: Tensor, axis: int) -> Tensor:
    """The values (B, *shape) along an axis of fields (B, C, *shape), from the origin, (B, n)."""
    return values.movedim(axis - 1, 1).flatten(2)[:, :, 0] if values.ndim > 2 else values


class Averages:
    """Averages of observables with their errors, and functions of averages, whose errors are by linear expansion.

    Args:
        series: by name, the values of each observable, (...,), and of the two-point function, (..., r).
        averaging: how values are averaged, and the standard error of an average.

    Attributes:
        means: by name, the averages.
        scalars: the series of numbers, but for the two-point function.
        quantities: by name of these, the average and its standard error.
        correlator: the two-point function and its errors, (r,) each; None if it was not measured.
    """

    def __init__(self, series: Mapping[str, Tensor], averaging: Averaging) -> None:
        self.series, self.averaging = series, averaging
        self.means, self._centred = dict[str, Tensor](), dict[str, list[Tensor]]()
        self.scalars = {name: values for name, values in series.items() if name != "correlator"}
        errors: dict[str, list[float]] = {}
        for name, values in series.items():
            columns = values.unbind(-1) if name == "correlator" else (values,)
            means = [averaging.average(column) for column in columns]
            self.means[name] = torch.stack(means) if name == "correlator" else means[0]
            self._centred[name] = [
                torch.zeros_like(column) if is_constant(column, mean) else column - mean
                for column, mean in zip(columns, means, strict=True)
            ]
            errors[name] = [averaging.error(centred) for centred in self._centred[name]]
        self.quantities = {name: Quantity(self.means[name].item(), errors[name][0]) for name in self.scalars}
        self.correlator = None
        if "correlator" in series:
            self.correlator = self.means["correlator"], torch.tensor(errors["correlator"], dtype=torch.float64)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def of(self, function: Average) -> tuple[Quantity, list[str]]:
        """A function of the averages, and the names of those that it takes; none if noise makes it NaN."""
        leaves = {name: mean.clone().requires_grad_() for name, mean in self.means.items()}
        value = function(leaves)
        quantity = Quantity(value.item(), math.nan)
        if not value.isfinite():
            return quantity, []
        gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        slopes = {name: slope for name, slope in zip(leaves, gradients, strict=True) if slope is not None}
        terms = [
            slope * centred
            for name in slopes
            for slope, centred in zip(slopes[name].view(-1), self._centred[name], strict=True)
        ]
        total = torch.stack(terms).sum(0)
        if total.isfinite().all():  # not where a root is 0
            quantity = Quantity(value.item(), self.averaging.error(total))
        return quantity, list(slopes)


def is_constant(values: Tensor, mean: Tensor) -> bool:
    """Return whether values differ from their mean by rounding alone."""
    return bool((values - mean).abs().max() <= ROUNDING * mean.abs())
