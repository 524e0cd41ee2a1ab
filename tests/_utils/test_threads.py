"""Work in threads, each of which runs torch in one thread; and the choice of the number of threads of torch."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest
import torch

from mera._utils import torch_modes
from mera._utils.torch_modes import calls_at_once, chosen_threads, in_threads, threads_for_calls
from mera.train import fit
from tests.helpers.callbacks import At
from tests.helpers.training import IMAGES, SHORT, small_flow

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order(threads):
    def call(item):
        assert torch.get_num_threads() == 1
        time.sleep(0.001 * (item % 3))
        return 2 * item

    assert list(in_threads(call, range(20), CPU)) == list(range(0, 40, 2))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_calls_run_at_once(threads):
    """Each of two calls waits for the other one."""
    barrier = threading.Barrier(threads, timeout=10)
    assert sorted(in_threads(lambda item: barrier.wait(), range(threads), CPU)) == [0, 1]


def test_threads_are_for_calls_and_calls_within_calls_follow_one_another(threads):
    with threads_for_calls(CPU):
        assert torch.get_num_threads() == 1
        assert calls_at_once(CPU) == threads
        inner = list(in_threads(lambda item: list(in_threads(lambda _: calls_at_once(CPU), [0], CPU)), range(6), CPU))
        assert inner == [[1]] * 6
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == calls_at_once(CPU) == threads


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


def test_a_small_flow_takes_one_thread_and_the_user_has_the_last_word(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch_modes, "DEFAULT_THREADS", torch.get_num_threads())
    every = torch.get_num_threads()
    assert chosen_threads(10**6, CPU) == 1
    assert chosen_threads(10**8, CPU) == every
    assert chosen_threads(10**6, CPU, before=7) == 7
    assert chosen_threads(10**6, torch.device("cuda")) == every
    monkeypatch.setattr(torch_modes, "DEFAULT_THREADS", every + 1)  # torch.set_num_threads was called
    assert chosen_threads(10**6, CPU, before=7) == every
    monkeypatch.setattr(torch_modes, "DEFAULT_THREADS", every)
    monkeypatch.setenv("OMP_NUM_THREADS", str(every))
    assert chosen_threads(10**6, CPU, before=7) == every


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_a_run_keeps_its_number_of_threads(tmp_path, monkeypatch, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch_modes, "DEFAULT_THREADS", threads)
    seen = []
    watch = partial(At, action=lambda loop: seen.append(torch.get_num_threads()))
    for start, small in ((0, 10**9), (2, 0)):  # the resumed run does not choose again
        monkeypatch.setattr(torch_modes, "SMALL", small)
        fit(small_flow(), IMAGES, SHORT, tmp_path, steps=start + 2, resume=start > 0, callbacks=[watch(start + 1)])
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    fit(small_flow(), IMAGES, SHORT, tmp_path, steps=6, resume=True, callbacks=[watch(5)])
    assert seen == [1, 1, 2]
    assert torch.get_num_threads() == threads
