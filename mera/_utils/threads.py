"""Work in threads, each of which runs torch in one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
