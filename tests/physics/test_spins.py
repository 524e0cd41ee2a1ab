"""The observables of Ising spins, drawn from exact fields, against the sum over all configurations."""

import math

import pytest
import torch

from mera import physics
from mera.physics import Ising
from mera.physics.estimate import judged
from mera.physics.observables import Averages, Observables
from mera.physics.target import Target
from mera.sampling.diagnostics import Averaging
from tests.physics import exact

SHAPE, N = (4, 4), 40_000


def ising_fields(n, action):
    """Exact samples of an Ising field: spins from all configurations, and fields given the spins."""
    spins, eigenvalues = exact.configurations(SHAPE), action.eigenvalues(SHAPE)
    quadratic = (torch.fft.fft2(spins).abs().square() * eigenvalues).flatten(1).sum(1) / 16
    chosen = spins[torch.multinomial((quadratic / 2).softmax(0), n, replacement=True)]
    noise = torch.fft.fft2(torch.randn_like(chosen)) * eigenvalues.sqrt()
    modes = torch.fft.fft2(chosen) * eigenvalues + noise
    return torch.fft.ifft2(modes / eigenvalues if action.local else modes).real


@pytest.mark.parametrize("action", [Ising(1.7), Ising(3.1), Ising(2.3, local=True, gap=0.9)], ids=repr)
def test_against_all_configurations(action):
    series = Observables(action).measure(ising_fields(N, action))
    weights = torch.full((N,), 1 / N, dtype=torch.float64)
    averages = Averages(series, Averaging(weights, N, by_spread=True))
    found = judged(Target(action, (1, *SHAPE)).facts, averages, {key: {"k": 0.0, "k_error": 0.0} for key in series})
    expected = exact.ising(action.temperature, SHAPE)
    for name in expected.keys() & found["observables"].keys():
        value, error = found["observables"][name]
        assert abs(value - expected[name]) < 5 * error, name
        assert error < 0.03 * abs(expected[name]) + 5e-3
    assert len(expected.keys() & found["observables"].keys()) == 8
    spins, (correlator, errors) = exact.configurations(SHAPE), found["correlator"]
    weight = (-action.energy(spins) / action.temperature).softmax(0)
    neighbour = (spins * spins.roll(2, 2)).mean((1, 2, 3))  # the mean over both directions is the same
    assert correlator[0].item() == pytest.approx(1)
    assert abs(correlator[2] - weight @ neighbour) < 5 * errors[2]


def test_derivatives_by_the_temperature_are_those_of_spins():
    """The derivative of <m^2> by T from one chain, against the sum over all configurations."""
    h, temperature = 1e-4, 2.5
    derivative = (exact.ising(temperature + h, SHAPE)["m2"] - exact.ising(temperature - h, SHAPE)["m2"]) / (2 * h)
    higher, lower = Ising(temperature + h), Ising(temperature - h)
    own = {"slope": lambda phi: (higher(phi) - lower(phi)) / (2 * h)}
    history = physics.hmc((1, 4, 4), Ising(temperature), chains=32, draws=200, warmup=60, observables=own).history
    of_chains = (history["m2"] * (history["slope"].mean() - history["slope"])).mean(0)
    assert abs(of_chains.mean() - derivative) < 5 * of_chains.std() / math.sqrt(32)
    assert of_chains.std() / math.sqrt(32) < 0.15


def test_spins_of_a_field():
    """The mean of the spin at a site is tanh phi."""
    phi = torch.linspace(-3, 3, 16, dtype=torch.float64).view(1, 1, *SHAPE)
    spins = Ising(2.0).order_parameter(phi.expand(N, -1, -1, -1))
    assert set(spins.unique().tolist()) == {-1.0, 1.0}
    assert ((spins.mean(0) - phi[0].tanh()).abs() < 5 / math.sqrt(N)).all()
