"""Memory that is given back stays with the process, if somebody asks for that, and not before."""

import ctypes
import subprocess
import sys

import pytest

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")

RESIDENT = """
import torch, mera

def resident():
    with open("/proc/self/statm") as file:
        return 4096 * int(file.read().split()[1])

def kept():
    before = resident()
    tensors = [torch.ones(2**18) for _ in range(200)]  # 200 MiB
    del tensors
    return (resident() - before) >> 20

mera.build("rgflow", L=8, layers=1, hidden=(4,)).sample(2)  # to build and to use a flow changes nothing
print(kept())
assert mera.tune_allocator()
print(kept())
"""


@pytest.mark.slow
@pytest.mark.skipif(not GLIBC, reason="the allocator of another C library")
def test_freed_memory():
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    assert [int(line) > 150 for line in done.stdout.split()] == [False, True]


def test_other_systems_are_left_alone(monkeypatch):
    from mera._utils.installation import tune_allocator

    monkeypatch.setattr(sys, "platform", "darwin")
    assert tune_allocator.__wrapped__() is False
