"""Incremental inverse passes: when latents change, only their generation cones are evaluated again.

Each variable that a bijector reads or writes has an address in one buffer. A bijector writes its outputs directly to
the addresses where the next bijector reads them, so that steps that only move variables take no time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.bijectors.base import context_arguments
from mera.graph.plan import Plan, Step
from mera.run.executor import run_forward
from mera.run.runner import Runner


@dataclass(frozen=True, eq=False)
class WiredStep:
    """A step that applies a bijector, with the addresses of its variables.

    Args:
        step: the step.
        inputs: the addresses from which the inverse of the bijector reads its events, (events, variables).
        outputs: the addresses to which the inverse of the bijector writes its events, (events, variables).
        first_event: the number of events of all earlier steps, in the order from latents to data.
    """

    step: Step
    inputs: Tensor
    outputs: Tensor
    first_event: int


class Wiring:
    """The addresses of all variables of a plan on the way from latents to data.

    Attributes:
        steps: the steps that apply a bijector, in the order from latents to data.
        of: by step, the step with its addresses.
        latents: for each level, finest first, the addresses of the latents, (C_h, *shape_h).
        data: the addresses of the data, (C, *shape).
        size: the number of addresses.
        events: the number of events of all steps.
    """

    def __init__(self, plan: Plan) -> None:
        slots: list[tuple[Step, Tensor]] = []

        def record(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
            slots.append((step, events.flatten(1)))
            return events, torch.zeros(len(events))

        n = plan.input.variables
        levels, _ = run_forward(plan, torch.arange(n).view(1, *plan.input.event_shape), record)
        self.data = torch.arange(n).view(plan.input.event_shape)
        self.size, self.events = n, sum(len(events) for _, events in slots)
        following = torch.arange(n)  # for each variable the address from which the next step reads it
        wired, starts, last_event = [], [], self.events
        for step, events in slots:
            inputs = self.size + torch.arange(events.numel()).view_as(events)
            starts.append(self.size)
            last_event -= len(events)
            wired.append(WiredStep(step, inputs, following[events], last_event))
            following[events] = inputs
            self.size += events.numel()
        self.steps = tuple(reversed(wired))
        self._starts = torch.tensor(starts, dtype=torch.long)
        self.latents = tuple(following[level[0]] for level in levels)
        self.of = {wired.step: wired for wired in self.steps}

    def events_at(self, step: Step, inputs: Tensor) -> Tensor:
        """The indices of events in a step, from the addresses (events, variables) of their inputs."""
        return (inputs[:, 0] - self.of[step].inputs[0, 0]) // inputs.shape[1]

    def change(self, places: Sequence[Tensor]) -> Change:
        """The addresses and events that change with the latents at several places.

        Args:
            places: for each place the addresses of its latents, (n,), with the same n for all places.

        Raises:
            ValueError: if the generation cones of two places meet.
        """
        reached: list[list[tuple[Tensor, Tensor]]] = [[] for _ in self.steps]
        written: list[tuple[Tensor, Tensor]] = []

        def reach(addresses: Tensor, labels: Tensor) -> None:
            """Record addresses whose values change, and the events that read them, with the index of the place."""
            written.append((addresses, labels))
            readers = torch.bucketize(addresses.contiguous(), self._starts, right=True)  # 0 for addresses of the data
            for reader in readers.unique().tolist():
                if reader:
                    step, is_read = len(self.steps) - reader, readers == reader
                    events = (addresses[is_read] - self._starts[reader - 1]) // self.steps[step].inputs.shape[1]
                    reached[step].append((events, labels[is_read]))

        for label, place in enumerate(places):
            reach(place, torch.full_like(place, label))
        parts, event_numbers, event_labels = [], [], []
        for wired, touched in zip(self.steps, reached, strict=True):
            if not touched:
                continue
            events, labels = (torch.cat(tensors) for tensors in zip(*touched, strict=True))
            events, index = events.unique(return_inverse=True)
            labels_of_events = torch.empty_like(events).scatter_(0, index, labels)
            if (labels_of_events[index] != labels).any():
                raise InputError("places whose generation cones do not meet", f"places that meet in {wired.step.node}")
            inputs, outputs = wired.inputs[events], wired.outputs[events]
            parts.append((wired.step, inputs, outputs))
            event_numbers.append(wired.first_event + events)
            event_labels.append(labels_of_events)
            reach(outputs.flatten(), labels_of_events.repeat_interleave(outputs.shape[1]))
        addresses, labels = (torch.cat(tensors) for tensors in zip(*written, strict=True))
        empty = torch.empty(0, dtype=torch.long)
        events, labels_of_events = torch.cat([empty, *event_numbers]), torch.cat([empty, *event_labels])
        return Change(torch.stack(list(places)), parts, addresses, labels, events, labels_of_events)


@dataclass(frozen=True, eq=False)
class Change:
    """The events that are evaluated again when the latents at several places change.

    Args:
        latents: the addresses of the latents, (places, n).
        parts: for each step the addresses that its events read and the addresses that they write, each
            (events, variables).
        addresses: all addresses whose values change, (n_addresses,).
        labels: for each address the index of the place whose cone contains it, (n_addresses,).
        events: event indices, numbered consecutively over all steps, (n_events,).
        event_labels: for each event the index of the place whose cone contains it, (n_events,).
    """

    latents: Tensor
    parts: Sequence[tuple[Step, Tensor, Tensor]]
    addresses: Tensor
    labels: Tensor
    events: Tensor
    event_labels: Tensor

    @property
    def places(self) -> int:
        """The number of places."""
        return len(self.latents)

    def to(self, device: torch.device) -> Change:
        """A copy of the change whose tensors are on a device."""
        tensors = [t.to(device) for t in (self.addresses, self.labels, self.events, self.event_labels)]
        parts = [(step, inputs.to(device), outputs.to(device)) for step, inputs, outputs in self.parts]
        return Change(self.latents.to(device), parts, *tensors)


class IncrementalPass:
    """The data that a flow generates from K settings of its latents, with all intermediate values.

    Args:
        runner: the plan of a flow with its bijectors.
        wiring: the addresses of the plan's variables.
        x: the data, (K, C, *shape).

    Raises:
        ValueError: if the flow is conditional, and `given` has not fixed its context.
    """

    def __init__(self, runner: Runner, wiring: Wiring, x: Tensor) -> None:
        self.runner, self.wiring, self._contexts = runner, wiring, runner.contexts(None, x)
        self._values = x.new_zeros(len(x), wiring.size)
        self._log_dets = x.new_zeros(len(x), wiring.events, dtype=torch.promote_types(x.dtype, torch.float32))
        self._before: tuple[Tensor, Tensor] | None = None
        self.data = x

    @property
    def data(self) -> Tensor:
        """The data, (K, C, *shape); assigning data recomputes all values."""
        return self._values[:, : self.wiring.data.numel()].unflatten(1, self.wiring.data.shape)

    @data.setter
    @torch.no_grad()
    def data(self, x: Tensor) -> None:
        self._values[:, : self.wiring.data.numel()] = x.flatten(1)
        for wired in reversed(self.wiring.steps):
            inputs, outputs = wired.inputs.to(x.device), wired.outputs.to(x.device)
            bijector = self.runner.bijector(wired.step)
            context = context_arguments(bijector, self._contexts(wired.step))
            y, log_det = bijector(self._events(wired.step, outputs), *context)
            self._values[:, inputs.flatten()] = y.reshape(len(x), -1)
            self._log_dets[:, wired.first_event : wired.first_event + len(inputs)] = -log_det.view(len(x), -1)

    @property
    def latents(self) -> tuple[Tensor, ...]:
        """The latents, one tensor (K, C_h, *shape_h) for each level, finest first."""
        return tuple(self._values[:, level.flatten()].unflatten(1, level.shape) for level in self.wiring.latents)

    @property
    def log_det(self) -> Tensor:
        """The log-det of the inverse pass, from latents to data, (K,)."""
        return self._log_dets.sum(1)

    def at(self, change: Change) -> Tensor:
        """The latents at the places of a change, (K, places, n)."""
        return self._values[:, change.latents]

    @torch.no_grad()
    def propose(self, change: Change, latents: Tensor) -> Tensor:
        """Change latents to new values (K, places, n), and evaluate only their generation cones.

        Call `settle` afterwards.

        Returns:
            The change of the log-det in the cone of each place, (K, places).
        """
        values, log_dets = self._values, self._log_dets
        self._before = values[:, change.addresses], log_dets[:, change.events]
        values[:, change.latents.flatten()] = latents.flatten(1)
        log_det_parts = []
        for step, inputs, outputs in change.parts:
            bijector = self.runner.bijector(step)
            context = context_arguments(bijector, self._context(step, inputs))
            x, log_det = bijector.inverse(self._events(step, inputs), *context)
            values[:, outputs.flatten()] = x.reshape(len(values), -1)
            log_det_parts.append(log_det.view(len(values), -1))
        new_log_dets = torch.cat([log_dets[:, :0], *log_det_parts], dim=1).to(log_dets.dtype)
        log_dets[:, change.events] = new_log_dets
        difference = log_dets.new_zeros(len(values), change.places)
        return difference.index_add(1, change.event_labels, new_log_dets - self._before[1])

    @torch.no_grad()
    def settle(self, change: Change, accepted: Tensor) -> None:
        """Keep the new values where they are accepted, and restore the old values elsewhere.

        Args:
            change: the change that was proposed last.
            accepted: whether the proposal at each place is accepted, (K, places).

        Raises:
            RuntimeError: if `propose` was not called before.
        """
        if self._before is None:
            raise RuntimeError("Expected a call of propose before settle; got none")
        (values, log_dets), self._before = self._before, None
        for buffer, columns, labels, before in (
            (self._values, change.addresses, change.labels, values),
            (self._log_dets, change.events, change.event_labels, log_dets),
        ):
            buffer[:, columns] = torch.where(accepted[:, labels], buffer[:, columns], before)

    def _context(self, step: Step, inputs: Tensor) -> Tensor | None:
        """The contexts of events, (K * events, *shape), from the addresses (events, variables) of their inputs."""
        context = self._contexts(step)
        if context is None:
            return None
        events = self.wiring.events_at(step, inputs).to(context.device)
        return context.unflatten(0, (len(self._values), -1))[:, events].flatten(0, 1)

    def _events(self, step: Step, addresses: Tensor) -> Tensor:
        """Events at addresses (events, variables), as a batch (K * events, *event_shape)."""
        shape = step.apply.event_shape
        return self._values[:, addresses.flatten()].view(-1, math.prod(shape)).unflatten(1, shape)
