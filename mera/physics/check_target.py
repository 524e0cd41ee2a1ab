"""Checks of an action, of what it declares, and of the flow that is to learn it, for samplers and training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from mera._utils.checks import check_shape, check_tensor
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.flow.density import Density
from mera.physics.action import Action, ActionLike, as_action, defines
from mera.physics.family import ActionFamily
from mera.physics.trajectories import DOUBLE, is_differentiable, like_of, short_run

PROBES, TRAJECTORIES = 16, 10
"""The number of fields on which an action is tried, and of the trajectories that lead from noise to half of them."""
FINGERPRINT_FIELDS = 4
"""The number of fields in a fingerprint."""
RAY_SCALES = (1e3, 1e6, 1e9)
"""Factors that scale fields; an action that decreases from each factor to the next is not bounded from below."""
ROUNDING_ERRORS = 1e3
"""Two actions count as equal if they differ by less than this many rounding errors of their terms."""


def check_target(flow: object, action: ActionLike, like: Tensor = DOUBLE) -> Action:
    """Check an action at random fields and at fields of a short chain, and that it suits a flow; return the `Action`.

    Fields have the dtype and device of the flow. The flow may also be the shape (C, *shape) of a field, and `like` then
    has the dtype and device. Random states are restored: a check changes no result.

    Raises:
        ValueError: if the flow or the action is of another type, the action does not return one number for each field,
            is not bounded from below, or has none of the properties that it declares (`Action.channels`, `is_even`,
            `is_compact`, `density`), or the flow takes a context or has another domain than the action.
        FloatingPointError: if the action of a field is not finite.
    """
    if isinstance(action, ActionFamily):
        expected = "one action of the family, family.at(...), and the flow at its context, flow.given(...)"
        raise InputError(expected, repr(action))
    shape, action = event_shape_of(flow), as_action(action)
    if isinstance(flow, Density):
        if flow.flow.needs_context:
            expected = "a flow without context beside an action (or flow.given(context), or an ActionFamily)"
            raise InputError(expected, f"one with context {flow.plan.context}")
        if action.is_compact != flow.flow.of_angles:
            expected, got = ("angles", "real numbers") if action.is_compact else ("real numbers", "angles")
            how = ", as mera.build makes one with XY.flow_options" if action.is_compact else ""
            got = f"a flow of {got} with the prior {flow.prior.family}"
            raise InputError(f"a flow of {expected} for {action!r}{how}", got)
        like = like_of(flow)
    for law in laws_of(shape, action, like).values():
        law()
    return action


def laws_of(shape: Sequence[int], action: ActionLike, like: Tensor) -> dict[str, Callable[[], None]]:
    """The laws of an action by name, functions that raise an error where a law does not hold, in their order.

    Fields have the shape (C, *shape), and the dtype and device of `like`.
    """
    trial = _Trial(tuple(shape), as_action(action), like)
    laws = {
        "the field has the channels that the action declares": trial.check_channels,
        "one finite number for each field": trial.check_finite,
        "fields do not depend on each other": trial.check_independent,
        "a function of angles if and only if is_compact": trial.check_periods,
        "bounded from below, and Z is finite": trial.check_rays,
        "finite along a short chain": trial.check_chain,
    }
    if trial.action.is_even:
        laws["is_even: S(-phi) = S(phi)"] = trial.check_even
    if defines(trial.action, "density"):
        laws["the density adds up to S"] = trial.check_density
    # random states stay as they are, and no graph for gradients is made
    return {name: torch.inference_mode(False)(torch.no_grad()(fixed_seed(0)(law))) for name, law in laws.items()}


def check_sampled(flow: object, action: ActionLike) -> Action:
    """Check a flow and an action, as `check_target` does; refuse anything but a flow with a density for every field."""
    if not isinstance(flow, Density):
        raise InputError("a flow", type(flow).__name__)
    action = check_target(flow, action)
    if not all(map(math.isinf, flow.prior.support)):  # a prior on an interval may give fields no density
        with torch.no_grad(), fixed_seed(0):
            noise = _random_fields(event_shape_of(flow), like_of(flow))
            missed = (flow.log_prob(_fields_of_a_chain(action, noise)) == -math.inf).double().mean().item()
        if missed:
            got = f"one that has none for {missed:.0%} of them, by its prior {flow.prior.family}"
            raise InputError("a flow with a density for every field of the target", got)
    return action


def noise_of(shape: Sequence[int], like: Tensor) -> Tensor:
    """Fixed fields of unit noise, (4, C, *shape), of the dtype and device of `like`; the same numbers at each call."""
    with fixed_seed(0):
        return torch.randn(FINGERPRINT_FIELDS, *shape, dtype=torch.float64).to(like)


def event_shape_of(flow: object) -> tuple[int, ...]:
    """The shape (C, *shape) of a field of a flow, or a shape itself."""
    if isinstance(flow, Density):
        return tuple(flow.plan.input.event_shape)
    return check_shape(flow, "a flow, or the shape (C, *shape) of a field,", 2)


def check_fields(fields: Tensor, event_shape: Sequence[int]) -> Tensor:
    """Return fields (K, C, *shape), and refuse an empty batch, another shape, or values that are not finite floats."""
    check_tensor("fields", fields, tuple(event_shape), None, "chains")
    if not fields.is_floating_point() or not len(fields) or not fields.isfinite().all():
        raise InputError("one field or more, of finite floats", f"{len(fields)} of {fields.dtype}")
    return fields


def _random_fields(shape: Sequence[int], like: Tensor) -> Tensor:
    """Fields of unit noise, half of them constant over the lattice."""
    x = torch.randn(PROBES, *shape, dtype=like.dtype).to(like)
    half = x[PROBES // 2 :]
    half[:] = half.flatten(2)[:, :, 0].view(*half.shape[:2], *(1 for _ in shape[1:]))
    return x


def _fields_of_a_chain(action: Action, fields: Tensor) -> Tensor:
    """Fields of short chains that start at the first half of the fields; none if the action has no gradient."""
    is_possible = is_differentiable(action, fields)
    return short_run(action, fields[: PROBES // 2], warmup=TRAJECTORIES) if is_possible else fields[:0]


class _Trial:
    """The laws of an action at random fields, to which `check_chain` adds fields of a short chain."""

    def __init__(self, shape: tuple[int, ...], action: Action, like: Tensor) -> None:
        self.shape, self.action = shape, action
        with torch.inference_mode(False), fixed_seed(0):
            self.fields = _random_fields(shape, like)
        self.values = self.fields.new_empty(0)

    def check_channels(self) -> None:
        """Refuse a field of another number of channels, such as a shape from which the channels are missing."""
        channels = self.action.channels
        if channels is not None and self.shape[0] != channels:
            got = f"a field of shape {self.shape}, which has {self.shape[0]}: the shape is (channels, *lattice)"
            raise InputError(f"a field of {channels} channel{'s'[: channels - 1]} for {self.action!r}", got)

    def check_finite(self) -> None:
        """Refuse anything but one number for each field, infinite values and NaN."""
        try:
            values: object = self.action(self.fields)
        except RuntimeError as error:
            with suppress(RuntimeError):
                self.action(self.fields.float())
                got = f"one of single precision, {error}: convert its tensors by x.to(phi), or the module by .double()"
                raise InputError(f"an action of fields of {self.fields.dtype}", got) from error
            raise
        if not isinstance(values, Tensor) or values.shape != self.fields.shape[:1] or not values.is_floating_point():
            got = f"{values.dtype} {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise InputError(f"an action that returns one number for each field, floats ({len(self.fields)},)", got)
        self.values = values
        if not self.values.isfinite().all():
            value = self.values[~self.values.isfinite()][0].item()
            raise FloatingPointError(f"Expected a finite action of each field; got {value}")
        largest = self.values.abs().max().item()
        if torch.finfo(self.values.dtype).eps * largest > 1:
            got = f"values of about {largest:.0e}: subtract a constant, or use double precision"
            raise InputError(f"an action whose differences {self.values.dtype} can hold", got)

    def check_independent(self) -> None:
        """Refuse an action of one field that depends on other fields of the batch, or on chance."""
        torch.rand(())  # so that an action that draws numbers draws others than before
        alone = torch.cat([self.action(field[None]) for field in self.fields[:2]])
        difference = (alone - self.values[:2]).abs()
        if not (difference <= self._tolerance()[:2]).all():
            expected = "an action of each field that depends neither on other fields nor on chance"
            raise InputError(expected, f"a difference of {difference.max().item():.3g}")

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
        if falls.any():
            numbers = ", ".join(f"{value:.4g}" for value in far[:, falls.nonzero()[0, 0]])
            scales = ", ".join(f"{scale:g}" for scale in RAY_SCALES)
            raise InputError("an action that is bounded from below", f"{numbers} for a field times 1, {scales}")
        stays = (far[-1] - far[1]).abs() < math.log(RAY_SCALES[-1] / RAY_SCALES[0])
        if stays.any():
            place = stays.nonzero()[0, 0]
            what = "a constant field" if PROBES // 2 <= place < PROBES else "a field"
            got = f"one that is {far[-1, place]:.4g} for {what} times {RAY_SCALES[-1]:g}: Z is infinite"
            raise InputError("an action that grows with the field in every direction", got)

    def check_chain(self) -> None:
        """Add fields of a short chain, and check that they are finite."""
        self.fields = torch.cat([self.fields, _fields_of_a_chain(self.action, self.fields)])
        self.check_finite()

    def check_periods(self) -> None:
        """Compare the action before and after multiples of 2 pi are added to the variables."""
        turns = 2 * math.pi * torch.randint(-2, 3, self.fields.shape).to(self.fields)
        difference = (self.action(self.fields + turns) - self.values).abs()
        if self.action.is_compact:
            self._refuse_unequal("is_compact", "S(phi + 2 pi) = S(phi)", difference)
        elif (difference <= self._tolerance()).all():
            raise InputError(
                "an action that grows with the field, or is_compact = True for an action of angles",
                f"{self.action!r}, which is the same after 2 pi is added to a variable",
            )

    def check_even(self) -> None:
        """Compare the actions of opposite fields."""
        self._refuse_unequal("is_even", "S(-phi) = S(phi)", (self.action(-self.fields) - self.values).abs())

    def check_density(self) -> None:
        """Compare the action with the sum of the contributions of the sites."""
        total = self.action.density(self.fields).flatten(1).sum(1)
        self._refuse_unequal("density", "a sum equal to S", (total - self.values).abs())

    def _tolerance(self) -> Tensor:
        """The difference between two actions that rounding errors explain."""
        return ROUNDING_ERRORS * torch.finfo(self.values.dtype).eps * (self.values.abs() + math.prod(self.shape))

    def _refuse_unequal(self, name: str, expected: str, difference: Tensor) -> None:
        """Refuse a declared property that differences between actions contradict."""
        excess = difference - self._tolerance()
        if excess.max() > 0 or difference.isnan().any():
            got = f"{difference.max().item():.3g} for an action of {self.values[excess.argmax()].item():.4g}"
            raise InputError(f"{expected} for an action that declares {name}", f"a difference of {got}")
