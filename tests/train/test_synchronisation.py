"""A flow never waits for its own results: on a GPU, each wait empties the queue of kernels."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import mera
from mera.train import fit
from tests.tables.models import MODELS, ONE_EACH

WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero", "item"}
"""Operations whose results the host has to know before it can go on."""


class Waits(TorchDispatchMode):
    """Record the operations that would make the host wait for a GPU, and copies of tensors to the host."""

    def __init__(self):
        super().__init__()
        self.found, self.patch = [], pytest.MonkeyPatch()

    def __enter__(self):
        for name in ("tolist", "numpy", "cpu"):
            self.patch.setattr(torch.Tensor, name, self.recorded(name, getattr(torch.Tensor, name)))
        return super().__enter__()

    def __exit__(self, *error):
        self.patch.undo()
        return super().__exit__(*error)

    def recorded(self, name, method):
        def record(tensor, *args, **kwargs):
            self.found.append(name)
            return method(tensor, *args, **kwargs)

        return record

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
        x.tolist()
    assert waits.found == ["_local_scalar_dense", "index", "_local_scalar_dense", "tolist"]


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


def test_a_mixture_does_not_wait():
    p = mera.Symmetrized(MODELS["rgflow"](), "rotations")
    with Waits() as waits:
        x, log_prob = p.rsample_and_log_prob(3)
        p.log_prob(x)
        log_prob.sum().backward()
    assert waits.found == []


@pytest.mark.slow
@pytest.mark.parametrize("data", ["fields", "action"])
def test_a_training_step_reads_its_metrics_at_once(data):
    """Loss and norm come to the host as one tensor, by `tolist`.

    The order of examples and the random state of numpy, which are read too, are on the host already.
    """
    counts = []
    for steps in (1, 3):  # of one epoch, whose order is drawn on the host
        torch.manual_seed(0)
        flow = MODELS["rgflow"]()
        examples = torch.randn(16, 1, 8, 8) if data == "fields" else mera.physics.FreeField(1.0)
        with Waits() as waits:
            fit(flow, examples, steps=steps, batch_size=4, eval_every=100, quiet=True)
        counts.append(waits.found)
    more = Counter(counts[1]) - Counter(counts[0])
    assert more == {"tolist": 4 if data == "fields" else 2, "numpy": 2}
