"""A target: the density of an action on fields of one shape, checked once, with starts that see its phases."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mera._utils.checks import check_shape
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.bijectors.circular import wrap
from mera.flow.density import Density
from mera.physics.action import Action, ActionFamily, ActionLike, as_action, by_direction, is_differentiable
from mera.sampling.hamiltonian import START, Trajectories, short_run

DOUBLE = torch.empty(0, dtype=torch.float64)
"""A tensor of double precision on the CPU, whose dtype and device fields have unless they are those of a flow."""
PROBES, TRAJECTORIES = 16, 10
"""The number of fields on which an action is tried, and of the trajectories that lead from noise to half of them."""
RAY_SCALES = (1e3, 1e6, 1e9)
"""Factors that scale fields; an action that decreases from each factor to the next is not bounded from below."""
ROUNDING_ERRORS = 1e3
"""Two actions count as equal if they differ by less than this many rounding errors of their terms."""
SCALES, NOISE = (1.0, 0.5, 2.0), 0.1
"""The standard deviations of starts that are noise, one after the other, and of the noise on constant fields."""
LARGEST, GRID = 100.0, 801
"""The largest constant of the scan for wells, and the number of constants, which lie closer near 0."""
MOST_WELLS = 4
"""The most minima from which chains start, those of the least action."""
MAX_CHAINS, MIN_CHAINS, SNAPSHOTS = 64, 16, 4
"""The most and the fewest chains that check a flow, and the number of fields of each of these chains."""
MAX_VALUES = 2**18
"""The approximate upper limit of the numbers in a field of all chains that check a flow."""


@dataclass(frozen=True, eq=False)
class Target:
    r"""The density :math:`e^{-S} / Z` on fields of one shape: what a flow learns, and what samplers draw from.

    The action is checked when the target is made; see `laws_of`. Whatever takes an action takes a target in its place,
    and does not check it again.

    Args:
        action: the action S, from fields (B, C, *shape) to (B,); it becomes an `Action`.
        shape: the shape (C, *shape) of a field.
        like: a tensor whose dtype and device the fields have; double precision on the CPU by default.

    Attributes:
        is_differentiable: whether the action has a gradient, as Hamiltonian Monte Carlo needs.
        zero: the names of averages that a symmetry of the action forbids.

    Raises:
        ValueError: if the shape or the action is of another type, or a law of the action does not hold.
        FloatingPointError: if the action of a field is not finite.

    >>> from mera import physics
    >>> target = Target(physics.Phi4(-2.0, 0.25), (1, 4, 4))
    >>> target.zero, target.wells().abs().round(decimals=1).tolist()
    (['m'], [1.4, 1.4])
    """

    action: Action
    shape: tuple[int, ...]
    like: Tensor = DOUBLE

    def __post_init__(self) -> None:
        if isinstance(self.action, ActionFamily):
            expected = "one action of the family, family.at(...), and the flow at its context, flow.given(...)"
            raise InputError(expected, repr(self.action))
        object.__setattr__(self, "action", as_action(self.action))
        object.__setattr__(self, "shape", event_shape_of(self.shape))
        for law in laws_of(self.shape, self.action, self.like).values():
            law()

    @classmethod
    def of(cls, subject: object, action: ActionLike | Target, like: Tensor | None = None) -> Target:
        """The target of an action for a flow, or for the shape (C, *shape) of a field; of a target, the target itself.

        Fields have the dtype and device of the flow, or else those of `like`.

        Raises:
            ValueError: also if the flow takes a context, or has another domain or shape than the target.
        """
        shape = event_shape_of(subject)
        if isinstance(subject, Density):
            like = torch.empty(0, dtype=subject.dtype, device=subject.device)
        if not isinstance(action, Target):
            target = cls(action, shape, DOUBLE if like is None else like)  # type: ignore[arg-type]
        elif action.shape != shape:
            raise InputError(f"fields of the shape of the target, {action.shape}", str(shape))
        else:
            is_same = like is None or (like.dtype, like.device) == (action.like.dtype, action.like.device)
            target = action if is_same else cls(action.action, shape, like)  # type: ignore[arg-type]
        if isinstance(subject, Density):
            if subject.flow.needs_context:
                expected = "a flow without context beside an action (or flow.given(context), or an ActionFamily)"
                raise InputError(expected, f"one with context {subject.plan.context}")
            kinds, is_compact = ("real numbers", "angles"), target.action.is_compact
            if is_compact != subject.flow.of_angles:
                got = f"a flow of {kinds[not is_compact]} with the prior {subject.prior.family}"
                advice = ", as mera.build makes one with XY.flow_options" if is_compact else ""
                raise InputError(f"a flow of {kinds[is_compact]} for {target.action!r}{advice}", got)
        return target

    @property
    def noise(self) -> Tensor:
        """Fields of unit noise, (4, C, *shape), the same numbers at each call."""
        with fixed_seed(0):
            return torch.randn(4, *self.shape, dtype=torch.float64).to(self.like)

    @cached_property
    def is_differentiable(self) -> bool:  # noqa: D102
        return is_differentiable(self.action, self.noise)

    @cached_property
    def zero(self) -> list[str]:  # noqa: D102
        with fixed_seed(0):
            phi = 100 * torch.randn(1, *self.shape, dtype=torch.float64)  # so large that spins are certain
        action = self.action
        order = action.order_parameter(phi)
        is_odd = order.shape[1] == 1 and torch.allclose(action.order_parameter(-phi), -order)
        return ["m"] if action.is_even and is_odd else []

    @property
    def facts(self) -> dict[str, Any]:
        """The facts on which averages depend beside the draws, in values of JSON; measurements are compared by them."""
        return {
            "action": re.sub(r" at 0x[0-9a-f]+", "", repr(self.action)),
            "shape": list(self.shape),
            "dtype": str(self.like.dtype).removeprefix("torch."),
            "periodic": list(by_direction(self.action.periodic, len(self.shape) - 1)),
            "inverse_temperature": self.action.inverse_temperature,
            "zero": self.zero,
        }

    def fingerprint(self) -> Tensor:
        """The actions of the fields of `noise`, by which another action shows, (4,)."""
        return self.action(self.noise).detach()

    def log_prob(self, phi: Tensor) -> Tensor:
        """The log-density of fields (B, C, *shape) up to ln Z, (B,)."""
        return -self.action(phi)

    def in_domain(self, phi: Tensor) -> Tensor:
        """Wrap fields to [-pi, pi) for an action of angles, and return other fields unchanged."""
        return wrap(phi) if self.action.is_compact else phi

    def short_run(self, start: Tensor, snapshots: int = 1, warmup: int = START) -> Tensor:
        """Fields of short chains of Hamiltonian Monte Carlo from K fields, (snapshots * K, C, *shape).

        Each chain has a step of its own to the end, so that none stays in a start where the action is steep. Of angles
        fields come from cluster updates, if there are some, since trajectories keep the winding of a start.
        """
        if not (self.action.is_compact and self.action.clusters_suffice):
            moves: Any = Trajectories(self.log_prob, start, warmup=warmup, groups=len(start))
        else:
            from mera.physics.cluster import Clusters

            moves = Clusters(self, start, 0)
        return self.in_domain(short_run(moves, snapshots, warmup))

    def wells(self) -> Tensor:
        """The constants where the action of a constant field has a local minimum, at most 4, the lowest first.

        The field is the constant in the first channel and 0 in others. There are none where the action is not finite.
        """
        constants = (torch.linspace(-1, 1, GRID, dtype=torch.float64) * math.asinh(LARGEST)).sinh()
        fields = torch.zeros(GRID, *self.shape, dtype=torch.float64)
        fields[:, 0] = constants.view(-1, *(1 for _ in self.shape[1:]))
        actions = torch.cat([self.action(part.to(self.like)) for part in fields.split(64)])
        values = actions.double().cpu().nan_to_num(math.inf)
        inner = values[1:-1]
        lowest = (inner <= values[:-2]) & (inner < values[2:]) & inner.isfinite()
        found = constants[1:-1][lowest]
        return found[inner[lowest].argsort()][:MOST_WELLS]

    def starts(self, n: int) -> Tensor:
        """Over-dispersed fields, (n, C, *shape), the same on any device.

        Every second field is noise, of one of several scales. The others are constants with a little noise: minima of
        the action on constant fields and their images under its symmetries, a random direction of channels and, for
        angles, a random angle. A field whose action is not finite is unit noise instead.
        """
        action, shape, like = self.action, self.shape, self.like
        noise = torch.randn(n, *shape, dtype=torch.float64)
        ones = [1 for _ in shape[1:]]
        if action.is_compact:
            angles = math.pi * (2 * torch.rand(n, *shape, dtype=torch.float64) - 1)
            angles[1::2] = math.pi * (2 * torch.rand(len(angles[1::2]), shape[0], *ones, dtype=torch.float64) - 1)
            return angles.to(like)
        scales = torch.tensor([SCALES[i // 2 % len(SCALES)] for i in range(n)], dtype=torch.float64)
        fields = noise * scales.view(-1, 1, *ones)
        minima = self.wells()
        if len(minima):
            places = torch.arange(len(fields[1::2])) % len(minima)
            directions = torch.randn(len(places), shape[0], *ones, dtype=torch.float64)
            directions = normalize(directions, dim=1) if shape[0] > 1 else torch.ones_like(directions)
            fields[1::2] = minima[places].view(-1, 1, *ones) * directions + NOISE * noise[1::2]
        fields, noise = fields.to(like), noise.to(like)
        return torch.where(action(fields).isfinite().view(-1, 1, *ones), fields, noise)

    def is_dispersed(self, fields: Tensor) -> bool:
        """Return whether magnetisations of fields (K, C, *shape) spread half as far as those of `starts`, or more."""
        with fixed_seed(0):
            usual = self.starts(MIN_CHAINS)
            order = [self.action.order_parameter(x).flatten(2).mean(2) for x in (fields, usual)]
            spread = [x.var(0, correction=0).sum() for x in order]
        return bool(spread[0] >= spread[1] / 4)

    def typical(self) -> Tensor | None:
        """Fields of short chains from `starts`, (N, C, *shape), the same at each call; None without a gradient."""
        chains = max(MIN_CHAINS, min(MAX_CHAINS, MAX_VALUES // math.prod(self.shape)))
        with fixed_seed(0):
            return self.short_run(self.starts(chains), SNAPSHOTS) if self.is_differentiable else None


def event_shape_of(subject: object) -> tuple[int, ...]:
    """The shape (C, *shape) of a field of a flow, or a shape itself."""
    if isinstance(subject, Density):
        return tuple(subject.plan.input.event_shape)
    return check_shape(subject, "a flow, or the shape (C, *shape) of a field,", 2)


def laws_of(shape: Sequence[int], action: ActionLike, like: Tensor) -> dict[str, Callable[[], None]]:
    """The laws of an action by name, functions that raise an error where a law does not hold, in their order.

    Fields have the shape (C, *shape), and the dtype and device of `like`.
    """
    trial = _Trial(tuple(shape), as_action(action), like)
    action, equal = trial.action, trial.check_equal
    laws: dict[str, Callable[[], None]] = {
        "the field has the channels that the action declares": trial.check_channels,
        "one finite number for each field": trial.check_finite,
        "fields do not depend on each other": trial.check_independent,
        "a function of angles if and only if is_compact": trial.check_periods,
        "bounded from below, and Z is finite": trial.check_rays,
        "finite along a short chain": trial.check_chain,
    }
    if action.is_even:
        laws["is_even: S(-phi) = S(phi)"] = lambda: equal("is_even", "S(-phi) = S(phi)", action(-trial.fields))
    if type(action).density is not Action.density:
        laws["the density adds up to S"] = lambda: equal(
            "density", "a sum equal to S", action.density(trial.fields).flatten(1).sum(1)
        )
    # random states stay as they are, and no graph for gradients is made
    return {name: torch.inference_mode(False)(torch.no_grad()(fixed_seed(0)(law))) for name, law in laws.items()}


class _Trial:
    """The laws of an action at unit noise, half of it constant over the lattice, and at fields of a short chain."""

    def __init__(self, shape: tuple[int, ...], action: Action, like: Tensor) -> None:
        self.shape, self.action = shape, action
        with torch.inference_mode(False), fixed_seed(0):
            self.fields = torch.randn(PROBES, *shape, dtype=like.dtype).to(like)
            half = self.fields[PROBES // 2 :]
            half[:] = half.flatten(2)[:, :, 0].view(*half.shape[:2], *(1 for _ in shape[1:]))
        self.values = self.fields.new_empty(0)

    def check_channels(self) -> None:
        """Refuse a field of another number of channels, such as a shape from which the channels are missing."""
        channels = self.action.channels
        if channels is not None and self.shape[0] != channels:
            got = f"a field of shape {self.shape}, which has {self.shape[0]}: the shape is (channels, *lattice)"
            raise InputError(f"a field of {channels} channel{'s'[: channels - 1]} for {self.action!r}", got)

    def check_finite(self) -> None:
        """Refuse anything but one number for each field, infinite values and NaN."""
        values: object = self.action(self.fields)
        if not isinstance(values, Tensor) or values.shape != self.fields.shape[:1] or not values.is_floating_point():
            got = f"{values.dtype} {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise InputError(f"an action that returns one number for each field, floats ({len(self.fields)},)", got)
        if not values.isfinite().all():
            value = values[~values.isfinite()][0].item()
            raise FloatingPointError(f"Expected a finite action of each field; got {value}")
        self.values, largest = values, values.abs().max().item()
        if torch.finfo(values.dtype).eps * largest > 1:
            got = f"values of about {largest:.0e}: subtract a constant, or use double precision"
            raise InputError(f"an action whose differences {values.dtype} can hold", got)

    def check_independent(self) -> None:
        """Refuse an action of one field that depends on other fields of the batch, or on chance."""
        torch.rand(())  # advances the random state, so that an action with noise shows
        alone = torch.cat([self.action(field[None]) for field in self.fields])
        self.check_equal("", "an action of each field that depends neither on other fields nor on chance", alone)

    def check_rays(self) -> None:
        """Refuse an action that decreases without end along a ray, or does not grow; angles have no rays."""
        if self.action.is_compact:
            return
        n = math.prod(self.shape)
        positions = torch.arange(0, n, max(1, n // PROBES), device=self.fields.device)
        spikes = self.fields.new_zeros(len(positions), n).scatter_(1, positions[:, None], 1)  # 1 in one variable each
        fields = torch.cat([self.fields, spikes.view(-1, *self.shape)])
        far = torch.stack([self.action(scale * fields) for scale in (1.0, *RAY_SCALES)])
        falls = ((far[1:] < far[:-1]) | (far[1:] == -math.inf)).all(0)  # also where values have overflowed
        stays = (far[-1] - far[1]).abs() < math.log(RAY_SCALES[-1] / RAY_SCALES[0])
        for is_wrong, law in ((falls, "is bounded from below"), (stays, "grows with the field in every direction")):
            if is_wrong.any():
                number = is_wrong.nonzero()[0, 0]
                what = "a constant field" if PROBES // 2 <= number < PROBES else "a field"
                got = f"one that is {far[-1, number]:.4g} for {what} times {RAY_SCALES[-1]:g}: Z is infinite"
                raise InputError(f"an action that {law}", got)

    def check_chain(self) -> None:
        """Add fields of a short chain, and check that they are finite."""
        if is_differentiable(self.action, self.fields):
            moves = Trajectories(lambda phi: -self.action(phi), self.fields[: PROBES // 2], warmup=TRAJECTORIES)
            chain = short_run(moves, warmup=TRAJECTORIES)
            self.fields = torch.cat([self.fields, wrap(chain) if self.action.is_compact else chain])
        self.check_finite()

    def check_periods(self) -> None:
        """Compare the action before and after multiples of 2 pi are added to the variables."""
        turns = 2 * math.pi * torch.randint(-2, 3, self.fields.shape).to(self.fields)
        shifted = self.action(self.fields + turns)
        if self.action.is_compact:
            self.check_equal("is_compact", "S(phi + 2 pi) = S(phi)", shifted)
        elif ((shifted - self.values).abs() <= self._tolerance()).all():
            raise InputError(
                "an action that grows with the field, or is_compact = True for an action of angles",
                f"{self.action!r}, which is the same after 2 pi is added to a variable",
            )

    def _tolerance(self) -> Tensor:
        """The difference between two actions that rounding errors explain."""
        return ROUNDING_ERRORS * torch.finfo(self.values.dtype).eps * (self.values.abs() + math.prod(self.shape))

    def check_equal(self, name: str, expected: str, values: Tensor) -> None:
        """Refuse other values of the action than those of the fields, by what is expected or declares a name."""
        difference = (values - self.values).abs()
        excess = difference - self._tolerance()
        if excess.max() > 0 or difference.isnan().any():
            expected += f" for an action that declares {name}" if name else ""
            got = f"{difference.max().item():.3g} for an action of {self.values[excess.argmax()].item():.4g}"
            raise InputError(expected, f"a difference of {got}")
