"""Repeatable random numbers, and the states of random number generators."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def fixed_seed(seed: int) -> Iterator[None]:
    """A context in which torch draws from a seed, on every device; afterwards its random states are restored."""
    has_cuda = torch.cuda.is_initialized()  # else seeding would queue this seed for CUDA and override the user's
    with torch.random.fork_rng(range(torch.cuda.device_count()) if has_cuda else []):
        (torch.manual_seed if has_cuda else torch.default_generator.manual_seed)(seed)
        yield


def seed_cpu(*keys: int) -> None:
    """Seed torch on the CPU, numpy and Python from several integers, which is cheap enough for each single example."""
    number = int(np.random.SeedSequence(keys).generate_state(1)[0])
    torch.default_generator.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


def seed_all(seed: int) -> None:
    """Seed the random states of torch, on every device, of numpy and of Python."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def restored_states() -> Iterator[None]:
    """A context that restores the random states of torch, numpy and Python at its end."""
    states = get_states()
    try:
        yield
    finally:
        set_states(states)


def get_states() -> dict[str, Any]:
    """The random states of torch (on the CPU and on every CUDA device in use), of numpy and of Python, by name."""
    name, key, *rest = np.random.get_state()
    return {
        "torch": torch_states(),
        "numpy": [name, torch.from_numpy(np.asarray(key).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def set_states(states: dict[str, Any]) -> None:
    """Restore the random states that `get_states` returned; states of devices that are missing here are ignored."""
    set_torch_states(states["torch"])
    name, key, *rest = states["numpy"]
    np.random.set_state((name, key.numpy().astype(np.uint32), *rest))
    random.setstate(states["python"])


def torch_states() -> dict[str, Tensor]:
    """The random states of torch by device, "cpu" and "cuda-0", for `set_torch_states`."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {"cpu": torch.get_rng_state()} | {f"cuda-{i}": state for i, state in enumerate(cuda)}


def set_torch_states(states: Mapping[str, Tensor]) -> None:
    """Restore the random states that `torch_states` returned; states of devices that are missing here are ignored."""
    torch.set_rng_state(states["cpu"])
    for device in range(min(len(states) - 1, torch.cuda.device_count())):
        torch.cuda.set_rng_state(states[f"cuda-{device}"], device)
