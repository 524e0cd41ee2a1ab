"""The order in which `decimation` generates the sites of a lattice."""

from itertools import product

import pytest
import torch

import mera
from tests.helpers.laws import randomize


@pytest.mark.parametrize(("dim", "L"), [(1, 16), (2, 16), (3, 8)])
@pytest.mark.parametrize("cell", [0, 3])
def test_black_sites_are_independent_of_each_other_given_white_sites(dim, L, cell):
    """Without the couplings of all sites, the latent of a black site changes its own site alone."""
    torch.manual_seed(0)
    flow = randomize(mera.build("decimation", L=L, dim=dim, channels=2, layers=2, hidden=(5,)), 0.3).double()
    for parameter in flow.bijectors["details0"].bijectors[-1].parameters():
        torch.nn.init.zeros_(parameter)
    z = flow.sample_latents(1)
    x = flow.inverse(z)[0]
    is_black = torch.stack(torch.meshgrid(*[torch.arange(L)] * dim, indexing="ij")).sum(0) % 2 == 1
    for number, corner in enumerate(list(product((0, 1), repeat=dim))[1:]):  # without the first corner
        other = [level.clone() for level in z]
        other[0][(0, 2 * number + 1, *(cell,) * dim)] += 1.0
        changed = (flow.inverse(other)[0] != x)[0].any(0)
        site = tuple(2 * cell + c for c in corner)
        assert changed[site]
        assert not changed[(slice(None, None, 2),) * dim].any()
        assert (changed.sum() == 1) == is_black[site]
        assert changed[is_black].any()
