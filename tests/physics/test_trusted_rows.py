"""What is called trusted is right: rows of many measurements against exact values."""

import math

import numpy as np
import pytest
import torch

import mera
from mera import physics
from mera.physics.verdicts import Trust

SEEDS = 60
FREE = physics.FreeField(1.0)


def exact_free_field(shape=(4, 4)):
    """Averages of the free field, by its Fourier modes."""
    eigenvalues = 1.0 + sum(np.meshgrid(*[2 - 2 * np.cos(2 * np.pi * np.arange(n) / n) for n in shape]))
    sites = math.prod(shape)
    square = 1 / eigenvalues[0, 0] / sites
    return {
        "m": 0.0, "m2": square, "m4": 3 * square**2, "abs_m": math.sqrt(2 * square / math.pi), "energy": 0.5,
        "phi2": (1 / eigenvalues).mean(), "specific_heat": 0.5, "binder": 0.0,
        "susceptibility": sites * square * (1 - 2 / math.pi), "ln Z": FREE.log_z(shape),
    }  # fmt: skip


def flow_of(steps):
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=4, m=4, channels=1, hidden=(8,), layers=2, norm=False, prior="gaussian")
    mera.train.fit(flow, FREE, steps=steps, batch_size=64, lr=1e-2, quiet=True, eval_every=10**6)
    return flow


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("method", ["hmc", "anneal", "estimate 100", "estimate 300", "metropolis 300"])
def test_trusted_rows_are_right(method):
    name, _, steps = method.partition(" ")
    flow, exact = flow_of(int(steps)) if steps else None, exact_free_field()
    measure = {
        "hmc": lambda: physics.hmc((1, 4, 4), FREE, draws=200, warmup=100),
        "anneal": lambda: physics.anneal(FREE, (1, 4, 4), particles=64, populations=16),
        "estimate": lambda: physics.estimate(flow, FREE, 3000),
        "metropolis": lambda: physics.metropolis(flow, FREE, draws=300, warmup=50),
    }[name]
    trusted, rows = [], 0
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        found = measure()
        quantities = dict(found.observables)
        if hasattr(found, "log_z"):
            quantities["ln Z"] = physics.observables.Quantity(found.log_z, found.log_z_error)
        for row, quantity in quantities.items():
            if row in exact:
                rows += 1
                if found.verdicts[row].trust >= Trust.USABLE:
                    trusted.append(abs(quantity.value - exact[row]) / quantity.error)
    pulls = torch.tensor(trusted)
    print(method, f"{len(trusted)} of {rows}", [(pulls > n).double().mean().item() for n in (2, 4)])
    assert (pulls > 2).double().mean() <= 0.1
    assert (pulls > 4).double().mean() <= 0.01
    if steps != "100":  # of that flow, with an effective sample size of a half, most rows are not to be trusted
        assert len(trusted) >= 0.8 * rows
