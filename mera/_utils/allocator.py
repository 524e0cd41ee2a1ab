"""How the C library of Linux treats memory that a computation gives back."""

from __future__ import annotations

import ctypes
import sys

import torch

__all__ = ["keep_freed_memory", "let_thresholds_rise"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of the parameters, from malloc.h."""


def let_thresholds_rise() -> None:
    """Let glibc keep up to 64 MiB that are given back, as it does once anybody gave back a block of nearly 32 MiB.

    Until then it learns the size of blocks only as they come, and returns the activations of a flow to the system each
    time. A block that nobody touches takes no memory.
    """
    torch.empty(2**25 - 2**14, dtype=torch.uint8, device="cpu")


def keep_freed_memory() -> bool:
    """Let this process keep the memory that tensors on the CPU give back, as torch does on a GPU.

    Else glibc returns it to the system and gets it again page by page, which for activations of a megabyte takes
    longer than to compute them. It holds for the whole process, whose memory then stays at its peak.

    Returns:
        Whether there is such a C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(TRIM_THRESHOLD, 2**31 - 1) and mallopt(MMAP_THRESHOLD, 2**25))
