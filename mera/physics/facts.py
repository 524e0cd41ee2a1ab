"""What a measurement is of: facts that are kept beside it, and compared when it is resumed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from mera._utils.random import fixed_seed
from mera._utils.version import VERSION
from mera.flow.density import Density
from mera.physics.action import Action
from mera.physics.check_target import event_shape_of
from mera.physics.observables import Observables

PROBES = 4
"""The number of fields in a fingerprint."""


def facts_of(
    sampler: str, flow: Density | Sequence[int], action: Action, measured: Observables, is_kept: bool
) -> dict[str, Any]:
    """The facts of a measurement.

    Args:
        sampler: the name of the sampler.
        flow: the flow, or the shape (C, *shape) of a field.
        action: the action.
        measured: the observables.
        is_kept: whether the measurement is kept, and thus may be resumed; it then has a fingerprint.
    """
    return {
        "version": VERSION,
        "action": re.sub(r" at 0x[0-9a-f]+", "", repr(action)),
        "sampler": sampler,
        "shape": list(event_shape_of(flow)),
        "dtype": str(flow.dtype if isinstance(flow, Density) else torch.float64).removeprefix("torch."),
        "periodic": action.periodic,
        "inverse_temperature": action.inverse_temperature,
        "target_log_weights": None,
        "fingerprint": _fingerprint(flow, action, measured) if is_kept else {},
    }


def _fingerprint(flow: Density | Sequence[int], action: Action, measured: Observables) -> dict[str, list[float]]:
    """Values of the flow, the action and own observables at a few fields, by which a change of any of them shows."""
    with fixed_seed(0):
        if isinstance(flow, Density):
            noise = flow.draw_noise(PROBES, device="cpu")  # the same on any device
            fields, log_q = flow.generate_with_log_prob([part.to(flow.device) for part in noise])
        else:
            fields, log_q = torch.randn(PROBES, *event_shape_of(flow), dtype=torch.float64), torch.zeros(PROBES)
        found = measured.measure(fields)
        values = {"flow": log_q.detach(), "action": action(fields)}
        values |= {f"observable {name}": found[name] for name in measured.own}
    return {name: value.double().tolist() for name, value in values.items()}
