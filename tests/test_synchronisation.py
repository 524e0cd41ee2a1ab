"""A flow never waits for its own results: on a GPU, each wait empties the queue of kernels."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import mera
from mera.train import fit
from tests.models import MODELS, ONE_EACH

WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero", "item"}
"""Operations whose results the host has to know before it can go on."""


class Waits(TorchDispatchMode):
    """Record the operations that would make the host wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        indices = args[1] if name.startswith("index") and len(args) > 1 and isinstance(args[1], list) else []
        if name in WAITS or any(index is not None and index.dtype == torch.bool for index in indices):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_waits_are_found():
    x = torch.randn(3)
    with Waits() as waits:
        x.sum().item()
        x[x > 0]
        bool((x > 0).all())
    assert waits.found == ["_local_scalar_dense", "index", "_local_scalar_dense"]


@pytest.mark.parametrize("name", ONE_EACH.values())
def test_a_pass_does_not_wait(name):
    flow = MODELS[name]()
    x = torch.randn(2, *flow.plan.input.event_shape)
    flow.sample(2)
    with Waits() as waits:
        z, _ = flow(x)
        flow.inverse(z)
        flow.sample(2)
        (-flow.log_prob(x).mean()).backward()
    assert waits.found == []


@pytest.mark.parametrize("data", ["fields", "action"])
def test_a_training_step_reads_its_metrics_at_once(data):
    """Loss and norm come to the host as one tensor, by `tolist`, and nothing else does."""
    counts = []
    for steps in (2, 5):
        torch.manual_seed(0)
        flow = MODELS["rgflow"]()
        examples = torch.randn(16, 1, 8, 8) if data == "fields" else mera.physics.FreeField(1.0)
        with Waits() as waits:
            fit(flow, examples, steps=steps, batch_size=4, eval_every=100, quiet=True)
        counts.append(len(waits.found))
    assert counts[0] == counts[1], waits.found
