"""The metric of Hamiltonian Monte Carlo on the masked pixels of an image."""

import pytest
import torch

import mera
from mera.inpaint import curvature as module
from tests.helpers.laws import randomize


@pytest.mark.parametrize("directions", [4, 5, 64])
def test_differences_are_the_jacobian(monkeypatch, directions):
    """For any number of directions at once, beside gradients of the whole flow."""
    monkeypatch.setattr(module, "DIRECTIONS", directions)
    flow = randomize(mera.build("rgflow", L=8, m=4, channels=2, layers=1, hidden=(5,)))
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:4, 5:8] = True
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    local = flow.restrict(x, mask)
    rows = local.pixels.flatten(1) + torch.tensor([[0.0], [0.4]])

    def latents(row):
        return torch.cat([z.flatten() for z in flow(x.clone().masked_scatter(mask.expand(1, 2, 8, 8), row))[0]])

    exact = torch.stack([torch.autograd.functional.jacobian(latents, row) for row in rows])
    torch.testing.assert_close(module.curvature(local, rows), exact.mT @ exact, rtol=1e-4, atol=1e-4)
