"""Errors of correlated draws, where the autocorrelation is known."""

import math

import pytest
import torch

from mera.sampling.diagnostics import effective_size, gamma_method, r_hat, r_hat_by_chance


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
    """A constant, and how much is rounding."""
    assert gamma_method(torch.ones(10, 2)) == (0.0, 0.5, 0.0, 0)
    noise = torch.randn(8, 1, dtype=torch.float64)
    assert gamma_method(1e14 + noise).error == 0
    assert gamma_method(1e10 + noise).error > 0
    assert gamma_method(noise.numpy()) == gamma_method(noise)


@pytest.mark.parametrize("rho", [-0.3, -0.4, -0.6])
def test_anticorrelated_chains_have_honest_errors(rho):
    torch.manual_seed(0)
    scores = []
    for _ in range(200):
        chains = autoregressive(rho, 200, 4)
        scores.append(chains.mean().item() / gamma_method(chains).error)
    assert 0.85 < torch.tensor(scores).square().mean().sqrt() < 1.15


@pytest.mark.parametrize(("chains", "message"), [
    (torch.ones(7, 2), "at least 8 draws"), (torch.arange(8.0).log()[:, None], "finite draws"),
    *((x, r"real numbers along chains, \(draws, K\)")
      for x in (torch.ones(8), torch.ones(8, 0), torch.ones(8, 1, dtype=torch.cfloat))),
])  # fmt: skip
def test_series_that_are_refused(chains, message):
    with pytest.raises(ValueError, match=message):
        gamma_method(chains)


def naive_gamma_method(chains):
    """Wolff's Eq. 31, 32, 35, 42, 49 to 52, with loops; Geyer's sequence where neighbours are anticorrelated."""
    n, k = chains.shape
    total, centred = n * k, (chains - chains.mean()).tolist()
    gamma = [sum(centred[i][r] * centred[i + t][r] for i in range(n - t) for r in range(k)) / (k * (n - t))
             for t in range(n)]  # fmt: skip
    window, running = max(1, n // 2 - 1), 0.5
    for t in range(1, n // 2):
        running += gamma[t] / gamma[0]
        decay = 1.5 / math.log((2 * running + 1) / (2 * running - 1)) if running > 0.5 else 1e-9
        if math.exp(-t / decay) < decay / math.sqrt(t * total):
            window = t
            break
    if gamma[1] < 0:
        pairs = [gamma[2 * t] + gamma[2 * t + 1] for t in range(n // 4)]
        length = next((t for t in range(len(pairs)) if pairs[t] <= 0 or pairs[t] > min(pairs[: t + 1])), len(pairs))
        window = 2 * max(1, length) - 1
    bias = (gamma[0] + 2 * sum(gamma[1 : window + 1])) / total
    gamma = [g + bias for g in gamma]
    summed = max(gamma[0] + 2 * sum(gamma[1 : window + 1]), gamma[0] / math.log10(10 * total))
    tau = summed / (2 * gamma[0])
    return math.sqrt(summed / total), tau, tau * math.sqrt(4 / total * max(0.5, window + 0.5 - tau)), window


@pytest.mark.parametrize(("rho", "n", "k"), [(0.0, 40, 3), (0.7, 90, 2), (0.99, 30, 1), (-0.5, 60, 2), (-0.9, 41, 3)])
def test_gamma_method_is_that_of_the_paper(rho, n, k):
    time = torch.arange(n, dtype=torch.float64)[:, None]
    drifting = time.repeat(1, 5)  # without a window
    swinging = (-1) ** time * (-time / 200).exp()  # whose pairs of autocorrelations are positive to the end
    for chains in (drifting, swinging, *(3 + autoregressive(rho, n, k) for _ in range(4))):
        assert gamma_method(chains) == pytest.approx(naive_gamma_method(chains), rel=1e-9)


def test_r_hat_and_effective_sizes():
    """Chains apart, a single chain that drifts, and the effective size of an autoregressive process."""
    independent = torch.randn(500, 4, 2, dtype=torch.float64)
    apart = independent + torch.arange(4)[:, None] * torch.tensor([0.0, 1.0])
    found = r_hat(apart)
    assert found[0] < 1.02 < 1.2 < found[1]
    assert effective_size(apart)[1] < 30
    drifting = torch.linspace(0, 5, 400, dtype=torch.float64)[:, None, None] + torch.randn(400, 1, 1)
    assert r_hat(drifting).item() > 1.5
    assert torch.equal(r_hat(drifting), r_hat(torch.cat(drifting.chunk(2), 1)))
    assert r_hat(torch.randn(401, 1, 1)).item() < 1.03
    assert r_hat(torch.ones(100, 4, 1)).isnan().all()
    sizes = effective_size(torch.stack([autoregressive(rho, 2000, 4) for rho in (0.0, 0.8)], 2))
    assert sizes[0].item() == pytest.approx(8000, rel=0.15)
    assert sizes[1].item() == pytest.approx(8000 / 9, rel=0.2)


def test_the_chance_level_is_that_of_the_series_that_r_hat_looks_at():
    """Of slow values with random signs, which hide that distances from the median are slow; and chains apart."""
    torch.manual_seed(0)
    slow = 3 + autoregressive(0.95, 300, 16)
    signed = slow * (1 - 2 * torch.randint(2, slow.shape))
    assert r_hat(signed[..., None], folded=False) < 1.01 < 1.05 < r_hat(signed[..., None]) < r_hat_by_chance(signed)
    assert r_hat_by_chance(signed, folded=False) < 1.01
    apart = signed + signed.sign() * torch.linspace(-3, 3, 16)
    assert r_hat(apart[..., None]) > r_hat_by_chance(apart)
    assert r_hat_by_chance(slow[:12]) == math.inf


def test_independent_slow_chains_stay_below_the_chance_level():
    """Each half loses its own mean, by which so short ones would underestimate the autocorrelation time."""
    torch.manual_seed(0)
    for _ in range(20):
        chains = autoregressive(0.95, 300, 16)
        assert r_hat(chains[..., None]) < r_hat_by_chance(chains)


def test_effective_numbers_do_not_exceed_draws():
    assert effective_size(autoregressive(-0.9, 16, 2)[..., None]).item() <= 32
