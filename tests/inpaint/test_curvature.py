"""The metric of Hamiltonian Monte Carlo on the masked pixels of an image."""

import math

import pytest
import torch

import mera
from mera.inpaint import metric
from mera.inpaint.posterior import LogProbInThreads
from tests.helpers.laws import randomize


def masked(flow, x):
    """A restriction to six pixels at a corner of a patch, and their filling as a row."""
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:4, 5:8] = True
    local = flow.restrict(x, mask)
    return local, local.pixels.flatten(), mask.expand_as(x)


def exactly(flow, x, mask, row):
    """J^T J by gradients of the whole flow."""

    def latents(row):
        return torch.cat([z.flatten() for z in flow(x.clone().masked_scatter(mask, row))[0]])

    jacobian = torch.autograd.functional.jacobian(latents, row)
    return jacobian.mT @ jacobian


@pytest.mark.parametrize("batch", [4, 5, 64])
def test_differences_are_the_jacobian(monkeypatch, batch):
    """For any number of differences at once."""
    monkeypatch.setattr(metric, "BATCH", batch)
    flow = randomize(mera.build("rgflow", L=8, m=4, channels=2, layers=1, hidden=(5,)))
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    local, row, mask = masked(flow, x)
    row = row + 0.4
    expected = exactly(flow, x, mask, row)
    torch.testing.assert_close(metric.curvature(local, row), expected, rtol=0, atol=3e-3 * expected.max().item())


@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_pixels_that_are_far_apart_are_changed_together(monkeypatch, boundary):
    """In patches of 2 x 2 no pixel reaches the latents that are nearest to a pixel 4 sites away."""
    monkeypatch.setattr(metric, "SPACING", 4)
    layout = mera.Layout((8, 8), 2, boundary=boundary)
    layout.latent(layout.local(layout.input, "coupling(layers=1, hidden=(5,))", kernel=2))
    flow = randomize(mera.Flow(layout))
    x, mask = torch.randn(1, 2, 8, 8, dtype=torch.float64), torch.zeros(8, 8, dtype=torch.bool)
    mask[1:7, 2:8] = True
    calls, local = [], flow.restrict(x, mask)
    local.encode = lambda pixels, encode=local.encode: calls.append(len(pixels)) or encode(pixels)
    found = metric.curvature(local, local.pixels.flatten())
    expected = exactly(flow, x, mask.expand_as(x), local.pixels.flatten())
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-3 * expected.max().item())
    assert sum(calls) < 2 * 36  # fewer than masked variables


@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_latents_belong_to_the_nearest_pixel_of_a_group(monkeypatch, boundary):
    """Also across a periodic border, and on lattices whose edges differ."""
    monkeypatch.setattr(metric, "SPACING", 3)
    flow = mera.build("rgflow", L=(16, 8), m=2, channels=2, layers=1, hidden=(3,), boundary=boundary)
    mask = torch.zeros(16, 8, dtype=torch.bool)
    mask[0:2, 1:7] = mask[11:16, 1:7] = True
    local = flow.restrict(torch.randn(1, 2, 16, 8), mask)
    group, nearest = metric._groups(local)
    pixels = mask.nonzero()
    assert [*map(tuple, (pixels % 3).tolist())] == [divmod(k, 3) for k in group.tolist()]

    def distance(site, h, pixel):
        places = [((s + 0.5) * 2 ** min(h + 1, 2) - 0.5, p, n) for s, p, n in zip(site, pixel, (16, 8), strict=True)]
        gaps = [min(abs(a - p), n - abs(a - p)) if boundary == "periodic" else a - p for a, p, n in places]
        return sum(gap**2 for gap in gaps)

    column = 0
    for h, (latent, changes) in enumerate(zip(local.cone.plan.latents, local.cone.levels, strict=True)):
        for _ in range(latent.lattice.channels):
            for site in changes.nonzero().tolist():
                for k in range(9):
                    members = (group == k).nonzero()[:, 0].tolist()
                    found = distance(site, h, pixels[nearest[k, column]].tolist())
                    assert int(nearest[k, column]) in members
                    assert found == min(distance(site, h, pixels[i].tolist()) for i in members)
                column += 1
    assert column == nearest.shape[1]


def test_large_numbers_in_single_precision():
    flow = mera.build("rgflow", L=8, m=4, channels=2, layers=1, hidden=(5,))
    x = 1000 * torch.randn(16, 2, 8, 8)
    flow.initialize(x)
    local, row, mask = masked(flow, x[:1])
    expected = exactly(flow, x[:1], mask, row)
    torch.testing.assert_close(metric.curvature(local, row), expected, rtol=0, atol=3e-3 * expected.max().item())


def test_an_option_that_does_nothing_for_angles_is_refused():
    flow = mera.build("rgflow", L=4, m=2, channels=1, layers=1, hidden=(4,), transform="circular-spline",
                      prior="Uniform(low=-3.141592653589793, high=3.141592653589793)")  # fmt: skip
    with pytest.raises(ValueError, match="no option that the search does not use, with samples=2; got particles"):
        flow.inpaint(flow.sample(1), ((0, 2), (0, 2)), samples=2, particles=16)
    with pytest.raises(ValueError, match="for angles, which have no mean; got keep='mean'"):
        flow.inpaint(flow.sample(1), ((0, 2), (0, 2)), samples=2, keep="mean")


def test_angles_are_compared_around_the_circle():
    """With masked angles near pi, where a latent that is their angle wraps."""
    flow = mera.build("rgflow", L=8, m=4, channels=1, layers=1, hidden=(5,), transform="circular-spline",
                      prior="Uniform(low=-3.141592653589793, high=3.141592653589793)").double()  # fmt: skip
    local, row, _ = masked(flow, torch.full((1, 1, 8, 8), math.pi - 1e-5, dtype=torch.float64))
    found = metric.curvature(local, row, of_angles=True)
    torch.testing.assert_close(found, torch.eye(len(row), dtype=torch.float64), rtol=1e-3, atol=1e-3)
    assert metric.curvature(local, row).max() > 1e6


def test_fillings_in_threads_have_the_values_and_gradients_of_a_batch():
    """Also when threads make the recordings, and for a weight of each filling."""
    flow = randomize(mera.build("rgflow", L=8, m=4, channels=2, layers=1, hidden=(5,)))
    local, row, _ = masked(flow, torch.randn(1, 2, 8, 8, dtype=torch.float64))
    weights = torch.randn(7, dtype=torch.float64)

    def log_prob(rows):
        return local.log_prob(rows.unflatten(1, (2, -1)))

    for _ in range(4):
        rows = (row + torch.randn(7, len(row), dtype=torch.float64)).requires_grad_()
        found, expected = LogProbInThreads.apply(rows, log_prob), log_prob(rows)
        torch.testing.assert_close(found, expected)
        gradients = (torch.autograd.grad((weights * value).sum(), rows)[0] for value in (found, expected))
        torch.testing.assert_close(*gradients)
