"""The processes that train together: their group of torch.distributed, and sums over all of them."""

from __future__ import annotations

import atexit
import os
import time

import torch
from torch import Tensor, distributed

from mera._utils.processes import world_size

GRACE = 0.2
"""The seconds before Python ends in which threads of the process group release their tensors."""


def join_group(device: torch.device) -> torch.device:
    """Join the processes that torchrun or accelerate launch started, and return the device of this process."""
    if world_size() == 1:
        return device
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if device.type == "cuda" else device
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave_group)  # threads of the group that outlive the interpreter can abort the process
    return device


def reduced(value: Tensor, is_mean: bool = False) -> Tensor:
    """The sum, or the mean, of a tensor over all processes."""
    if world_size() > 1:
        join_group(value.device)
        value = value.detach().clone()
        distributed.all_reduce(value)
    return value / world_size() if is_mean else value


def _leave_group() -> None:
    """Destroy the process group, after its threads have released the tensors of the last exchange.

    Gloo releases them shortly after the exchange, in a thread that then waits for the lock of the interpreter; where
    Python already ends, it ends this thread, and the C++ runtime aborts the process ("terminate called without an
    active exception").
    """
    if distributed.is_initialized():
        time.sleep(GRACE)  # releases the lock
        distributed.destroy_process_group()
