"""Modes in which torch runs: the number of threads, calls in parallel threads, and operations without autocast."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


_calls: ContextVar[int | None] = ContextVar("calls", default=None)


def calls_at_once(device: torch.device) -> int:
    """The number of calls that `in_threads` runs at once: as many as torch uses threads on a CPU, else one."""
    return (_calls.get() or torch.get_num_threads()) if device.type == "cpu" else 1


@contextmanager
def threads_for_calls(device: torch.device) -> Iterator[None]:
    """A context in which the threads of torch are for `in_threads`, and operations outside of its calls use one.

    Threads of single operations spin as they wait for the next one, and would hold up calls.
    """
    token = _calls.set(calls_at_once(device))
    try:
        with threads_set(1 if device.type == "cpu" else None):
            yield
    finally:
        _calls.reset(token)


def in_threads(function: Callable[[Item], Result], items: Iterable[Item], device: torch.device) -> Iterator[Result]:
    """Call a function for each item, and yield the results in order.

    On a CPU as many calls run at once as torch uses threads: unlike the threads of single operations, whole calls also
    share reading and writing. On other devices calls follow one another. An error is raised when its turn comes, and no
    further call begins then. Modes of torch that belong to a thread, such as no_grad and autocast, are not passed on.
    """
    calls, threads, context = calls_at_once(device), torch.get_num_threads(), copy_context()
    if calls == 1:
        yield from map(function, items)
        return
    context.run(_calls.set, 1)  # calls within calls follow one another
    pool = _pool(calls, os.getpid())
    futures = [pool.submit(context.copy().run, function, item) for item in items]
    try:
        yield from (future.result() for future in futures)
    finally:
        for future in futures:
            future.cancel()
        wait(futures)
        torch.set_num_threads(threads)  # a thread may have changed it for all


@cache
def _pool(calls: int, process: int) -> ThreadPoolExecutor:
    """Threads that each run torch on one thread; they are kept, since the memory of a new thread is slow at first."""
    return ThreadPoolExecutor(calls, initializer=torch.set_num_threads, initargs=(1,))


DEFAULT_THREADS = torch.get_num_threads()
"""The number of threads of torch before a user has set another one."""
SMALL = 5_000_000
"""The number of parameters below which operations are too small to share: on two cores one thread takes at most a third
longer, and where another program uses a core, several threads take up to twenty times as long, as all of them wait for
the slowest."""


def chosen_threads(parameters: int, device: torch.device, before: int | None = None) -> int:
    """The number of torch's threads for a flow: the user's, that of an earlier part of the run, or 1 for a small flow.

    The rounding of sums depends on the number of threads, so a resumed run keeps the one `before`.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or "OMP_NUM_THREADS" in os.environ or threads != DEFAULT_THREADS:
        return threads
    return before or (1 if parameters < SMALL else threads)


@contextmanager
def threads_set(threads: int | None) -> Iterator[None]:
    """A context in which torch uses a number of threads; None for as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def exactly(device: torch.device) -> AbstractContextManager[object]:
    """A context without autocast on a device.

    Where autocast is off already it is an empty one: torch keeps no compiled code that enters autocast.
    """
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()
