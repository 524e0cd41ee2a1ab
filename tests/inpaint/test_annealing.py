"""Starting points of chains by mass: a Gaussian from samples, and its annealing to densities with known odds."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from mera.inpaint.gaussian import _around, gaussian_filling, scaled
from mera.inpaint.posterior import Stop, anneal
from tests.inpaint.test_inpaint import conditional
from tests.tables.models import MODELS


def test_the_gaussian_of_a_gaussian_flow_is_exact_up_to_the_number_of_samples():
    flow, image, mask, mean, covariance = conditional(16, [5, 6, 11])
    found = gaussian_filling(flow, image, mask)
    deviation = covariance.diagonal().sqrt()
    assert ((found.mean - mean).abs() < 0.25 * deviation).all()
    assert torch.allclose(found.covariance_matrix.diagonal(), covariance.diagonal(), rtol=0.15)


@pytest.mark.parametrize(("channels", "edge"), [(1, 5), (2, 3), (9, 3)])
def test_a_gaussian_reads_the_nearest_pixels(monkeypatch, channels, edge):
    """Whole rings around the mask, up to a number of variables, but at least one."""
    monkeypatch.setattr("mera.inpaint.gaussian.FEATURES", 30)
    mask, expected = torch.zeros(20, 18, dtype=torch.bool), torch.zeros(20, 18, dtype=torch.bool)
    mask[7, 9] = True
    expected[7 - edge // 2 : 8 + edge // 2, 9 - edge // 2 : 10 + edge // 2] = True
    assert torch.equal(_around(mask, channels), expected & ~mask)
    monkeypatch.setattr("mera.inpaint.gaussian.FEATURES", 10_000)
    assert torch.equal(_around(mask, channels), ~mask)


@pytest.mark.parametrize("scale", [0.35, 1.0])
def test_the_scale_of_a_gaussian_is_that_of_the_density(scale):
    """Wherever the density is: an offset adds the same to the bound for all scales."""
    d = 100  # with fewer variables, a scale beside the right one is within the margin
    shape = torch.randn(d, d, dtype=torch.float64).tril() / d + torch.eye(d)
    gaussian = MultivariateNormal(torch.randn(d, dtype=torch.float64), scale_tril=shape)
    density = MultivariateNormal(gaussian.loc + 0.1 * scale, scale_tril=scale * shape)
    found, bound = scaled(gaussian, density.log_prob, 32)
    torch.testing.assert_close(found.scale_tril, scale * shape)
    assert torch.equal(found.loc, gaussian.loc)
    assert abs(bound) < 5  # of normalised densities it is minus their divergence


def test_a_gaussian_over_two_modes_stays_wide():
    """Although the evidence lower bound of a Gaussian over one of the modes is larger."""
    start = MultivariateNormal(torch.zeros(2), torch.eye(2))
    modes = MultivariateNormal(torch.tensor([[0.3, 0.0], [2.5, 0.0]]), torch.diag(torch.tensor([0.1, 1.0])))

    def log_prob(rows):
        return modes.log_prob(rows[:, None]).logsumexp(1)

    rows = 0.35 * torch.randn(1000, 2)
    narrow = MultivariateNormal(torch.zeros(2), 0.35**2 * torch.eye(2))
    wide = start.sample((1000,))
    assert (log_prob(rows) - narrow.log_prob(rows)).mean() > (log_prob(wide) - start.log_prob(wide)).mean()
    assert torch.equal(scaled(start, log_prob, 1000)[0].scale_tril, start.scale_tril)


@pytest.mark.parametrize("name", ["rgflow-3d-box-open", "rgflow-1d", "rgflow-paper"])
def test_any_lattice_has_one(name):
    flow = MODELS[name]()
    mask = torch.zeros(flow.plan.input.shape, dtype=torch.bool)
    mask.view(-1)[0] = mask.view(-1)[-1] = True
    found = gaussian_filling(flow, flow.sample(1), mask)
    assert found.mean.isfinite().all()
    assert len(found.mean) == 2 * flow.plan.input.channels


def test_modes_get_particles_by_mass_and_not_by_density(progress):
    """A peak of 0.3 of the mass, whose density is 27 times that of the other mode."""
    d, widths, odds = 6, torch.tensor([0.15, 0.3]), torch.tensor([0.3, 0.7])
    centres = torch.stack([torch.ones(d), -torch.ones(d)]) * 0.7

    def log_prob(row):
        squares = (row[:, None] - centres).square().sum(2)
        return (odds.log() - d * widths.log() - squares / (2 * widths**2)).logsumexp(1)

    def curvature(row):
        return torch.eye(d) / widths[(row - centres).square().sum(1).argmin()] ** 2

    start = MultivariateNormal(torch.zeros(d), torch.eye(d))
    shares = []
    for _ in range(16):
        particles, _ = anneal(log_prob, curvature, start, 200, 8, progress, Stop())
        is_first = particles.sum(1) > 0
        shares.append(is_first.double().mean().item())
        for part, width in ((particles[is_first], widths[0]), (particles[~is_first], widths[1])):
            assert len(part) < 20 or part.std(0).mean().item() == pytest.approx(width.item(), rel=0.4)
    error = torch.tensor(shares).std().item() / math.sqrt(16)  # a population loses the narrow peak now and then
    assert sum(shares) / 16 == pytest.approx(0.3, abs=4 * error)
    assert error < 0.07


def test_a_start_with_the_right_density_needs_one_stage(progress):
    start = MultivariateNormal(torch.ones(3), 4 * torch.eye(3))
    seen = []
    metric = lambda row: seen.append(row) or start.precision_matrix  # noqa: E731
    particles, _ = anneal(start.log_prob, metric, start, 4000, 4, progress, Stop())
    assert len(seen) == 1
    assert (particles.mean(0) - 1).abs().max() < 0.2
    assert (particles.std(0) - 2).abs().max() < 0.2
