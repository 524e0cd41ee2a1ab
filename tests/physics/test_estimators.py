"""Estimators against their formulas, written out with loops over sites, samples and proposals."""

import itertools
import math
import pickle
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

import mera
from mera import physics
from mera.physics.estimate import estimate_of
from mera.physics.flow_samplers import start_of_chains
from mera.physics.observables import Observables, averages_of
from mera.physics.target import Target
from mera.sampling.diagnostics import GammaResult, along, gamma_method, r_hat, student
from mera.sampling.hamiltonian import MAX_STEPS, Trajectories
from mera.sampling.verdict import Trust, judge
from mera.sampling.weights import EQUAL_NATS, MISSED_NATS, forward_ess, forward_of, pareto_k
from tests.physics.test_verdicts import recorded, seen_of


def naive_measurement(phi):
    """The observables of one field (C, *shape) of phi^4, but for its energy."""
    channels, *shape = phi.shape
    sites, V = list(itertools.product(*map(range, shape))), math.prod(shape)

    def square(wave):
        """The square of the sum of a field times a wave, over V."""
        sums = [sum(phi[(c, *site)].item() * wave(site) for site in sites) / V for c in range(channels)]
        return sum(abs(value) ** 2 for value in sums)

    m2, longest = square(lambda site: 1), [axis for axis, n in enumerate(shape) if n == max(shape)]
    structures = [square(lambda site, axis=axis: np.exp(2j * math.pi * site[axis] / shape[axis])) for axis in longest]
    shifts = range(min(shape) // 2 + 1)
    products = [[(phi * phi.roll(-r, axis + 1)).sum().item() / V for r in shifts] for axis in range(len(shape))]
    return {
        "m": phi.sum().item() / V if channels == 1 else math.sqrt(m2), "abs_m": math.sqrt(m2), "m2": m2, "m4": m2**2,
        "phi2": phi.square().sum().item() / V, "_structure": sum(structures) / len(structures),
        "correlator": [sum(row[r] for row in products) / len(shape) for r in shifts],
    }  # fmt: skip


@pytest.mark.parametrize(("channels", "shape"), [(1, (7,)), (1, (4, 6)), (2, (4, 4)), (3, (3, 5, 4))])
def test_observables_of_a_field(channels, shape):
    action = physics.ON(channels, 0.3, 0.2)
    phi = torch.randn(3, channels, *shape, dtype=torch.float64)
    own = {"largest": lambda x: x.flatten(1).amax(1)}
    found = Observables(action, own).measure(phi)
    for i, field in enumerate(phi):
        for name, value in naive_measurement(field).items():
            torch.testing.assert_close(found[name][i], torch.tensor(value, dtype=torch.float64))
    energy = action(phi) / math.prod(shape)
    torch.testing.assert_close((found["energy"], found["_energy2"]), (energy, energy.square()))
    torch.testing.assert_close(found["largest"], phi.flatten(1).amax(1))
    given = Observables(action).measure(phi, torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(given["energy"], torch.tensor([1.0, 2.0, 3.0]).double() / math.prod(shape))


def test_quantities_of_averages():
    mean = {"m2": 0.7, "abs_m": 0.4, "m4": 0.9, "energy": -0.5, "_energy2": 1.1, "_structure": 0.2}
    found = averages_of((4, 6), True, 0.5)
    found = {name: function({k: torch.tensor(v) for k, v in mean.items()}).item() for name, function in found.items()}
    assert found == pytest.approx({
        "susceptibility": 24 * (0.7 - 0.16), "binder": 1 - 0.9 / (3 * 0.49), "specific_heat": 0.25 * 24 * (1.1 - 0.25),
        "correlation_length": math.sqrt(0.7 / 0.2 - 1) / (2 * math.sin(math.pi / 6)),
    })  # fmt: skip
    assert "correlation_length" not in averages_of((4, 6), False, 1.0)


SLOPES = {"binder": {"m4": lambda m: -1 / (3 * m["m2"] ** 2), "m2": lambda m: 2 * m["m4"] / (3 * m["m2"] ** 3)}}


def test_a_report_of_weights():
    """Averages, errors by linear expansion, ln Z and effective numbers, from their definitions."""
    n, names = 300, ("m2", "m4", "abs_m", "energy")
    series = {name: torch.rand(n, dtype=torch.float64) for name in names}
    series["correlator"] = torch.rand(n, 3, dtype=torch.float64)
    log_w = 0.5 * torch.randn(n, dtype=torch.float64) + 3
    target = 0.5 * torch.randn(50, dtype=torch.float64) + 3
    report = estimate_of(recorded(series, log_w, target))
    w = log_w.exp()
    p = w / w.sum()
    mean = {name: (p * series[name]).sum() for name in names}

    def of_mean(centred):
        """The error of a weighted mean."""
        return ((p * centred).square().sum() * n / (n - 1)).sqrt() * student(n)

    for name in names:
        error = of_mean(series[name] - mean[name])
        assert report.observables[name] == pytest.approx((mean[name].item(), error.item()))
    slope = sum(f(mean) * (series[name] - mean[name]) for name, f in SLOPES["binder"].items())
    assert report.observables["binder"].error == pytest.approx(of_mean(slope).item())
    for r in range(3):
        value = (p * series["correlator"][:, r]).sum()
        error = of_mean(series["correlator"][:, r] - value)
        assert [part[r].item() for part in report.correlator] == pytest.approx([value.item(), error.item()])
    ess = (w.sum().square() / w.square().sum() / n).item()
    assert (report.n, report.ess) == (n, pytest.approx(ess))
    assert report.log_z == pytest.approx(w.mean().log().item())
    assert report.log_z_error == pytest.approx((w.std(correction=0) / w.mean() / math.sqrt(n)).item())
    assert report.free_energy == pytest.approx((-log_w.mean().item(), log_w.std().item() / math.sqrt(n)))
    assert report.forward_ess == pytest.approx(1 / (target.exp().mean() * (-target).exp().mean()).item())
    derived = report.derive(lambda mean: mean["m4"] / mean["m2"] ** 2)
    assert derived.value == pytest.approx((mean["m4"] / mean["m2"] ** 2).item())
    slope = {"m4": 1 / mean["m2"] ** 2, "m2": -2 * mean["m4"] / mean["m2"] ** 3}
    influence = sum(slope[name] * (series[name] - mean[name]) for name in slope)
    assert derived.error == pytest.approx(of_mean(influence).item())
    of_two = report.derive(lambda mean: mean["correlator"][2])
    assert of_two == pytest.approx([part[2].item() for part in report.correlator])


def test_a_summary_of_chains():
    """Errors from the Gamma method, of functions of averages by linear expansion along the chains."""
    torch.manual_seed(0)
    values = {name: torch.rand(60, 5, dtype=torch.float64).cumsum(0) / 10 for name in ("m2", "m4")}
    values["m2"][:] = values["m2"] + 1
    chain = estimate_of(replace(recorded(values), rates=torch.linspace(0.2, 0.8, 60)))
    mean = {name: series.mean() for name, series in values.items()}
    for name, series in values.items():
        gamma = gamma_method(series)
        assert chain.observables[name] == pytest.approx((mean[name].item(), gamma.error))
        assert (chain.tau[name], chain.tau_error[name]) == (gamma.tau, gamma.tau_error)
        assert chain.r_hat[name] == pytest.approx(r_hat(series[:, :, None]).item())
    slope = sum(f(mean) * (values[name] - mean[name]) for name, f in SLOPES["binder"].items())
    assert chain.observables["binder"].error == pytest.approx(gamma_method(slope).error)
    assert (chain.acceptance, chain.seconds) == (pytest.approx(0.5), 1.5)
    assert next(row[1] for row in chain.table.rows if row[0] == "m2") == str(chain.observables["m2"])
    assert "60 draws of 5 chains in 1.5 s, accepted 0.50" in repr(chain)
    assert repr(chain).splitlines()[-1] == chain.verdict


@pytest.mark.parametrize(
    ("draws", "chains", "tau", "apart", "acceptance", "trust"),
    [
        (100, 4, 2.5, 1.04, 0.5, Trust.GOOD),
        (100, 4, 2.5, 1.05, 0.5, Trust.TOO_FEW),
        (100, 4, 2.5, 1.11, 0.5, Trust.MEANINGLESS),
        (100, 4, 2.51, 1.0, 0.5, Trust.PERHAPS_TOO_SMALL),
        (100, 4, 2.5, 1.0, 0.0, Trust.MEANINGLESS),
        (25, 2, 0.5, 1.0, 0.5, Trust.GOOD),
        (49, 1, 0.5, 1.0, 0.5, Trust.ROUGH),
        (50, 1, 0.5, 1.0, 0.5, Trust.GOOD),
    ],
)
def test_thresholds_of_chains(monkeypatch, draws, chains, tau, apart, acceptance, trust):
    """An autocorrelation time counts with two of its errors, which are as large as a half of it here."""
    module = import_module("mera.sampling.diagnostics")
    monkeypatch.setattr(module, "gamma_method", lambda values: GammaResult(1.0, tau, tau / 2, 1))
    monkeypatch.setattr(module, "r_hat", lambda *_: apart)
    monkeypatch.setattr(module, "r_hat_by_chance", lambda *_: 1.1)
    verdict = judge(along(torch.randn(draws, chains)) | {"acceptance": acceptance})
    assert verdict.trust == trust
    assert ("modes that no start reached do not show" in verdict) == (trust == Trust.GOOD)
    assert pickle.loads(pickle.dumps(verdict)).trust == trust


def test_thresholds_of_weights():
    equal = torch.zeros(1000)
    assert judge(seen_of(equal, 0.49, missed=0.0, forward_ess=1.0, ess=1.0)).trust == Trust.GOOD
    assert judge(seen_of(equal, 0.5)).trust == Trust.USABLE
    assert judge(seen_of(equal, 0.7)).trust == Trust.TOO_FEW
    assert judge(seen_of(equal, 0.89)).trust == Trust.TOO_FEW
    assert judge(seen_of(equal, 0.9)).trust == Trust.MEANINGLESS  # its error is (1 + k) / 3 10^(1/4) 10^(1/2)
    assert judge(seen_of(torch.zeros(100), 1.0)).trust == Trust.TOO_FEW
    assert judge(seen_of(equal, 0.1, forward_ess=0.5, ess=1.0)).trust == Trust.GOOD
    assert judge(seen_of(equal, 0.1, forward_ess=0.49, ess=1.0)).trust == Trust.TOO_SMALL
    assert judge(seen_of(equal, 0.1, missed=0.1)).trust == Trust.WRONG
    assert judge(seen_of(equal[:99], 0.1)).trust == Trust.ROUGH
    assert judge(seen_of(equal[:100], 0.1)).trust == Trust.GOOD
    assert judge(seen_of(equal[:1], 0.1)).trust == Trust.MEANINGLESS
    assert judge(seen_of(equal[:2], 0.1)).trust == Trust.ROUGH
    assert judge(seen_of(equal, 0.1, k_of_terms=0.7)).trust == Trust.TOO_FEW
    assert judge(seen_of(equal, 0.1, k_of_terms=0.5)).trust == Trust.USABLE
    assert judge(seen_of(equal, 0.1, error_ratio=1.51)).trust == Trust.TOO_SMALL
    assert pareto_k(EQUAL_NATS / 2 * torch.arange(2).double().repeat(100)) == 0
    assert math.isnan(pareto_k(torch.randn(99)))
    assert not math.isnan(pareto_k(torch.randn(100)))
    weights = torch.cat([torch.full((100,), -math.inf), torch.randn(400)])
    assert pareto_k(weights) == pytest.approx(pareto_k(weights[100:]))  # without the weights of 0
    edge = torch.tensor([1.0, MISSED_NATS + 1.0, MISSED_NATS + 1.01, -3.0])

    def compared(*actions):
        return forward_of({"log_weights": edge, "actions": torch.tensor(actions)}, torch.tensor([0.0, 1.0]))

    found = compared(4.0, 5.0, 7.9, 6.0)  # 5 +- 1 of those that are known
    assert (found.missed, found.above) == (0.25, 0.0)
    found = compared(4.0, 5.0, 8.1, 6.0)  # above by more than three times 1
    assert (found.missed, found.above, found.nats) == (0.0, 0.25, pytest.approx(3.1))
    assert found.ess == pytest.approx(forward_ess(edge[[0, 1, 3]]))
    assert compared(9.0, 9.0, 1.0, 9.0).missed == 0.25  # below is another matter
    assert forward_ess(torch.full((7,), 700.0)) == 1


def fields_and_flow(L=4):
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=L, m=2, channels=1, layers=1, hidden=(4,), norm=False, block_spins=False)
    return flow.double(), physics.Phi4(0.5, 0.3)


def test_proposals_are_accepted_by_their_weights(monkeypatch):
    """The chain of each proposal, one after the other, with the uniform numbers that were drawn."""
    flow, action = fields_and_flow()
    target, uniform, metropolis = Target.of(flow, action), [], import_module("mera.physics.flow_samplers")
    monkeypatch.setattr(metropolis, "AT_ONCE", 24)
    rand = torch.rand
    monkeypatch.setattr(metropolis.torch, "rand", lambda *s, **o: uniform.append(rand(*s, **o)) or uniform[-1])
    proposals, made = [], metropolis.weighted_samples
    monkeypatch.setattr(metropolis, "weighted_samples", lambda *a: proposals.append(made(*a)) or proposals[-1])
    fields = flow.sample(6)
    sampler = metropolis.Proposals(flow, target, fields, {})
    log_w = -action(fields) - flow.log_prob(fields)
    draws = [sampler.draw(False, most) for most in (9, 4, 3)]
    assert [*map(len, draws)] == [4, 4, 3]
    for number, draw in enumerate(itertools.chain(*draws)):
        phi, value, weights = (part.split(6)[number % 4] for part in proposals[number // 4])
        torch.testing.assert_close(weights, -action(phi) - flow.log_prob(phi))
        accept = uniform[number // 4][number % 4] < (weights - log_w).exp()
        fields = torch.where(accept[:, None, None, None], phi, fields)
        log_w = torch.where(accept, weights, log_w)
        torch.testing.assert_close((draw.fields, draw.log_weights), (fields, log_w))
        torch.testing.assert_close(draw.action, action(fields))
        assert draw.rate == accept.double().mean().item()
        assert torch.equal(value, action(phi))


def test_lengths_of_trajectories(monkeypatch):
    """They vary by half of their mean; a trajectory is never one step that is longer than itself."""
    flow, action = fields_and_flow()
    trajectories = Trajectories(Target.of(flow, action).log_prob, torch.randn(2, 1, 4, 4, dtype=torch.float64), 2.0)
    assert (trajectories.tuning.value.tolist(), trajectories.tuning.least) == ([0.1, 0.1], 2 / MAX_STEPS)
    seen = []
    monkeypatch.setattr(
        trajectories.chains, "trajectory", lambda s, n: seen.append((s[0].item(), n)) or torch.tensor([0.5, 1.0])
    )
    assert {trajectories.advance() for _ in range(200)} == {0.75}
    assert {step for step, _ in seen} == {0.1}
    assert (min(n for _, n in seen), max(n for _, n in seen)) == (11, 30)
    trajectories.tuning.value = torch.full((2,), 50.0)
    for _ in range(50):
        trajectories.advance()
    assert {n for _, n in seen[200:]} == {1}
    assert all(1 <= step <= 3 for step, _ in seen[200:])
    trajectories.tuning.value, trajectories.is_common = torch.tensor([0.5, 2.0]), False
    trajectories.advance(True, 60)
    expected = torch.tensor([0.5 * math.exp(-0.3), 2.0 * math.exp(0.2)])
    torch.testing.assert_close(trajectories.tuning.value, expected)
    trajectories.advance()
    assert trajectories.tuning.value.unique().item() == pytest.approx(0.5 * math.exp(-0.3))
    trajectories.advance(True)
    assert trajectories.tuning.value.unique().item() == pytest.approx(0.5 * math.exp(-0.3 - 0.05))


def test_no_chain_stays_where_the_action_is_steep():
    """With one step for all chains, a start of noise with an action of thousands is never left."""
    action = physics.Phi4(mass2=-4.0, coupling=2.0)
    torch.manual_seed(0)
    target = Target(action, (1, 8, 8))
    first = target.starts(16)
    assert action(first).max() > 1000
    assert action(target.short_run(first)).max() < 100


def test_starts_of_chains():
    """Half of them are samples of the flow, half come from noise; snapshots of one chain lie side by side."""
    flow, action = fields_and_flow()
    target, bare = Target.of(flow, action), Target.of(flow, lambda phi: action(phi).detach())
    torch.manual_seed(3)
    expected = flow.sample(5)
    torch.manual_seed(3)
    fields = start_of_chains(target, flow, 5)
    assert torch.equal(fields[:3], expected[2:])
    assert not torch.isclose(fields[3:], expected[:2]).any()
    assert start_of_chains(target, flow, 1).shape == (1, 1, 4, 4)
    assert target.typical().shape == (4 * 64, 1, 4, 4)
    assert torch.equal(target.typical(), target.typical())
    assert bare.typical() is None
    with pytest.warns(UserWarning, match="a mode that the flow misses would not show"):
        assert start_of_chains(bare, flow, 4).shape == (4, 1, 4, 4)
    runs = target.short_run(torch.randn(2, 1, 4, 4, dtype=torch.float64), snapshots=3, warmup=2)
    assert runs.shape == (6, 1, 4, 4)
    assert len(runs.flatten(1).unique(dim=0)) == 6
