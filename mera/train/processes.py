"""The processes that train together, as accelerate knows them."""

from __future__ import annotations

import atexit
import os
from functools import cache

import torch
from accelerate import Accelerator, PartialState

__all__ = ["accelerator_for", "is_main", "processes"]


def is_main() -> bool:
    """Whether this process is the first of those that were started together, the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def processes(device: torch.device) -> PartialState | None:
    """The processes that were started together, by torchrun or accelerate launch; None if there is just this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    state = PartialState(cpu=device.type == "cpu")
    _leave_at_exit()
    return state


@cache
def _leave_at_exit() -> None:
    """Leave the group before Python ends: threads of it that outlive the interpreter abort the process now and then."""
    atexit.register(lambda: torch.distributed.is_initialized() and torch.distributed.destroy_process_group())


def accelerator_for(device: torch.device) -> Accelerator | None:
    """What lets processes train together, each on a device of its own; None if there is just this one.

    How numbers are computed is for the settings to say, not for the launcher.
    """
    if processes(device) is None:
        return None
    return Accelerator(cpu=device.type == "cpu", mixed_precision="no")
