"""The precision of variables, which autocast may halve in networks but not in maps of variables."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def exactly(device: torch.device) -> AbstractContextManager[object]:
    """A context without autocast on a device.

    Where autocast is off already it is an empty one: torch keeps no compiled code that enters autocast.
    """
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()
