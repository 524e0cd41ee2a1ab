"""The precision of variables, which autocast may halve in networks but not in maps of variables."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def exactly(x: Tensor) -> AbstractContextManager[object]:
    """A context without autocast on the device of a tensor.

    Where autocast is off already it is an empty one: torch keeps no compiled code that enters autocast.
    """
    if not torch.is_autocast_enabled(x.device.type):
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)
