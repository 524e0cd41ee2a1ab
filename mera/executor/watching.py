"""The progress of passes of a plan, step by step: a single pass of a large lattice can take minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mera._utils.progress import ProgressBar
from mera.graph.plan import Plan, Step

if TYPE_CHECKING:
    from rich.console import Console

Watch = Callable[[Step, int], None]
"""A function of a step and of the number of its variables that a bijector has transformed."""
FIELD = 8
"""The time of a variable of a convolution, in that of a variable of a patch."""
watching: ContextVar[Watch | None] = ContextVar("watching", default=None)


@contextmanager
def passes_shown(title: str, plan: Plan, batch: int, passes: int, console: Console) -> Iterator[None]:
    """A context that shows the progress of a number of passes of a batch through a plan, from the start."""
    total = sum(_cost(step, batch * step.apply.lattice.variables) for step in plan.bijections)
    done, calls = 0.0, 0

    def watch(step: Step, variables: int) -> None:
        nonlocal done, calls
        done, calls = done + _cost(step, variables) / max(total, 1), calls + 1
        bar.update(calls, min(done / passes, 0.99), f"level {step.level}")

    with ProgressBar(title, console, at_once=True) as bar:
        token = watching.set(watch)
        try:
            yield
        finally:
            watching.reset(token)
        bar.update(calls, 1.0)


def _cost(step: Step, variables: int) -> int:
    return variables * (FIELD if step.apply.is_field else 1)
