"""Modes in which torch runs: variables without autocast, and calls in threads of one torch thread each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from typing import TypeVar

import torch

Item = TypeVar("Item")


def in_threads(function: Callable[[Item], object], items: Iterable[Item], device: torch.device) -> Iterator[Item]:
    """Call a function for each item, and yield the items in order, each after its call.

    On a CPU as many calls run at once as torch uses threads: unlike the threads of single operations, whole calls also
    share reading and writing. On other devices calls follow one another. An error is raised when its turn comes, and no
    further call begins then. Modes of torch that belong to a thread, such as no_grad and autocast, are not passed on.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1:
        for item in items:
            function(item)
            yield item
        return

    def call(item: Item) -> Item:
        context.copy().run(function, item)
        return item

    context = copy_context()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from pool.map(call, items)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # which a thread may have changed for all


def exactly(device: torch.device) -> AbstractContextManager[object]:
    """A context without autocast on a device.

    Where autocast is off already it is an empty one: torch keeps no compiled code that enters autocast.
    """
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()
