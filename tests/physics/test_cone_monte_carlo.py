"""Cone Monte Carlo leaves the target invariant: exact samples stay exact, whatever the flow."""

import math

import pytest
import torch

import mera
from mera import physics
from mera.cones.incremental import Wiring
from mera.physics import FreeField, Ising, Phi4
from mera.physics.cone_sampler import ConeSampler
from mera.physics.moves import moves_of_level
from tests.helpers.laws import Asinh, randomize

FREE = FreeField(mass2=1.25)


def small_flow(L=8, **options):
    """An untrained flow with random weights."""
    torch.manual_seed(5)
    options = {"m": 4, "layers": 1, "hidden": (6,), "norm": False, "prior": "gaussian"} | options
    return randomize(mera.build("rgflow", L=L, channels=1, **options), 0.1).double()


def free_fields(n, shape, action=FREE):
    """Exact samples of a free field."""
    noise = torch.fft.fftn(torch.randn(n, 1, *shape, dtype=torch.float64), dim=(2, 3))
    return torch.fft.ifftn(noise / action.eigenvalues(shape).sqrt(), dim=(2, 3)).real


def ising_fields(n, action, shape=(4, 4)):
    """Exact samples of an Ising field: spins from all configurations, and fields given the spins."""
    spins = (2 * ((torch.arange(2**16)[:, None] >> torch.arange(16)) & 1) - 1).double().view(-1, *shape)
    eigenvalues = action.eigenvalues(shape)
    quadratic = (torch.fft.fft2(spins).abs().square() * eigenvalues).flatten(1).sum(1) / 16
    chosen = spins[torch.multinomial((quadratic / 2).softmax(0), n, replacement=True)][:, None]
    noise = torch.fft.fft2(torch.randn_like(chosen)) * eigenvalues.sqrt()
    modes = torch.fft.fft2(chosen) * eigenvalues + noise
    return torch.fft.ifft2(modes / eigenvalues if action.local else modes).real


def moments(phi):
    """Numbers of which each is a mean over fields, (B, k)."""
    mean, square = phi.mean((1, 2, 3)), phi.square().mean((1, 2, 3))
    near = (phi * phi.roll(1, 2)).mean((1, 2, 3))
    corner = (phi[:, 0, 0, 0] * phi[:, 0, 1, 1]).abs()
    return torch.stack([mean, mean.square(), square, square.square(), near, corner, phi.abs().amax((1, 2, 3))], 1)


def scores(before, after):
    """The distance between the means of two sets of fields, in standard errors."""
    a, b = moments(before), moments(after)
    return (a.mean(0) - b.mean(0)) / ((a.var(0) + b.var(0)) / len(a)).sqrt()


LOCAL = Ising(2.6, local=True, gap=0.8)
CASES = {
    "gaussian": (lambda: small_flow(), FREE, lambda n: free_fields(n, (8, 8))),
    "laplace": (lambda: small_flow(prior="laplace"), FREE, lambda n: free_fields(n, (8, 8))),
    "wide": (lambda: small_flow(L=16, m=2), FREE, lambda n: free_fields(n, (16, 16))),
    "realnvp": (
        lambda: randomize(mera.build("realnvp", L=8, m=4, channels=1, layers=1, hidden=(4,), norm=False), 0.1).double(),
        FREE,
        lambda n: free_fields(n, (8, 8)),
    ),
    "ising, local": (lambda: small_flow(L=4, m=2), LOCAL, lambda n: ising_fields(n, LOCAL)),
    "ising": (lambda: small_flow(L=4, m=2), Ising(2.6), lambda n: ising_fields(n, Ising(2.6))),
    "plain function": (lambda: small_flow(L=4, m=2), lambda phi: FREE(phi), lambda n: free_fields(n, (4, 4))),
}


@pytest.mark.parametrize("case", CASES)
def test_exact_samples_stay_exact(case):
    make, action, draw = CASES[case]
    flow = make()
    before = draw(2000)
    sampler = ConeSampler(flow, action, range(len(flow.plan.latents)), before.clone())
    for level in sampler.steps:
        sampler.steps[level].value = 0.1 if case == "realnvp" else 0.4  # a field bijector moves all latents at once
    for _ in range(2):
        rates = sampler.sweep()
    moved = (sampler.state.data - before).abs().mean()
    assert moved > 0.05
    assert all(0.02 < rate <= 1 for rate in rates.values()), rates
    assert scores(draw(2000), sampler.state.data).abs().max() < 4.2


