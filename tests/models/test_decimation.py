"""The order in which `decimation` generates the sites of a lattice."""

import torch

import mera
from tests.helpers.laws import randomize


def test_black_sites_are_independent_of_each_other_given_white_sites():
    """Without the couplings of all sites, the latent of a black site changes its own site alone."""
    torch.manual_seed(0)
    flow = randomize(mera.build("decimation", L=16, channels=1, layers=2, hidden=(5,)), 0.3).double()
    for parameter in flow.bijectors["details0"].bijectors[-1].parameters():
        torch.nn.init.zeros_(parameter)
    z = flow.sample_latents(1)
    x = flow.inverse(z)[0]
    row, column = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    is_black = (row + column) % 2 == 1
    for corner, site in ((0, (6, 9)), (1, (7, 8)), (2, (7, 9))):  # latents of the cell (3, 4), without its first corner
        other = [level.clone() for level in z]
        other[0][0, corner, 3, 4] += 1.0
        changed = (flow.inverse(other)[0] != x)[0, 0]
        assert changed[site]
        assert not changed[::2, ::2].any()
        assert (changed.sum() == 1) == is_black[site]
