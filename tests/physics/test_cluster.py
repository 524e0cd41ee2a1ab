"""Cluster updates against sums over all configurations and against Hamiltonian Monte Carlo."""

import math

import pytest
import torch

from mera import physics
from mera.physics import ON, XY, FreeField, Ising, Phi4
from mera.physics.cluster import cluster_signs
from tests.physics import exact

KNOWN = [
    *((action, (4, 4), exact.ising(action.temperature, (4, 4))) for action in (Ising(1.9), Ising(2.6, True, 1.0))),
    (XY(1.2), (6,), exact.chain_of_angles(1.2, 6)),
]


@pytest.mark.parametrize(("action", "shape", "expected"), KNOWN, ids=lambda value: repr(value)[:20])
def test_against_exact_averages(action, shape, expected):
    torch.manual_seed(0)
    found = physics.cluster(action, (1, *shape), draws=600, warmup=20)
    for name in expected.keys() & found.observables.keys():
        value, error = found.observables[name]
        assert abs(value - expected[name]) < 5 * error + 1e-9, name
    assert found.tau["m2"] < 4
    assert found.acceptance == 1


@pytest.mark.parametrize(
    ("action", "shape"),
    [
        (ON(2, -1.0, 0.25), (2, 4, 6)),
        pytest.param(Phi4(-1.0, 0.5, periodic=(True, False)), (1, 4, 6), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_lengths_need_trajectories(action, shape):
    torch.manual_seed(0)
    found = physics.cluster(action, shape, draws=300, warmup=50)
    chain = physics.hmc(shape, action, draws=400, warmup=100)
    for name in ("m2", "m4", "phi2", "energy"):
        difference = found.observables[name].value - chain.observables[name].value
        assert abs(difference) < 5 * math.hypot(found.observables[name].error, chain.observables[name].error), name


@pytest.mark.parametrize("action", [Ising(2.0), Ising(2.0, local=True), XY(1.1), ON(3), Phi4()], ids=repr)
def test_what_embedding_spins_promises(action):
    """Signs change components alone, and S by the products of neighbours."""
    torch.manual_seed(0)
    phi = torch.randn(3, action.channels or 1, 4, 6, dtype=torch.float64)
    state = torch.get_rng_state()
    component, fields = action.embed(phi)
    signs = 1.0 - 2 * torch.randint(2, component.shape).double()

    def energy(c):
        return -sum((c * c.roll(-1, axis)).flatten(1).sum(1) for axis in (1, 2))

    if isinstance(action, Ising):
        spins = component * math.sqrt(action.temperature)
        assert (spins.abs() - 1).abs().max() < 1e-12
        torch.testing.assert_close(energy(component), action.energy(spins[:, None]) / action.temperature)
        assert fields(signs).shape == phi.shape
        return
    changed = fields(signs)
    torch.set_rng_state(state)
    again, _ = action.embed(changed)  # along the same direction
    torch.testing.assert_close(again, signs * component)
    torch.testing.assert_close(action(changed) - action(phi), energy(signs * component) - energy(component))
    torch.testing.assert_close(fields(torch.ones_like(signs)), phi)


def test_clusters_are_those_of_bonds():
    """Strong bonds join all, none leaves each site alone; borders count only in periodic directions."""
    torch.manual_seed(0)
    strong = cluster_signs(torch.full((50, 3, 5), 100.0), [True, True]).flatten(1)
    assert (strong == strong[:, :1]).all()
    assert 10 < (strong[:, 0] > 0).sum() < 40
    alone = cluster_signs(torch.zeros(200, 3, 5), [True, True])
    assert abs(alone.mean()) < 0.1
    split = torch.full((200, 4), 100.0)
    split[:, 2] = 0
    closed, opened = (cluster_signs(split, [periodic]) for periodic in (True, False))
    assert torch.equal(closed[:, 0], closed[:, 3])
    assert not torch.equal(opened[:, 0], opened[:, 3])
    joined = [cluster_signs(torch.full((20_000, 2), 0.5), [False]).prod(1).mean().item() for _ in range(1)]
    assert joined[0] == pytest.approx(1 - math.exp(-2 * 0.25), abs=0.03)


def test_other_actions_are_refused():
    with pytest.raises(ValueError, match=r"embeds Ising spins \(Action.embed\)"):
        physics.cluster(lambda phi: phi.square().flatten(1).sum(1), (1, 4, 4))
    assert physics.cluster(FreeField(), (1, 4, 4), draws=8, warmup=2)
