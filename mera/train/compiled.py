"""Compilation of couplings by torch.compile."""

from __future__ import annotations

import time
from collections.abc import Callable

from mera._utils.torch_private import compile_kinds
from mera.bijectors import Coupling
from mera.density import Density

MAX_KINDS = 64
"""The most shapes of couplings that torch may compile; its default limit is meant for one function in a loop."""


def compile_couplings(flow: Density, call: Callable[[], object]) -> float:
    """Compile the couplings of a flow, each kind once for all nodes and sizes; returns the seconds that this took.

    The whole flow is never compiled: its unrolled steps would take many minutes.

    Args:
        call: a function that runs the flow as in training; torch compiles during the call.
    """
    start = time.monotonic()
    for module in flow.modules():
        if isinstance(module, Coupling):
            module.compile(dynamic=True)
    with compile_kinds(MAX_KINDS):
        call()
    return time.monotonic() - start
