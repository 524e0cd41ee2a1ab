"""Correlation lengths by fits, where they are known."""

import math
from dataclasses import replace

import pytest
import torch

import mera
from mera import physics
from mera.physics.correlation_length import CorrelationLength
from mera.physics.estimate import report_of
from mera.sampling.verdict import Trust, Verdict
from tests.physics.test_verdicts import chain_of, recorded


def fields(mass2, shape, n, seed=0):
    """Independent fields of a free theory, from its Fourier modes."""
    torch.manual_seed(seed)
    waves = [2 * torch.sin(torch.pi * torch.arange(edge) / edge).double() for edge in shape]
    momentum = sum(grid.square() for grid in torch.meshgrid(*waves, indexing="ij"))
    noise = torch.fft.fftn(torch.randn(n, *shape, dtype=torch.float64), dim=tuple(range(1, 1 + len(shape))))
    return torch.fft.ifftn(noise / (momentum + mass2).sqrt(), dim=tuple(range(1, 1 + len(shape)))).real[:, None]


@pytest.mark.parametrize(("mass2", "shape"), [(0.3, (16,)), (0.1, (12, 20)), (0.5, (8, 8)), (0.4, (4, 6, 10))])
def test_free_fields(mass2, shape):
    exact = 1 / math.acosh(1 + mass2 / 2)
    deviations, steady = [], 0
    for seed in range(20):
        found = physics.correlation_length(fields(mass2, shape, 600, seed), first=0)
        deviations.append((found.value - exact) / found.error)
        steady += "is steady" in found.verdict
        assert found.fit.shape == found.correlator[0].shape == (max(shape) // 2 + 1,)
        times = torch.arange(len(found.fit), dtype=torch.float64) - max(shape) / 2
        curve = torch.cosh(times / found.value)
        torch.testing.assert_close(found.fit / found.fit[0], curve / curve[0])
        mean, errors = found.masses
        assert (mean[0] - 1 / exact).abs() < 5 * errors[0]
        assert ((found.fit - found.correlator[0]).abs() < 5 * found.correlator[1]).all()
    deviations = torch.tensor(deviations)
    assert deviations.square().mean().sqrt() < 1.6
    assert deviations.mean().abs() < 4 / math.sqrt(20)
    assert (deviations.abs() < 1).sum() >= 7  # 13.7 are expected
    assert steady >= 16


def test_weights():
    """Fields of one mass, with the weights of another one; and a verdict on weights comes first."""

    def length(phi, weights):
        report = report_of(*recorded({"m2": phi.mean((1, 2, 3)).square()}, weights))
        report = replace(report, fields=phi, field_log_weights=weights, periodic=(True, True))
        return physics.correlation_length(report, 0)

    phi = fields(0.5, (8, 8), 40_000)
    found = length(phi, physics.FreeField(0.5)(phi) - physics.FreeField(0.4)(phi))
    assert abs(found.value - 1 / math.acosh(1.2)) < 4 * found.error
    assert abs(found.value - 1 / math.acosh(1.25)) > 4 * found.error
    assert "errors mean nothing" in length(phi[:400], 40 * torch.rand(400).double()).verdict


def test_a_bad_fit_says_so():
    steep = 4 * fields(3.0, (32, 8), 4000) + fields(0.02, (32, 8), 4000, 1)  # two masses
    assert "not a hyperbolic cosine" in physics.correlation_length(steep, first=0).verdict
    found = physics.correlation_length(steep, first=5)
    assert "is steady" in found.verdict
    assert abs(found.value - 1 / math.acosh(1.01)) < 4 * found.error
    chosen = physics.correlation_length(steep)
    assert chosen.first > 1
    assert abs(chosen.drift) <= 1.5
    assert abs(chosen.value - 1 / math.acosh(1.01)) < 4 * chosen.error
    noise = torch.randn(64, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert "noise hides how" in physics.correlation_length(noise, first=2).verdict
    assert found._repr_png_().startswith(b"\x89PNG")


def slow_chains(draws, chains, seed, memory):
    """Chains of fields of a free theory, whose fields take turns."""
    noise = fields(0.25, (8, 8), draws * chains, seed).unflatten(0, (draws, chains))
    now, found = noise[0], []
    for step in noise:
        now = memory * now + math.sqrt(1 - memory**2) * step
        found.append(now)
    return replace(chain_of(torch.randn(draws, chains)), fields=torch.cat(found), periodic=(True, True))


@pytest.mark.parametrize(("draws", "chains", "memory"), [(400, 8, 0.7), (60, 16, 0.7)])
def test_errors_along_chains_cover(draws, chains, memory):
    exact, pulls = 1 / math.acosh(1.125), []
    for seed in range(20):
        found = physics.correlation_length(slow_chains(draws, chains, seed, memory), 0)
        pulls.append((found.value - exact) / found.error)
    assert 0.6 < torch.tensor(pulls).square().mean().sqrt() < 1.5
    assert sum(abs(pull) > 3 for pull in pulls) <= 1


def test_a_length_along_few_slow_draws_is_not_trusted():
    """Before, 24 to 38 of 40 were trusted, and wrong by two to four errors."""
    exact, trusted = 1 / math.acosh(1.125), []
    for seed in range(20):
        found = physics.correlation_length(slow_chains(64, 1, seed, 0.9).fields, 0)
        if found.verdict.trust == Trust.GOOD:
            trusted.append(abs(found.value - exact) / found.error)
    assert len(trusted) <= 4


def test_a_length_inherits_the_verdict_of_a_measurement(flow_of_free_field):
    chain = physics.hmc((1, 8, 8), physics.FreeField(1.0), draws=200, every=1)
    found = physics.correlation_length(chain)
    assert abs(found.value - 1 / math.acosh(1.5)) < 4 * found.error
    assert found.verdict.trust == Trust.GOOD
    with pytest.raises(ValueError, match="at least 8 draws of each chain"):
        physics.correlation_length(replace(chain, fields=chain.fields[-16:]))
    short = physics.hmc((1, 8, 8), physics.FreeField(0.01), draws=20, warmup=20, every=1, length=0.2)
    assert short.verdict.trust < Trust.GOOD
    assert physics.correlation_length(short).verdict.trust <= short.verdict.trust
    report = physics.estimate(flow_of_free_field, physics.FreeField(1.0), 4000, every=1)
    found = physics.correlation_length(report)
    assert abs(found.value - 1 / math.acosh(1.5)) < 5 * found.error


@pytest.fixture(scope="module")
def flow_of_free_field():
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(8,), layers=2, prior="gaussian")
    mera.train.fit(flow, physics.FreeField(1.0), steps=150, batch_size=64, lr=1e-2, quiet=True, eval_every=10**6)
    return flow


def test_bad_arguments():
    with pytest.raises(ValueError, match="Expected fields whose two-point function has errors"):
        physics.correlation_length(fields(0.5, (16,), 1).expand(20, 1, 16))
    with pytest.raises(ValueError, match="a first distance of at most 0 on 8 sites, or more sites along a periodic"):
        physics.correlation_length(fields(0.5, (8, 8), 40), first=2)
    phi = torch.randn(20, 1, 8, 8)
    for arguments in ((phi[:3],), (phi[:, 0, 0],), (phi, 1), (phi, -1), (phi * math.inf,)):
        with pytest.raises(ValueError, match="Expected"):
            physics.correlation_length(*arguments)


@pytest.mark.parametrize(
    ("changes", "trust"),
    [
        ({}, Trust.GOOD),
        ({"drift": -3.0}, Trust.GOOD),
        ({"drift": -3.01}, Trust.WRONG),
        ({"drift": math.nan}, Trust.WRONG),
        ({"error": 2.0}, Trust.MEANINGLESS),
        ({"value": 0.0549, "error": 0.01}, Trust.MEANINGLESS),  # near the smallest mass of a fit, or the largest
        ({"value": 0.0551, "error": 0.01}, Trust.GOOD),
        ({"value": 899.0}, Trust.GOOD),
        ({"value": 901.0}, Trust.MEANINGLESS),
        ({"draws": Verdict(Trust.ROUGH, "few")}, Trust.ROUGH),
        ({"draws": Verdict(Trust.ROUGH, "few"), "drift": 4.0}, Trust.WRONG),
    ],
)
def test_thresholds(changes, trust):
    pair = torch.zeros(5), torch.ones(5)
    rest = {"value": 2.0, "error": 0.1, "first": 2, "drift": 1.0, "correlator": pair, "fit": pair[0], "masses": pair}
    rest["draws"] = Verdict(Trust.GOOD, "many")
    assert CorrelationLength(**rest | changes).verdict.trust == trust
