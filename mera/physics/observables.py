"""What is measured on a field: means over fields, and quantities that are computed from such means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.physics.action import ActionLike, as_action

Observable = Callable[[Tensor], Tensor]
"""From fields (B, C, *shape) to a number for each field, (B,)."""
NAMES = (
    "m", "abs_m", "m2", "m4", "phi2", "energy", "susceptibility", "binder", "correlation_length", "correlator",
)  # fmt: skip
"""The names of what is measured on all fields."""


class Quantity(NamedTuple):
    """A measured quantity.

    Args:
        value: its value.
        error: its standard error.
    """

    value: float
    error: float

    def __str__(self) -> str:
        """The value and its error, both rounded to the second digit of the error.

        >>> str(Quantity(0.25839, 0.00061)), str(Quantity(12.0, 3.4))
        ('0.25839 +- 0.00061', '12.0 +- 3.4')
        """
        if not (math.isfinite(self.error) and self.error > 0):
            return f"{self.value:.6g} +- {self.error:.2g}"
        digits = max(0, 1 - math.floor(math.log10(self.error)))
        return f"{self.value:.{digits}f} +- {self.error:.{digits}f}"


class Observables:
    r"""What is measured on each field.

    For angles, the field below stands for their unit vectors.

    The means over the sites of a field are m (the magnetisation; its modulus for several channels), abs_m, m2, m4 (the
    powers of its modulus), phi2 (:math:`\phi^2`) and energy (the action for each site). Computed from averages are

    - susceptibility, :math:`V (\langle m^2 \rangle - \langle |m| \rangle^2)` for V sites;
    - binder, the cumulant :math:`1 - \langle m^4 \rangle / (3 \langle m^2 \rangle^2)`;
    - correlation_length, the second-moment definition :math:`\xi^2 = (G(0) / G(k) - 1) / (4 \sin^2(k / 2))` with the
      Fourier transform G of the two-point function and the smallest wave number k along the longest edges, for periodic
      lattices; NaN where noise makes :math:`\xi^2` negative.

    The two-point function :math:`\langle \phi(x) \phi(x + r) \rangle`, averaged over x and the directions, is measured
    for r up to half of the shortest edge.

    Args:
        action: the action.
        own: functions of your own by name, from fields (B, C, *shape) to numbers (B,).

    Raises:
        ValueError: if a function of your own has a name from above.
    """

    def __init__(self, action: ActionLike, own: Mapping[str, Observable] | None = None) -> None:
        for name in own or {}:
            if name in NAMES or name.startswith("_"):
                raise InputError("a name of an observable of your own that is not taken", repr(name))
        self.action, self.own = as_action(action), dict(own or {})
        self.periodic = self.action.periodic

    @torch.no_grad()
    def measure(self, phi: Tensor, action: Tensor | None = None) -> dict[str, Tensor]:
        """The observables of each field, in double precision on the CPU: (B,) each, and "correlator" (B, r).

        Args:
            phi: the fields, (B, C, *shape).
            action: their actions, (B,), if they are known.

        Raises:
            ValueError: if a function of your own returns another shape, or a value that is not finite.
        """
        axes = tuple(range(2, phi.ndim))
        sites = phi[0, 0].numel()
        value = self.action(phi) if action is None else action
        own = {name: function(phi) for name, function in self.own.items()}
        phi = self.action.order_parameter(phi)
        mean = phi.mean(axes)
        square = mean.square().sum(1)
        found = {
            "m": mean[:, 0] if phi.shape[1] == 1 else square.sqrt(),
            "abs_m": square.sqrt(),
            "m2": square,
            "m4": square.square(),
            "phi2": phi.square().sum(1).flatten(1).mean(1),
            "energy": value / sites,
        } | own
        for name in own:
            if not isinstance(found[name], Tensor) or found[name].shape != phi.shape[:1]:
                got = str(tuple(found[name].shape)) if isinstance(found[name], Tensor) else type(found[name]).__name__
                raise InputError(f"one number for each of {len(phi)} fields from the observable {name!r}", got)
            if not found[name].isfinite().all():
                raise InputError(f"finite values of the observable {name!r}", "some that are infinite or NaN")
        if self.periodic:
            longest = [axis for axis in axes if phi.shape[axis] == max(phi.shape[2:])]
            found["_structure"] = torch.stack([_first_mode(phi, axis) for axis in longest], 1).mean(1)
            found["correlator"] = _correlator(phi)
        return {name: values.double().cpu() for name, values in found.items()}

    def derived(self, sites: int, edge: int) -> dict[str, Callable[[Mapping[str, Tensor]], Tensor]]:
        """Functions of averages by the name of what they give.

        Args:
            sites: the number of sites of the lattice.
            edge: the number of sites along its longest edge.
        """
        functions: dict[str, Callable[[Mapping[str, Tensor]], Tensor]] = {
            "susceptibility": lambda mean: sites * (mean["m2"] - mean["abs_m"].square()),
            "binder": lambda mean: 1 - mean["m4"] / (3 * mean["m2"].square()),
        }
        if self.periodic:
            functions["correlation_length"] = lambda mean: (
                (mean["m2"] / mean["_structure"] - 1).sqrt() / (2 * math.sin(math.pi / edge))
            )
        return functions


@torch.enable_grad()
def summarize(
    series: Mapping[str, Tensor],
    functions: Mapping[str, Callable[[Mapping[str, Tensor]], Tensor]],
    average: Callable[[Tensor], Tensor],
    error: Callable[[Tensor], float],
) -> tuple[dict[str, Quantity], tuple[Tensor, Tensor] | None]:
    """Averages with their errors; the errors of functions of averages follow from their derivatives.

    Args:
        series: for each observable its values, (..., ) or (..., r).
        functions: functions of averages by name; see `Observables.derived`.
        average: the average of values.
        error: the standard error of the average of numbers, which are those of a function's linear expansion.

    Returns:
        The quantities by name; and the two-point function with its errors, (r,) each, if it was measured.
    """
    scalars = {name: values for name, values in series.items() if name != "correlator"}
    means = {name: average(values).detach().requires_grad_() for name, values in scalars.items()}
    found = {}
    for name, values in scalars.items():
        if not name.startswith("_"):
            found[name] = Quantity(means[name].item(), error(values - means[name].detach()))
    for name, function in functions.items():
        value = function(means)
        if not value.isfinite():
            found[name] = Quantity(value.item(), math.nan)
            continue
        slopes = torch.autograd.grad(value, list(means.values()), allow_unused=True)
        parts = [
            slope * (scalars[other] - means[other].detach())
            for other, slope in zip(means, slopes, strict=True)
            if slope is not None
        ]
        found[name] = Quantity(value.item(), error(torch.stack(parts).sum(0)))
    if "correlator" not in series:
        return found, None
    columns = series["correlator"].unbind(-1)
    values = torch.stack([average(column) for column in columns])
    errors = [error(column - mean) for column, mean in zip(columns, values, strict=True)]
    return found, (values, torch.tensor(errors, dtype=torch.float64))


def _first_mode(phi: Tensor, axis: int) -> Tensor:
    """|sum over sites of exp(i k x) phi|^2 / V^2 for the smallest wave number k along an axis, (B,)."""
    others = [other for other in range(2, phi.ndim) if other != axis]
    profile = phi.mean(others) if others else phi
    n = profile.shape[2]
    angle = 2 * math.pi * torch.arange(n, device=phi.device, dtype=phi.dtype) / n
    return ((profile * angle.cos()).mean(2).square() + (profile * angle.sin()).mean(2).square()).sum(1)


def _correlator(phi: Tensor) -> Tensor:
    """phi(x) phi(x + r), averaged over x and over the directions, summed over channels, (B, r)."""
    axes = range(2, phi.ndim)
    longest = min(phi.shape[axis] for axis in axes) // 2
    sites = phi[0, 0].numel()
    total = phi.new_zeros(len(phi), longest + 1)
    for axis in axes:
        spectrum = torch.fft.rfft(phi, dim=axis).abs().square()
        products = torch.fft.irfft(spectrum, n=phi.shape[axis], dim=axis).narrow(axis, 0, longest + 1)
        total += products.movedim(axis, -1).flatten(1, -2).sum(1) / sites
    return total / len(axes)
