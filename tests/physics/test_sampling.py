"""Reweighting, Metropolis and HMC where the answer is known, with honest errors."""

import math

import pytest
import torch

import mera
from mera import physics
from mera.physics import ActionFamily, FreeField, Phi4
from tests.physics import exact
from tests.physics.test_verdicts import chain_of

FREE = FreeField(mass2=1.25)


def trained(action, L=4, steps=150, **options):
    torch.manual_seed(1)
    options = {"m": 4, "layers": 2, "hidden": (16,), "norm": False, "prior": "gaussian"} | options
    flow = mera.build("rgflow", L=L, channels=1, **options).double()
    mera.train.fit(flow, action, steps=steps, batch_size=64, lr=5e-3, eval_every=steps, eval_images=100)
    return flow


@pytest.fixture(scope="module")
def flow():
    return trained(FREE)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The errors mean nothing")  # Pareto k of so few samples is rough
def test_reweighting_covers(flow):
    """Over 50 repetitions, errors cover the exact values as often as they should."""
    exact_z, exact_phi2 = FREE.log_z((4, 4)), FREE.phi2((4, 4))
    scores, fields = [], flow.sample(50)  # the verdicts do not matter
    for _ in range(50):
        report = physics.estimate(flow, FREE, n=500, fields=fields)
        phi2 = report.observables["phi2"]
        scores.append([(report.log_z - exact_z) / report.log_z_error, (phi2.value - exact_phi2) / phi2.error])
    scores = torch.tensor(scores)
    assert report.ess > 0.5
    assert physics.estimate(flow, FREE, n=2000).verdict.startswith(("errors can be trusted", "errors are usable"))
    assert scores.mean(0).abs().max() < 4 / math.sqrt(50)
    assert (scores.std(0) < 1.35).all()
    assert (scores.std(0) > 0.7).all()
    assert -report.free_energy.value < exact_z + 4 * report.free_energy.error


