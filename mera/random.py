"""Random numbers that are the same each time, and random states that can be put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["fixed_seed", "get_states", "set_states"]


@contextmanager
def fixed_seed(seed: int) -> Iterator[None]:
    """Draw from a seed within, on every device; afterwards all random states are as they were."""
    states = get_states()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        set_states(states)


def get_states() -> list[Tensor]:
    """The random states of the CPU and of every CUDA device that is in use."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *cuda]


def set_states(states: list[Tensor]) -> None:
    """Put random states back; states of devices that are not here are left out."""
    torch.set_rng_state(states[0])
    for device, state in enumerate(states[1 : 1 + torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)
