"""Random numbers that are the same each time, and random states that can be put back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["fixed_seed", "get_states", "seeded", "set_states"]


@contextmanager
def fixed_seed(seed: int) -> Iterator[None]:
    """Draw from a seed within, on every device; afterwards torch's random states are as they were."""
    cpu, cuda = torch.get_rng_state(), _cuda_states()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        _set_torch(cpu, cuda)


@contextmanager
def seeded(*keys: int) -> Iterator[None]:
    """Draw from the numbers `keys` within, on the CPU only, at little cost; afterwards its state is as it was."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(int(np.random.SeedSequence(keys).generate_state(1)[0]))
    try:
        yield
    finally:
        torch.set_rng_state(state)


def get_states() -> dict[str, Any]:
    """The random states of torch, on the CPU and on every CUDA device in use, of numpy and of Python."""
    name, key, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": _cuda_states(),
        "numpy": [name, torch.from_numpy(np.asarray(key).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def set_states(states: dict[str, Any]) -> None:
    """Put random states back; states of devices that are not here are left out."""
    _set_torch(states["torch"], states["cuda"])
    name, key, *rest = states["numpy"]
    np.random.set_state((name, key.numpy().astype(np.uint32), *rest))
    random.setstate(states["python"])


def _cuda_states() -> list[Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


def _set_torch(cpu: Tensor, cuda: list[Tensor]) -> None:
    torch.set_rng_state(cpu)
    for device, state in enumerate(cuda[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)