SAMPLERS = {
    "metropolis": lambda flow: physics.metropolis(flow, FREE, draws=1000, chains=16),
    "field": lambda flow: physics.hmc((1, 4, 4), FREE, draws=500, warmup=100),
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_of_the_free_field(flow, sampler):
    chain = SAMPLERS[sampler](flow)
    eigenvalues = FREE.eigenvalues((4, 4))
    expected = exact.free_field(FREE, (4, 4))
    expected["correlation_length"] = math.sqrt(eigenvalues[1, 0].item() / 1.25 - 1) / (2 * math.sin(math.pi / 4))
    del expected["ln Z"]
    for name, value in expected.items():
        measured = chain.observables[name]
        assert abs(measured.value - value) < 4 * measured.error, name
        assert measured.error < 0.2 * abs(value) + 0.3, name
    values, errors = chain.correlator
    assert ((values - torch.fft.ifft2(eigenvalues.reciprocal()).real[0, :3]).abs() < 4 * errors).all()
    assert max(chain.r_hat.values()) < 1.2
    assert 0.3 < chain.acceptance <= 1
    assert chain.history["m2"].shape[1] == chain.fields.shape[0] == 16
    assert "phi2" in repr(chain)


def test_chains_of_an_even_action_change_their_sign():
    """In the broken phase the wells are out of reach of trajectories, and all even observables are right in each."""
    action = Phi4(-4.0, 0.5)
    chain = physics.hmc((1, 4, 4), action, chains=8, draws=200, warmup=100)
    assert chain.r_hat["m"] < 1.05
    assert "chains do not agree" not in chain.verdict
    assert abs(chain.observables["m"].value) < 5 * chain.observables["m"].error
    signs = chain.history["m"].sign()
    assert ((signs > 0).double().mean(0) - 0.5).abs().max() < 0.2
    kept = physics.hmc((1, 4, 4), lambda phi: action(phi), chains=8, draws=100, warmup=100)  # not declared as even
    assert (kept.history["m"].sign() == kept.history["m"].sign()[0]).all()
    assert "chains do not agree" in kept.verdict


def test_the_length_of_the_decay_of_slices_is_a_function_of_averages():
    """The recipe of docs/physics.md, for a field whose slices decay as one hyperbolic cosine from distance 0 on."""

    def slices(t):
        return lambda phi: (phi.mean(3) * phi.mean(3).roll(t, 2)).mean((1, 2))

    own = {f"C{t}": slices(t) for t in range(3)}
    chain = physics.hmc((1, 12, 8), FREE, draws=300, warmup=80, observables=own)
    found = chain.derive(lambda mean: 1 / torch.acosh((mean["C0"] + mean["C2"]) / (2 * mean["C1"])))
    assert found.error < 0.05
    assert abs(found.value - 1 / math.acosh(1 + FREE.mass2 / 2)) < 4 * found.error


def test_open_borders_and_other_dimensions():
    open_field = FreeField(0.8, periodic=False)
    chain = physics.hmc((1, 5), open_field, draws=400, warmup=80)
    assert chain.correlator is None
    assert "correlation_length" not in chain.observables
    measured = chain.observables["phi2"]
    assert abs(measured.value - open_field.phi2((5,))) < 4 * measured.error
    strip = FreeField(0.8, periodic=(False, True))
    chain = physics.hmc((1, 12, 10), strip, draws=20, warmup=10)
    assert chain.correlator[0].shape == (6,)
    assert "correlation_length" in chain.observables
    with pytest.raises(ValueError, match="one for each of 1 directions"):
        physics.hmc((1, 5), strip)
    with pytest.raises(ValueError, match="as True or False"):
        FreeField(0.8, periodic=(True, 1))
    cube = physics.hmc((2, 3, 4, 5), physics.ON(2, 1.0, 0.1), draws=20, warmup=10)
    assert cube.fields.shape == (16, 2, 3, 4, 5)
    assert cube.correlator[0].shape == (2,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda flow: physics.estimate(flow, FREE, n=1), "a number of samples"),
        (lambda flow: physics.estimate(FREE, FREE), "a flow; got FreeField"),
        (lambda flow: physics.hmc(8, FREE), "the shape (C, *shape) of a field, as 2 or more positive integers; got 8"),
        (
            lambda flow: physics.hmc((4,), FREE),
            "of a field, as 2 or more positive integers; got (4,)",
        ),
        (lambda flow: physics.hmc((8, 8), FREE), "which has 8: the shape is (channels, *lattice)"),
        (lambda flow: physics.hmc((1, 4), FREE, start=torch.ones(2, 1, 4).long()), "finite floats"),
        (lambda flow: physics.hmc((1, 4), FREE, start=torch.ones(0, 1, 4)), "one field or more"),
        (lambda flow: physics.hmc((1, 4), FREE, start=torch.full((2, 1, 4), math.nan)), "finite floats"),
        (lambda flow: physics.hmc((1, 4), lambda phi: FREE(phi.detach())), "differentiable"),
        (lambda flow: physics.estimate(flow, FREE, fields=[1]), "Expected fields"),
        (lambda flow: physics.estimate(flow, FREE, observables={"m2": lambda phi: phi}), "not taken; got 'm2'"),
        (
            lambda flow: physics.estimate(flow, FREE, observables={"x": lambda phi: phi[:, 0, 0, 0] / 0}),
            "finite values",
        ),
        (lambda flow: physics.estimate(flow, FREE, observables={"x": lambda phi: phi}), "from the observable 'x'"),
        (lambda flow: physics.hmc((1, 4), FREE, draws=3), "a number of draws"),
        (lambda flow: physics.hmc((1, 4), FREE, start=torch.zeros(3, 1, 5)), "Expected fields"),
        (lambda flow: physics.anneal(FREE, (1, 4, 4), populations=3), "populations as an integer >= 4"),
        (lambda flow: physics.anneal(ActionFamily(FREE, mass2=(0.5, 3.0)), (1, 4, 4)), "one action of the family"),
    ],
)
def test_messages(flow, call, message):
    with pytest.raises(ValueError, match="Expected") as error:
        call(flow)
    assert message in str(error.value)


def test_chains_that_do_not_move(flow):
    chain = physics.metropolis(flow, Phi4(-40.0, 0.25), chains=2, draws=10, warmup=300)
    assert chain.acceptance < 0.01
    assert len(max(repr(chain).splitlines(), key=len)) < 150
    stuck = chain_of(chain.history["m2"][-1:].expand(8, -1), rate=0.0)
    assert stuck.r_hat["m2"] == math.inf
    assert "the chains do not move" in repr(stuck)


def test_trajectories_from_nowhere():
    def walled(phi):
        return torch.where(phi.abs() > 50, math.inf, phi.square()).flatten(1).sum(1)

    with pytest.raises(FloatingPointError, match="at the start"):
        physics.hmc((1, 4), walled, draws=8, start=torch.full((2, 1, 4), 60.0))
