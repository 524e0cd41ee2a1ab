"""How the C library of Linux treats memory that a computation gives back."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

__all__ = ["tune_allocator"]

# numbers of the parameters, from glibc's malloc.h
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3


@cache
def tune_allocator() -> bool:
    """Let this process keep the memory that tensors on the CPU give back, as torch does on a GPU.

    By default glibc returns the memory of large tensors to the system and gets it again page by page, which for
    activations of a megabyte takes longer than to compute them. After this call the memory of the whole process stays
    at its peak. Training, evaluation and the command line make the call; in a loop of your own, make it once before.

    >>> import mera
    >>> _ = mera.tune_allocator()

    Returns:
        Whether the system has such a C library; False on any other system, where nothing changes.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return bool(libc.mallopt(TRIM_THRESHOLD, 2**31 - 1) and libc.mallopt(MMAP_THRESHOLD, 2**25))
