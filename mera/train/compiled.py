"""Couplings compiled by torch."""

from __future__ import annotations

import time
from collections.abc import Callable

from mera._utils.torch_private import compile_kinds
from mera.bijectors import Coupling
from mera.flow import Flow

__all__ = ["compile_couplings"]

KINDS = 64
"""Couplings of different shapes, at most, that are compiled; torch's own limit is that of one function in a loop."""


def compile_couplings(flow: Flow, call: Callable[[], object]) -> float:
    """Compile the couplings of a flow, each kind once for all nodes and sizes.

    Never the whole flow, whose steps unrolled would be compiled for many minutes.

    Args:
        flow: the flow.
        call: runs it in the way that it will be run; torch compiles meanwhile.

    Returns:
        The seconds that took.
    """
    start = time.monotonic()
    for module in flow.modules():
        if isinstance(module, Coupling):
            module.compile(dynamic=True)
    with compile_kinds(KINDS):
        call()
    return time.monotonic() - start
