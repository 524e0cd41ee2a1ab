"""Annealing: weights, resampling and stages, where the answer is known."""

import math

import pytest
import torch

from mera.sampling.annealing import MIN_CHANGE, anneal, effective_number, largest_change, move, systematic
from mera.sampling.hamiltonian import HamiltonianChains, StepSize


def test_effective_numbers():
    log_weights = torch.tensor([[1.0, 1.0, 1.0], [0.0, -math.inf, -math.inf], [math.log(2), 0.0, 0.0]])
    torch.testing.assert_close(effective_number(log_weights, 1), torch.tensor([3.0, 1.0, 16 / 6]))
    torch.testing.assert_close(effective_number(log_weights.T), torch.tensor([3.0, 1.0, 16 / 6]))


def test_the_largest_change_keeps_the_effective_number():
    ratio = torch.randn(3, 50, dtype=torch.float64) * torch.tensor([[0.01], [3.0], [1e14]])
    change = largest_change(ratio, 0.8, 30.0)
    assert change[0] == 0.8
    assert effective_number(change[1] * ratio[1]).item() == pytest.approx(30, abs=1e-6)
    assert change[2] == MIN_CHANGE


def test_systematic_resampling():
    """Each parent has its weight's share of successors, rounded up or down, and on average exactly its share."""
    weights = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.05, 0.05, 0.3, 0.6]], dtype=torch.float64)
    counts = torch.stack([
        torch.stack([torch.bincount(row, minlength=4) for row in systematic(weights)]) for _ in range(2000)
    ]).double()  # fmt: skip
    shares = 4 * weights
    assert (counts.amin(0) >= shares.floor()).all()
    assert (counts.amax(0) <= shares.ceil()).all()
    torch.testing.assert_close(counts.mean(0), shares, atol=0.05, rtol=0)


def start(x):
    return -x.square().sum(1) / 2


def target(x):
    return torch.where(x[:, 0] > 4, -math.inf, -(x - 2).square().sum(1) / (2 * 0.09))


def annealed(**options):
    seen, step = [], StepSize(0.3)
    settings = {"survivors": 0.5, "moves": 2, "leapfrog": 3, "show": lambda *stage: seen.append(stage)} | options
    x, stages = anneal(start, target, torch.randn(2000, 2, dtype=torch.float64), step, **settings)
    return x, stages, seen


@pytest.mark.parametrize("scale", [None, lambda x, beta: x.std(0).diag()])
def test_particles_come_to_the_target(scale):
    x, stages, seen = annealed(scale=scale)
    assert x.mean(0).tolist() == pytest.approx([2, 2], abs=0.04)
    assert x.std(0).tolist() == pytest.approx([0.3, 0.3], abs=0.03)
    betas, steps = zip(*stages, strict=True)
    assert list(betas) == sorted(set(betas))
    assert betas[-1] == 1
    assert seen == [(number, beta) for number, beta in enumerate(betas, start=1)]
    assert len(set(steps)) == len(stages) > 2
    assert len(annealed(survivors=0.9)[1]) > len(stages)


def test_what_anneals_nowhere_is_refused():
    def never(x):
        return torch.full_like(x[:, 0], -math.inf) + 0 * x.sum(1)

    settings = {"survivors": 0.5, "moves": 1, "leapfrog": 1, "show": print}
    with pytest.raises(ValueError, match="a particle of finite density; got none among 5"):
        anneal(start, never, torch.randn(5, 2), StepSize(0.1), **settings)


def test_moves_have_the_mean_rate_and_tune_the_step(monkeypatch):
    chains, rates, steps = HamiltonianChains([start, target], torch.randn(50, 2, dtype=torch.float64) + 2), [], []

    def trajectory(step, n, run=chains.trajectory):
        steps.append((float(step), n))
        rates.append(run(step, n).mean().item())
        return torch.tensor([rates[-1]])

    monkeypatch.setattr(chains, "trajectory", trajectory)
    step = StepSize(0.2)
    assert move(chains, 0.25, step, 40, 3) == pytest.approx(sum(rates) / 40)
    assert chains.weights == [0.75, 0.25]
    assert {size for size, _ in steps} == {0.2}
    assert {n for _, n in steps} == {1, 2, 3}
    move(chains, 0.25, step, 3, 1, tune=True)
    assert len({size for size, _ in steps}) == 3
    assert {n for _, n in steps[40:]} == {1}
