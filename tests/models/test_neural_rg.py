"""NeuralRG's blocks are those of the public code: index sets written down from its description alone."""

import numpy as np
import pytest
import torch

import mera
from mera.bijectors import Bijector, zero_log_det


class Probe(Bijector):
    """Changes nothing, and keeps which sites came together."""

    def forward(self, x):
        self.seen = x
        return x, zero_log_det(x)

    def inverse(self, y):
        return y, zero_log_det(y)


def published_blocks(L, repeats):
    """For each layer, from the data on, its blocks as sets of sites: kernel 2, dilation 2^n, offset 0 and then 2^n."""
    layers = []
    for n in range(int(np.log2(L))):
        for offset in (0, 2**n) * repeats:
            starts = np.arange(0, L, 2 ** (n + 1)) + offset
            edges = [((a % L, (a + 2**n) % L)) for a in starts]
            layers.append({frozenset(i * L + j for i in rows for j in columns) for rows in edges for columns in edges})
    return layers


@pytest.mark.parametrize(("L", "repeats"), [(8, 1), (8, 2), (16, 1)])
def test_blocks_and_their_order(L, repeats):
    flow = mera.build("neuralrg", L=L, repeats=repeats, bijector=lambda shape: Probe(shape))
    flow(torch.arange(float(L * L)).view(1, 1, L, L))
    seen = [
        {frozenset(map(int, event.flatten())) for event in flow.bijectors[step.module].seen}
        for step in flow.plan.steps
        if step.module
    ]
    assert seen == published_blocks(L, repeats)
