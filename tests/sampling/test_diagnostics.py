"""Errors of correlated draws, where the autocorrelation is known."""

import math

import pytest
import torch

from mera.sampling.diagnostics import gamma_method


def autoregressive(rho, n, k):
    """Chains of unit variance with the autocorrelation time (1 + rho) / (1 - rho) / 2."""
    x = torch.randn(k, dtype=torch.float64)
    rows = []
    for _ in range(n):
        x = rho * x + math.sqrt(1 - rho**2) * torch.randn(k, dtype=torch.float64)
        rows.append(x)
    return torch.stack(rows)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_gamma_method_of_an_autoregressive_process(rho):
    exact = (1 + rho) / (1 - rho) / 2
    results, scores = [], []
    for _ in range(60):
        chains = autoregressive(rho, 1000, 4)
        results.append(gamma_method(chains))
        scores.append(chains.mean().item() / results[-1].error)
    mean = sum(r.tau for r in results) / 60
    assert mean == pytest.approx(exact, rel=0.05)
    assert 0.75 < torch.tensor(scores).std().item() < 1.3
    spread = torch.tensor([r.tau for r in results]).std().item()
    stated = sum(r.tau_error for r in results) / 60
    assert 0.6 < spread / stated < 1.6


def test_gamma_method_of_special_chains():
    assert gamma_method(torch.ones(10, 2)) == (0.0, 0.5, 0.0, 0)
    with pytest.raises(ValueError, match="at least 8 draws"):
        gamma_method(torch.ones(7, 2))
    with pytest.raises(ValueError, match="finite draws"):
        gamma_method(torch.full((8, 1), math.nan))


@pytest.mark.parametrize("rho", [-0.3, -0.4, -0.6])
def test_anticorrelated_chains_have_honest_errors(rho):
    torch.manual_seed(0)
    scores = []
    for _ in range(200):
        chains = autoregressive(rho, 200, 4)
        scores.append(chains.mean().item() / gamma_method(chains).error)
    assert 0.85 < torch.tensor(scores).square().mean().sqrt() < 1.15


@pytest.mark.parametrize("chains", [torch.ones(8), torch.ones(8, 0), torch.ones(8, 1, dtype=torch.cfloat)])
def test_series_that_are_refused(chains):
    with pytest.raises(ValueError, match=r"real numbers along chains, \(draws, K\)"):
        gamma_method(chains)
