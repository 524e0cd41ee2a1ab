"""Work in threads, each of which runs torch in one thread."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from mera._utils.torch_modes import in_threads

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_items_come_in_order_after_their_calls(threads):
    done, seen = set(), []

    def call(item):
        assert torch.get_num_threads() == 1
        done.add(item)

    for item in in_threads(call, range(20), CPU):
        assert item in done
        seen.append(item)
    assert seen == list(range(20))
    assert torch.get_num_threads() == threads


def test_calls_run_at_once():
    """Each of two calls waits for the other one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    barrier = threading.Barrier(2, timeout=10)
    assert list(in_threads(lambda item: barrier.wait(), range(2), CPU)) == [0, 1]
    torch.set_num_threads(before)


def test_after_an_error_no_further_call_begins(threads):
    called = []

    def call(item):
        called.append(item)
        time.sleep(0.001)
        if item == 2:
            raise ValueError("a damaged tile")

    with pytest.raises(ValueError, match="a damaged tile"):
        list(in_threads(call, range(2000), CPU))
    assert len(called) < 1000
    assert torch.get_num_threads() == threads
