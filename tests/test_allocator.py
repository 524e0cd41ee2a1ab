"""Memory that is given back stays with the process."""

import subprocess
import sys

import pytest

RESIDENT = """
import torch
from mera.allocator import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return 4096 * int(file.read().split()[1])

if {keep}:
    assert keep_freed_memory()
before = resident()
tensors = [torch.ones(2**18) for _ in range(200)]  # 200 MiB
del tensors
print((resident() - before) >> 20)
"""


@pytest.mark.parametrize("keep", [False, True])
def test_freed_memory(keep):
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT.format(keep=keep)], capture_output=True, text=True, check=True
    )
    assert (int(done.stdout) > 150) == keep
