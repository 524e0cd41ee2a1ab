"""Memory that is given back stays with the process."""

import subprocess
import sys

import pytest

RESIDENT = """
import torch
from mera._utils.allocator import keep_freed_memory

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


FAULTS = """
import resource, torch
from mera._utils.allocator import let_thresholds_rise

if {rise}:
    let_thresholds_rise()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    tensors = [torch.ones(2**size) for size in (16, 17, 18, 19, 19, 19)]  # 256 KiB to 2 MiB each, as a flow does
    del tensors
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_blocks_given_back_are_used_again():
    """Pages are fetched from the system once, not each time."""
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS.format(rise=rise)], capture_output=True, text=True, check=True
            ).stdout
        )
        for rise in (False, True)
    ]
    assert 3 * faults[1] < faults[0]
