"""A flow that misses winding sectors has perfect weights, and the verdict finds it out."""

import math

import pytest
import torch
from scipy.special import iv
from torch.distributions import VonMises

import mera
from mera import physics
from mera.bijectors import wrap
from mera.sampling.verdict import Trust

BETA, L = 2.0, 16
LOG_Z = L * math.log(2 * math.pi) + math.log(sum(iv(k, BETA) ** L for k in range(-40, 41)))


def windings(phi):
    """The winding numbers of fields (B, 1, L) around the chain."""
    return (wrap(phi.roll(-1, -1) - phi).sum((1, 2)) / (2 * math.pi)).round()


def exact(n):
    """About n independent samples of the chain: an open one, accepted by its last link."""
    links = VonMises(torch.zeros((), dtype=torch.float64), torch.tensor(BETA, dtype=torch.float64))
    first = 2 * math.pi * torch.rand(4 * n, 1, dtype=torch.float64)
    phi = wrap(torch.cat([first, links.sample((4 * n, L - 1))], 1).cumsum(1))
    accepted = torch.rand(4 * n) < (BETA * ((phi[:, 0] - phi[:, -1]).cos() - 1)).exp()
    return phi[accepted][:, None]


class Unwound(mera.Flow):
    """The exact density of the chain, restricted to fields without windings."""

    share: float

    def draw_noise(self, n, temperature=1.0, device=None):
        phi = exact(2 * n)
        return (phi[windings(phi) == 0][:n],)

    def generate_with_log_prob(self, noise, context=None):
        return noise[0], self.log_prob(noise[0])

    def log_prob(self, x, context=None):
        return -physics.XY(BETA)(x) - LOG_Z - math.log(self.share) - 50 * (windings(x) != 0)


def test_windings_that_a_flow_misses_are_in_the_verdict():
    torch.manual_seed(0)
    flow = mera.build("decimation", L=L, dim=1, channels=1, hidden=(4,), **physics.XY.flow_options).double()
    flow.__class__ = Unwound
    flow.share = (windings(exact(10_000)) == 0).double().mean().item()
    assert 0.65 < flow.share < 0.8
    with pytest.warns(UserWarning, match="the flow misses"):
        report = physics.estimate(flow, physics.XY(BETA), n=2000)
    assert report.ess > 0.999  # nothing else tells
    assert report.missed == pytest.approx(1 - flow.share, abs=0.06)
    assert report.log_z == pytest.approx(LOG_Z + math.log(flow.share), abs=1e-9)
    assert report.verdict.trust == Trust.WRONG
    clusters = physics.cluster(physics.XY(BETA), (1, L), draws=300)
    moduli = [estimate.observables["helicity_modulus"].value for estimate in (report, clusters)]
    assert moduli[0] > 0.5 > 0.2 > moduli[1]
