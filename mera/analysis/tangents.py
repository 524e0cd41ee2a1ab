"""Derivatives of generated data with respect to latents, inside the generation cones of the latents.

A pass from latents to data is linearised event by event: of each step, only the events are evaluated that the cone
touches. The cost of the field of a latent is therefore that of its cone, whatever the size of the lattice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from mera.bijectors.base import context_arguments
from mera.cones.cone import Cone, cone_of_latents
from mera.cones.indexing import event_tiling, map_inverse
from mera.graph import Apply, Step
from mera.run.executor import run_inverse
from mera.run.runner import Runner

__all__ = ["Linearization"]

ROWS = 2**22
"""The most numbers in the events that are evaluated together."""
MOST_KEPT = 2**26
"""The most numbers in the Jacobians of the events of a step that are kept."""


@dataclass(frozen=True)
class Tangents:
    """Derivatives of some variables of a value with respect to K latents, for S samples.

    Args:
        indices: the flat indices of the variables, sorted, (n,).
        values: the derivatives, (K, S, n).
    """

    indices: Tensor
    values: Tensor


class Linearization:
    """A pass from latents to data, with all values between the steps, along which derivatives are carried.

    Args:
        runner: the plan of a flow with its bijectors.
        z: latents, one tensor (S, C_h, *shape_h) for each level, finest first.
        context: the contexts of a conditional flow, (S, ...) or (1, ...).
        for_many: whether derivatives with respect to many latents are needed: the Jacobian of each event is then
            computed once and kept, unless that takes too much memory.
    """

    @torch.no_grad()
    def __init__(
        self, runner: Runner, z: Sequence[Tensor], context: Tensor | None = None, for_many: bool = False
    ) -> None:
        self._for_many = for_many
        self._jacobians: dict[Step, Tensor] = {}
        self.runner, self.plan, self.samples = runner, runner.plan, len(z[0])
        self._contexts = runner.contexts(context, z[0])
        values = {latent.value: level for latent, level in zip(self.plan.latents, z, strict=True)}
        run_inverse(self.plan, z, runner.inverse_transform(self._contexts), watch=values.__setitem__)
        self._rows = {number: value.movedim(1, -1).flatten(1) for number, value in values.items()}
        """By the number of each value, its variables in the order of flat indices, (S, variables)."""

    @property
    def data(self) -> Tensor:
        """The data, (S, C, *shape)."""
        shape = self.plan.input.shape
        return self._rows[0].unflatten(1, (*shape, self.plan.input.channels)).movedim(-1, 1)

    @torch.no_grad()
    def fields(self, level: int, index: Tensor) -> tuple[Cone, Tensor]:
        """The derivatives of the data with respect to latents of one level.

        Args:
            level: the level, 0 for the finest.
            index: the flat indices of K latents of the level, which are best close together.

        Returns:
            The generation cone of the latents, and the derivatives (K, S, n) of the n variables of the data in it.
        """
        cone = cone_of_latents(self.plan, {level: index})
        start = self.plan.latents[level].value
        carried = {}
        for h, latent in enumerate(self.plan.latents):
            reached = cone.reached[latent.value]
            values = self._rows[start].new_zeros(len(index), self.samples, len(reached))
            if h == level:
                values[torch.arange(len(index)), :, torch.searchsorted(reached, index)] = 1
            carried[latent.value] = Tangents(reached, values)
        for step in reversed(self.plan.steps):
            targets = [carried.pop(target) for target in step.targets]
            carried[step.source] = self._through(step, targets, cone.reached[step.source])
        return cone, carried[0].values

    def _through(self, step: Step, targets: list[Tangents], reached: Tensor) -> Tangents:
        """Carry derivatives from the outputs of a step to its input, whose variables in the cone are `reached`."""
        if not isinstance(step.operation, Apply):
            indices = map_inverse(step.operation, [target.indices for target in targets])
            values = torch.cat([target.values for target in targets], dim=-1)
            return Tangents(reached, values[..., indices.argsort()])
        (target,) = targets
        tiling = event_tiling(step.operation)
        positions, within, inside = tiling.locate(target.indices)
        events = positions[inside].unique()
        there, where, covered = tiling.locate(reached)
        values = target.values.new_zeros(*target.values.shape[:2], len(reached))
        if (~covered).any():  # sites that an open border cuts off from all patches
            stays = torch.searchsorted(target.indices, reached[~covered])
            values[..., ~covered] = target.values[..., stays]
        at_once = max(1, ROWS // (len(target.values) * self.samples * tiling.variables))
        for some in events.split(at_once) if len(events) else ():
            chosen = inside & torch.isin(positions, some)
            before = target.values.new_zeros(*target.values.shape[:2], len(some) * tiling.variables)
            before[..., torch.searchsorted(some, positions[chosen]) * tiling.variables + within[chosen]] = (
                target.values[..., chosen]
            )
            carry = self._by_jacobians if self._keeps_jacobians(step) else self._by_duals
            after = carry(step, some, before)
            found = covered & torch.isin(there, some)
            values[..., found] = after[..., torch.searchsorted(some, there[found]) * tiling.variables + where[found]]
        return Tangents(reached, values)

    def _keeps_jacobians(self, step: Step) -> bool:
        """Whether the Jacobians of all events of a step are computed once and kept."""
        size = self._rows[0].numel() * event_tiling(step.operation).variables  # type: ignore[arg-type]
        return self._for_many and size <= MOST_KEPT

    def _by_jacobians(self, step: Step, events: Tensor, tangents: Tensor) -> Tensor:
        """Carry derivatives (K, S, events * variables) through the inverse of a bijector, with kept Jacobians."""
        if step not in self._jacobians:
            self._jacobians[step] = self._all_jacobians(step)
        jacobians = self._jacobians[step][:, events.to(tangents.device)]  # (S, events, variables in, variables out)
        rows = tangents.unflatten(-1, (len(events), -1)).movedim(0, 2)
        return (rows @ jacobians).movedim(2, 0).flatten(2)

    def _all_jacobians(self, step: Step) -> Tensor:
        """The Jacobians of the inverse of a bijector at all of its events, (S, events, variables in, variables out)."""
        tiling = event_tiling(step.operation)  # type: ignore[arg-type]
        d, n_events = tiling.variables, math.prod(tiling.counts)
        unit = torch.eye(d, dtype=self._rows[0].dtype, device=self._rows[0].device)
        parts = []
        for events in torch.arange(n_events).split(max(1, ROWS // (d * d * self.samples))):
            units = unit[:, None, None].expand(d, self.samples, len(events), d)
            parts.append(self._by_duals(step, events, units.reshape(d, self.samples, -1)).unflatten(-1, (-1, d)))
        return torch.cat(parts, dim=2).movedim(0, 2).contiguous()

    def _by_duals(self, step: Step, events: Tensor, tangents: Tensor) -> Tensor:
        """Carry derivatives (K, S, events * variables) through the inverse of a bijector, with dual numbers."""
        tiling = event_tiling(step.operation)  # type: ignore[arg-type]
        bijector = self.runner.bijector(step)
        device = tangents.device
        members = tiling.members(events).flatten().to(device)
        primal = self._rows[step.targets[0]][:, members].expand_as(tangents)
        shape = step.operation.event_shape  # type: ignore[union-attr]
        context = self._contexts(step)
        if context is not None:
            n_events = len(context) // self.samples
            rows = torch.arange(self.samples, device=device)[:, None] * n_events + events.to(device)
            context = context[rows.flatten()].repeat(len(tangents), *(1 for _ in context.shape[1:]))
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(primal.reshape(-1, *shape), tangents.reshape(-1, *shape))
            after, _ = bijector.inverse(dual, *context_arguments(bijector, context))
            tangent = forward_ad.unpack_dual(after).tangent
        return torch.zeros_like(tangents) if tangent is None else tangent.reshape(tangents.shape)
