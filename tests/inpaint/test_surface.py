"""The smooth surface in a hole, on lattices of any dimension and border."""

import pytest
import torch

from mera.graph import Lattice
from mera.inpaint.surface import biharmonic


@pytest.mark.parametrize(("shape", "periodic"), [
    ((12,), (False,)), ((9, 7), (False, False)), ((8, 6), (True, False)), ((5, 6, 7), (True, False, True)),
])  # fmt: skip
def test_a_surface_is_the_least_bent_one(shape, periodic):
    lattice, x = Lattice(2, shape, periodic), torch.randn(1, 2, *shape, dtype=torch.float64)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[tuple(slice(2, 4) for _ in shape)] = True
    found = biharmonic(10 * x, mask, lattice) / 10  # the values around are far apart, so that none is clamped
    assert torch.equal((10 * found)[:, :, ~mask], 10 * x[:, :, ~mask])

    def bending(x):
        total = torch.zeros_like(x)
        for axis, closed in enumerate(periodic, start=2):
            steps = x.roll(-1, axis) - x
            if not closed:
                steps.select(axis, -1).zero_()
            total = total + steps - steps.roll(1, axis)
        return total.square().sum()

    y = found.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(bending(y), y)
    low, high = x[:, :, ~mask].amin(2), x[:, :, ~mask].amax(2)
    is_inside = (found > low.view(1, 2, *(1 for _ in shape))) & (found < high.view(1, 2, *(1 for _ in shape)))
    inside = mask & is_inside.all(1)[0]
    if is_inside[:, :, mask].all():  # nothing was clamped
        assert gradient[:, :, inside].abs().max() < 1e-9
    assert (found[:, :, mask] >= low[..., None] - 1e-12).all()
    assert (found[:, :, mask] <= high[..., None] + 1e-12).all()


def test_a_plane_goes_on_in_a_hole():
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(8.0), indexing="ij")
    plane = (2 * rows - columns + 3)[None, None].double()
    mask = torch.zeros(9, 8, dtype=torch.bool)
    mask[3:6, 2:5] = True
    holed = torch.where(mask, torch.nan, plane)
    torch.testing.assert_close(biharmonic(holed, mask, Lattice(1, (9, 8), (False, False))), plane)
