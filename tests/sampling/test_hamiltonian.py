"""Hamiltonian trajectories are those of leapfrog, reversible, and sample known targets."""

import math

import pytest
import torch

from mera.sampling.hamiltonian import ORDINARY, TARGET_RATE, HamiltonianChains, StepSize

MATRIX = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, -0.4], [0.0, -0.4, 3.0]], dtype=torch.float64)
START = torch.tensor([[0.3, -1.2, 0.4], [1.1, 0.2, -0.7]], dtype=torch.float64)
SCALES = {"unit": None, "symmetric": MATRIX, "triangular": MATRIX.tril() + 1}


def gaussian(x):
    return -torch.einsum("ki,ij,kj->k", x, MATRIX, x) / 2


def quartic(x):
    return -x.pow(4).sum(1)


@pytest.fixture
def momenta(monkeypatch):
    """Momenta that a trajectory takes in place of random ones, and a choice that always accepts."""
    values = []
    monkeypatch.setattr(torch, "randn_like", lambda x: values.pop(0))
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.zeros_like(x))
    return values


def leapfrog(x, p, step, steps, scale):
    """The trajectory of Neal's Eq. 18 to 20, written out: q with x = S q moves under the potential of x."""
    S = torch.eye(3, dtype=torch.float64) if scale is None else scale

    def force(x):
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((0.5 * gaussian(x) + 2 * quartic(x)).sum(), x)
        return torch.einsum("ij,ki->kj", S, gradient)

    for _ in range(steps):
        p = p + step / 2 * force(x)
        x = x + step * torch.einsum("ij,kj->ki", S, p)
        p = p + step / 2 * force(x)
    return x, p


@pytest.mark.parametrize("scale", SCALES)
def test_trajectories_are_those_of_leapfrog_and_reversible(momenta, scale):
    """With the momentum turned round, a trajectory leads back, to 1e-10, and its rate is the inverse ratio."""
    chains = HamiltonianChains([gaussian, quartic], START)
    p = torch.tensor([[0.4, -0.2, 0.9], [-1.0, 0.1, 0.5]]).double()
    chains.weights, chains.scale = [0.5, 2.0], SCALES[scale]
    step = torch.tensor([0.02, 0.03], dtype=torch.float64)
    expected, p_end = leapfrog(START, p, step[:, None], 7, SCALES[scale])
    energies = [0.5 * gaussian(x) + 2 * quartic(x) - q.square().sum(1) / 2 for x, q in ((START, p), (expected, p_end))]
    momenta += [p, -p_end]
    rate = chains.trajectory(step, 7)
    torch.testing.assert_close(chains.x, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(rate, (energies[1] - energies[0]).clamp(max=0).exp(), atol=1e-12, rtol=0)
    torch.testing.assert_close(chains.value, 0.5 * gaussian(expected) + 2 * quartic(expected))
    torch.testing.assert_close(chains.gradients[1], -4 * expected**3)
    back = chains.trajectory(step, 7)
    torch.testing.assert_close(chains.x, START, atol=1e-10, rtol=0)
    assert ((rate < 1) != (back < 1)).all()


@pytest.mark.parametrize("scale", SCALES)
def test_chains_sample_the_target(scale):
    """Also where a trajectory is often rejected, and a chain stays with its values and gradients."""
    chains = HamiltonianChains([gaussian], torch.randn(16, 3, dtype=torch.float64))
    chains.scale = SCALES[scale]
    step, rows, rates = {"unit": 0.9, "symmetric": 0.3, "triangular": 0.2}[scale], [], []
    for _ in range(600):
        rates.append(chains.trajectory(step, 3))
        rows.append(chains.x)
    torch.testing.assert_close((chains.values, chains.gradients), chains.evaluate(chains.x))
    assert 0.2 < torch.stack(rates).mean() < 0.97
    covariance = torch.cov(torch.stack(rows).flatten(0, 1).T)
    torch.testing.assert_close(covariance, MATRIX.inverse(), atol=0.12, rtol=0)


def test_chains_are_taken_and_turned_round(monkeypatch):
    chains = HamiltonianChains([gaussian, quartic], START)
    monkeypatch.setattr(torch, "randint", lambda *arguments, **options: torch.tensor([0, 1]))
    chains.mirror()
    torch.testing.assert_close(chains.x, START * torch.tensor([[1], [-1]]))
    torch.testing.assert_close((chains.values, chains.gradients), chains.evaluate(chains.x))
    chains.take(torch.tensor([1, 1]))
    torch.testing.assert_close(chains.x, -START[[1, 1]])
    torch.testing.assert_close((chains.values, chains.gradients), chains.evaluate(chains.x))


def test_terms_without_a_gradient():
    constant = HamiltonianChains([gaussian, lambda x: torch.zeros(len(x), dtype=x.dtype)], START)
    assert constant.gradients[1].eq(0).all()


@pytest.mark.parametrize(("place", "is_error"), [(ORDINARY / 2, True), (2 * ORDINARY, False)])
def test_nan_is_an_error_of_ordinary_variables_alone(momenta, place, is_error):
    def target(x):
        return torch.where(x[:, 0] > 1, math.nan, 0.0 * x[:, 0])

    chains = HamiltonianChains([target], torch.zeros(2, 1, dtype=torch.float64))
    momenta.append(torch.tensor([[place], [0.0]], dtype=torch.float64))
    if is_error:
        with pytest.raises(FloatingPointError, match="finite log-density"):
            chains.trajectory(1.0, 1)
    else:
        assert chains.trajectory(1.0, 1).tolist() == [0.0, 1.0]
        assert chains.x.tolist() == [[0.0], [0.0]]


def test_steps_are_tuned():
    single, several = StepSize(0.5), StepSize(torch.tensor([0.5, 0.5]), least=0.45)
    for number, rate in enumerate((0.9, 0.2), start=1):
        before = single.value.item()
        single.tune(rate)
        assert single.value.item() == pytest.approx(before * math.exp((rate - TARGET_RATE) / math.sqrt(number)))
        several.tune(torch.tensor([rate, TARGET_RATE]))
    assert several.value.flatten().tolist() == pytest.approx([0.45, 0.5])
    single.proposals = 0
    before = single.value.item()
    single.tune(0.9)
    assert single.value.item() == pytest.approx(before * math.exp(0.1))
    low = StepSize(0.5, least=0.4)
    low.tune(0.0)
    assert low.value == 0.4
