"""The processes that train together, as accelerate sees them."""

from __future__ import annotations

import atexit
import os
from functools import cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState


def is_main() -> bool:
    """Whether this process is the first of those that were started together, the one that writes files."""
    return int(os.environ.get("RANK", "0")) == 0


def world_size() -> int:
    """The number of processes that were started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_state(device: torch.device) -> PartialState | None:
    """The processes that torchrun or accelerate launch started together; None if there is one process only.

    Args:
        device: where the flow is.
    """
    if world_size() == 1:
        return None
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu")
    _leave_group_at_exit()
    return state


@cache
def _leave_group_at_exit() -> None:
    """Leave the group before Python ends: threads of it that outlive the interpreter abort the process now and then."""
    atexit.register(lambda: torch.distributed.is_initialized() and torch.distributed.destroy_process_group())


def make_accelerator(device: torch.device) -> Accelerator | None:
    """What shares a training step between processes, each on its own device; None if there is one process only.

    Precision is a matter of `Settings`, whatever the launcher was told.

    Args:
        device: where the flow is.
    """
    if process_state(device) is None:
        return None
    from accelerate import Accelerator

    return Accelerator(cpu=device.type == "cpu", mixed_precision="no")
