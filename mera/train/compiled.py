"""Couplings compiled by torch."""

from __future__ import annotations

import time
from collections.abc import Callable

from mera._utils.torch_private import compile_kinds
from mera.bijectors import Coupling
from mera.density import Density

MAX_KINDS = 64
"""How many kinds of couplings, by their shapes, torch may compile; its default is made for one function in a loop."""


def compile_couplings(flow: Density, call: Callable[[], object]) -> float:
    """Compile the couplings of a flow, each kind once for all nodes and sizes.

    The whole flow is never compiled: its unrolled steps would take many minutes.

    Args:
        flow: the flow.
        call: runs the flow as it will be run later; torch compiles during the call.

    Returns:
        The seconds that the call took.
    """
    start = time.monotonic()
    for module in flow.modules():
        if isinstance(module, Coupling):
            module.compile(dynamic=True)
    with compile_kinds(MAX_KINDS):
        call()
    return time.monotonic() - start
