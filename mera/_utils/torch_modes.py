"""Modes in which torch runs: variables without autocast, and calls in threads of one torch thread each."""

from __future__ import annotations

import os
import time
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
        torch.set_num_threads(threads)  # which a thread may have changed for all


@cache
def _pool(calls: int, process: int) -> ThreadPoolExecutor:
    """Threads of a process, each of which runs torch in one thread; they are kept, as their memory is warm."""
    return ThreadPoolExecutor(calls, initializer=torch.set_num_threads, initargs=(1,))


def time_threads(work: Callable[[], object]) -> dict[int, float]:
    """Time some work with one thread and with all threads of torch, in seconds by the number of threads.

    All threads wait for the slowest: where another program uses a core, a step with all threads may take a hundred
    times as long as with one. Each number of threads is timed up to three times, and the shortest time counts; a time
    of more than twice that of one thread is not repeated. The number of threads is as before afterwards.
    """
    every, seconds = torch.get_num_threads(), dict[int, float]()
    try:
        for threads in (1, every):
            torch.set_num_threads(threads)
            for repeat in range(4):  # the first call allocates memory
                start = time.perf_counter()
                work()
                elapsed = time.perf_counter() - start
                if repeat or threads != 1:
                    seconds[threads] = min(elapsed, seconds.get(threads, elapsed))
                if threads > 1 and elapsed > 2 * seconds[1]:
                    break
    finally:
        torch.set_num_threads(every)
    return seconds


def faster_threads(seconds: dict[int, float]) -> int:
    """All threads, unless one thread is clearly faster; from the result of `time_threads`."""
    every = max(seconds)
    return 1 if seconds[1] < 0.8 * seconds[every] else every


def may_choose_threads(device: torch.device) -> bool:
    """Whether the number of threads is ours to choose: torch has several, and the user has not set it."""
    return device.type == "cpu" and torch.get_num_threads() > 1 and "OMP_NUM_THREADS" not in os.environ


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