@pytest.mark.parametrize("term", ["none", "log-det", "noise"])
def test_a_wrong_ratio_is_seen(term):
    """Without the change of the log-det, or the term of the Crank-Nicolson step, exact samples do not stay exact."""
    torch.manual_seed(5)
    stretched = {"m": 2, "prior": "gaussian", "bijector": lambda shape: Asinh(shape)}
    flow = mera.build("rgflow", L=4, channels=1, **stretched).double()
    sampler = ConeSampler(flow, FREE, range(2), free_fields(2000, (4, 4)))
    for step in sampler.steps.values():
        step.value = 0.3
    propose = sampler.state.propose

    def wrong(change, new):
        old = sampler.state.at(change)
        gain = propose(change, new)
        missing = {"none": 0, "log-det": gain, "noise": (new.square() - old.square()).sum(2) / 2}
        return gain - missing[term]

    sampler.state.propose = wrong
    for _ in range(15):
        sampler.sweep()
    worst = scores(free_fields(2000, (4, 4)), sampler.state.data).abs().max()
    assert (worst < 4.2) if term == "none" else (worst > 8)


@pytest.mark.parametrize("L", [16, 32])
@pytest.mark.parametrize("action", [FREE, Phi4(-1.0, 0.3)], ids=repr)
def test_local_and_global_ratios_agree(L, action):
    flow = small_flow(L)
    sampler = ConeSampler(flow, action, range(len(flow.plan.latents)), flow.sample(3))
    several = 0
    for moves in sampler.moves.values():
        move = moves[0]
        several = max(several, move.change.places)
        data, log_det = sampler.state.data.clone(), sampler.state.log_det
        before = move.action(sampler.action, data)
        old = sampler.state.at(move.change)
        gain = sampler.state.propose(move.change, torch.randn_like(old))
        difference = move.action(sampler.action, sampler.state.data) - before
        expected = action(sampler.state.data) - action(data)
        torch.testing.assert_close(difference.sum(1), expected, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(gain.sum(1), sampler.state.log_det - log_det, atol=1e-9, rtol=1e-9)
        sampler.state.settle(move.change, torch.zeros(difference.shape, dtype=torch.bool))
        torch.testing.assert_close(sampler.state.data, data, atol=0, rtol=0)
    assert several > 1 or L == 16


def test_moves_reach_every_latent_once():
    flow = small_flow(32)
    wiring = Wiring(flow.plan)
    for level, latents in enumerate(wiring.latents):
        moved = torch.cat([move.change.latents.flatten() for move in moves_of_level(wiring, level, 1)])
        assert torch.equal(moved.sort().values, latents.flatten().sort().values)


def test_the_whole_sampler():
    """From a poor start to the right averages, with honest errors and both starts together."""
    flow = small_flow(L=4, m=2)
    chain = physics.cone_monte_carlo(flow, FREE, chains=16, sweeps=200, warmup=40, levels=[0, 1], trajectories=3)
    for name, exact in {"phi2": FREE.phi2((4, 4)), "energy": 0.5, "m2": 1 / 1.25 / 16}.items():
        measured = chain.observables[name]
        assert abs(measured.value - exact) < 4 * measured.error, name
        assert measured.error < 0.1 * exact
    assert len(chain.acceptance) == len(chain.steps) == 2
    assert all(0.2 < rate < 1 for rate in chain.acceptance)
    assert max(chain.r_hat.values()) < 1.1
    assert chain.log_weights.shape == (200, 16)
    log_q = flow.log_prob(chain.fields)
    torch.testing.assert_close(chain.log_weights[-1], -FREE(chain.fields) - log_q, atol=1e-9, rtol=0)


def test_steps_are_tuned_in_the_warm_up():
    flow = small_flow(L=8)
    chain = physics.cone_monte_carlo(flow, Phi4(-2.0, 0.5), sweeps=20, warmup=60, trajectories=1)
    assert math.isnan(chain.acceptance[0])
    assert math.isnan(chain.steps[0])
    assert 0.2 < chain.acceptance[1] < 0.65


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda flow: physics.cone_monte_carlo(flow, FREE, chains=0), "a number of chains"),
        (lambda flow: physics.cone_monte_carlo(flow, FREE, sweeps=2), "a number of sweeps"),
        (lambda flow: physics.cone_monte_carlo(flow, FREE, levels=[7]), "a level from 0 to 1"),
        (lambda flow: physics.cone_monte_carlo(flow, FREE, levels=[1, 1]), "different levels"),
        (lambda flow: physics.cone_monte_carlo(flow, FREE, levels=1), "a list of levels"),
        (lambda flow: physics.cone_monte_carlo(flow, FREE, levels=[]), "at least one level"),
        (lambda flow: physics.cone_monte_carlo(flow, physics.XY()), "a flow of angles"),
        (lambda flow: physics.cone_monte_carlo(FREE, FREE), "a flow; got FreeField"),
        (lambda flow: physics.cone_monte_carlo(flow, FREE, start=torch.zeros(2, 1, 5, 5)), "Expected fields"),
        (lambda flow: physics.cone_monte_carlo(flow, lambda phi: phi), "one number for each field"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match="Expected") as error:
        call(small_flow())
    assert message in str(error.value)


