"""The installation: the version, the packages of extras, and how the C library keeps freed memory."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mera._utils.errors import InputError

try:
    VERSION = version("mera-flow")
except PackageNotFoundError:  # a checkout that is not installed
    VERSION = "unknown"

# parameters of mallopt, as numbered in glibc's malloc.h
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3


@cache
def tune_allocator() -> bool:
    """Let this process keep and reuse the memory of freed CPU tensors, as torch does on a GPU.

    By default glibc returns the memory of large tensors to the system and then requests it again page by page, which
    for activations of a megabyte takes longer than to compute them. After this call the memory of the whole process
    stays at its peak. Training, evaluation, the samplers of `mera.physics` and the command line make the call; in
    a loop of your own, make it once before the loop.

    >>> import mera
    >>> _ = mera.tune_allocator()

    Returns:
        Whether the C library is glibc and accepts the setting; False on any other system, where nothing changes.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    settings = {
        TRIM_THRESHOLD: 2**31 - 1,  # return no memory
        TOP_PAD: 2**26,  # ask the system for 64 MiB at a time
        MMAP_THRESHOLD: 2**25,  # take blocks of up to 32 MiB from the kept memory
    }
    return all(libc.mallopt(parameter, value) for parameter, value in settings.items())


def import_optional(name: str, extra: str) -> Any:
    """Import a package of an extra."""
    try:
        return import_module(name)
    except ImportError:
        raise InputError(f'the package {name} (pip install "mera-flow[{extra}]")', "none") from None