def test_a_prior_of_bounded_support():
    """The field may leave what the flow can generate by trajectories, and comes back with the right weight."""
    flow = small_flow(L=4, m=2, prior="Uniform(low=-1, high=1)")
    chain = physics.cone_monte_carlo(flow, FREE, chains=64, sweeps=150, warmup=20, levels=[0, 1], trajectories=1)
    measured = chain.observables["phi2"]
    assert abs(measured.value - FREE.phi2((4, 4))) < 4 * measured.error
    assert measured.error < 0.003
    assert min(chain.acceptance) > 0.01


def test_an_action_without_a_gradient_needs_none():
    flow = small_flow(L=4, m=2)
    with pytest.warns(UserWarning, match="a mode that the flow misses would not show"):
        chain = physics.cone_monte_carlo(
            flow, lambda phi: FREE(phi.detach()), chains=4, sweeps=8, warmup=2, trajectories=0
        )
    assert chain.history["m2"].shape == (8, 4)
    assert chain.acceptance_of_trajectories is None
    assert 0 < physics.cone_monte_carlo(flow, FREE, chains=4, sweeps=8, warmup=2).acceptance_of_trajectories <= 1


def test_weights_of_a_symmetrized_flow():
    flow = mera.Symmetrized(small_flow(L=4, m=2))
    chain = physics.cone_monte_carlo(flow, FREE, chains=4, sweeps=8, warmup=2)
    expected = -FREE(chain.fields) - flow.log_prob(chain.fields)
    torch.testing.assert_close(chain.log_weights[-1], expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (small_flow(L=4, m=2, boundary="open"), FreeField(0.8, periodic=False)),
        lambda: (small_flow(L=16, m=4, dim=1), FREE),
        lambda: (small_flow(L=4, m=2, dim=3), FREE),
        lambda: (small_flow(L=8).float(), FREE),
    ],
)
def test_other_lattices_and_precision(make):
    flow, action = make()
    chain = physics.cone_monte_carlo(flow, action, chains=32, sweeps=60, warmup=20, trajectories=4)
    measured = chain.observables["phi2"]
    assert abs(measured.value - action.phi2(flow.plan.input.shape)) < 4 * measured.error
    assert measured.error < 0.01
    assert chain.fields.dtype == flow.dtype


class Staggered(FreeField):
    """A density that is not the same around each site, so that its reach says too much."""

    def density(self, phi):
        return super().density(phi) * (1 + torch.arange(phi.shape[-1]))


def test_a_reach_that_is_not_one():
    flow = small_flow(16)
    with pytest.raises(ValueError, match="the same function around each site"):
        ConeSampler(flow, Staggered(), [0], flow.sample(2))
