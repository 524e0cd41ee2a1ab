"""Reports and chains judge themselves: Pareto k, fields of the target, and how many digits an error deserves."""

import math
import pathlib
import re

import pytest
import torch

import mera
from mera import physics
from mera.drawing.physics import weights_figure
from mera.physics import FreeField, Phi4, pareto_k
from mera.physics.estimate import estimate_of
from mera.physics.flow_samplers import log_weights_of
from mera.physics.record import Record
from mera.sampling.verdict import RULES, TRUST_WORDS, Trust, judge
from mera.sampling.weights import effective_number, format_ess, tail_of


@pytest.mark.parametrize("k", [0.2, 0.6, 1.2])
def test_pareto_k_of_known_tails(k):
    """Weights u^(-k) of a uniform u have the tail k."""
    torch.manual_seed(0)
    values = torch.tensor([pareto_k(-k * torch.rand(10_000, dtype=torch.float64).log()) for _ in range(20)])
    assert values.mean().item() == pytest.approx(k, abs=0.06)
    assert values.std().item() < 0.15


def seen_of(log_weights, k, **others):
    """The figures of weights, with the Pareto k given."""
    return tail_of(k, len(log_weights)) | {"effective": effective_number(log_weights).item()} | others


def test_sentences():
    torch.manual_seed(0)
    light = 0.1 * torch.randn(2000)
    assert judge(seen_of(light, pareto_k(light))).startswith("errors can be trusted: Pareto k")
    assert "fewer than 100 samples" in judge(seen_of(light[:50], pareto_k(light[:50])))
    assert "there are 1.57 effective" in judge(seen_of(light[:99].repeat(2)[:150] * 30, 0.1))
    assert "fields of the target give an ESS of 0.1" in judge(seen_of(light, 0.1, forward_ess=0.1, ess=0.99))
    assert format_ess(0.5, 0.2) == "0.5000"
    assert format_ess(0.5, 0.6) == format_ess(0.5, math.nan) == "<= 0.5000"


def test_each_rule_decides_where_it_alone_speaks():
    """And the table on the page is the one of the code."""
    page = (pathlib.Path(__file__).parents[2] / "docs/physics.md").read_text()
    for rule in RULES:
        reason = re.sub(r":[^}]*}", "}", rule.reason)
        assert f"| {TRUST_WORDS[rule.trust]} | `{rule.seen}` | {reason} |" in page, rule
    names = {name for rule in RULES for name in compile(rule.seen, "", "eval").co_names} - {"isnan", "inf"}
    fine = {"k": 0.1, "k_error": 0.1, "r_hat": 1.0, "by_chance": 1.0, "times": 99.0, "effective": 999.0, "spread": 0.1}
    assert judge(fine | {"populations": 8}).trust == Trust.GOOD
    assert names >= {"missed", "trips", "overlap", "drift"}


def one_well():
    """A flow that knows one of the two wells of a separable action."""
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=(2, 4), m=2, channels=1, layers=1, hidden=(4,), prior="gaussian").double()
    flow.initialize(2 + 0.2 * torch.randn(200, 1, 2, 4, dtype=torch.float64))
    return flow, lambda phi: 2 * (phi.mean((1, 2, 3)).square() - 4).square() + 10 * phi.var((1, 2, 3))


def test_chains_do_not_agree_on_what_the_flow_misses():
    """Half of them begin elsewhere than in the flow."""
    flow, action = one_well()
    assert (flow.sample(200).mean((1, 2, 3)) > 0).all()
    chain = physics.metropolis(flow, action, draws=50, warmup=20)
    assert chain.verdict.startswith("errors mean nothing: the chains do not agree yet")
    assert chain.history["m"].min() < -1 < 1 < chain.history["m"].max()


def test_one_weight_has_no_error():
    log_weights = torch.zeros(200, dtype=torch.float64)
    log_weights[7] = 30
    series = {"m2": torch.rand(200).double(), "correlator": torch.rand(200, 3).double()}
    report = estimate_of(recorded(series, log_weights))
    assert report.verdict.trust == Trust.MEANINGLESS
    assert report.correlator[1].isnan().all()
    assert math.isnan(report.observables["m2"].error)
    assert math.isnan(report.log_z_error)


def test_weights_of_zero_are_drawn():
    log_weights = 0.1 * torch.randn(400, dtype=torch.float64)
    log_weights[:50] = -math.inf
    report = estimate_of(recorded({"m2": torch.rand(400, dtype=torch.float64)}, log_weights, [0.0]))
    assert report._repr_png_()
    assert "400 samples, 50 without a weight" in weights_figure(report).axes[0].get_title()


def test_fields_of_the_target_have_numbers_as_weights():
    flow, action = one_well()
    with pytest.raises(FloatingPointError, match="fields of the target; got NaN for 3 of 3"):
        log_weights_of(flow, lambda phi: action(phi) * math.nan, torch.zeros(3, 1, 2, 4).double())


def test_a_constant_has_no_error():
    """Also if rounding moves its mean, which is neither slow nor apart."""
    chain = physics.hmc(
        (1, 4, 4), FreeField(1.0), draws=60, observables={"tenth": lambda phi: 0 * phi[:, 0, 0, 0] + 0.1}
    )
    assert (chain.tau["tenth"], chain.r_hat["tenth"]) == (0.5, 1.0)
    assert str(chain.observables["tenth"]) == "0.1 +- 0"


def test_chains_that_never_moved_are_counted():
    torch.manual_seed(0)
    values = torch.randn(100, 8)
    values[:, 2:4] = values[0, 2:4]
    chain = chain_of(values, rate=0.8)
    assert chain.verdict.startswith("errors mean nothing: 2 of 8 chains never moved")
    assert all(verdict.trust == Trust.MEANINGLESS for verdict in chain.verdicts.values())
    assert "never moved" not in chain_of(values, rate=0.05).verdict  # by chance alone, one chain of 20


def test_random_signs_do_not_decide():
    """Chains that stay apart in |m| refute |m|, and m, which the signs decorrelate, only with it."""
    torch.manual_seed(0)
    size = 1 + 0.1 * torch.randn(200, 8)
    size[:, :4] += 1
    series = {"m2": size.square().double(), "abs_m": size.double()}
    series["m"] = (size * (1 - 2 * torch.randint(2, size.shape))).double()
    for random_signs, trust in ((True, Trust.PERHAPS_TOO_SMALL), (False, Trust.MEANINGLESS)):
        chain = estimate_of(recorded(series, zero=["m"], random_signs=random_signs))
        assert (chain.verdicts["abs_m"].trust, chain.verdicts["m"].trust) == (Trust.MEANINGLESS, trust)


def test_no_sentence_has_an_infinite_number():
    verdict = judge({"r_hat": 1.2, "by_chance": math.inf})
    assert verdict == "too few draws to tell: R-hat is 1.20, and chance alone may make it so large"


def chain_of(values, rate=1.0):
    """Chains whose m2 takes these values, accepted at this rate."""
    return estimate_of(recorded({"m2": values.double()}, rate=rate))


def recorded(series, log_weights=None, target=None, rate=1.0, **facts):
    """The record of fields (1, 4) with such observables."""
    n, m2 = next((len(values), values) for values in series.values())
    unused = dict.fromkeys(("abs_m", "m2", "m4", "phi2", "energy", "_energy2", "_structure"), m2)
    facts = {"shape": [1, 4], "periodic": [True], "inverse_temperature": 1.0, "zero": []} | facts
    witness = {"log_weights": target, "actions": target} if target is not None else {}
    return Record(
        facts=facts, series=unused | series, rates=torch.full((n,), rate), fields=torch.zeros(0, *m2.shape[1:], 1, 4),
        log_weights=log_weights,
        last=torch.zeros(8, 1, 4) if m2.ndim > 1 else torch.zeros(0), seconds=1.5, figures={}, state={}, random={},
        witness={name: torch.as_tensor(values, dtype=torch.float64) for name, values in witness.items()},
    )  # fmt: skip


def test_an_untrained_flow_says_so_everywhere():
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(16,), prior="gaussian")
    with pytest.warns(UserWarning, match="The errors mean nothing: the weights have too heavy a tail"):
        report = physics.estimate(flow, Phi4(1.0, 0.5), n=1000, fields=flow.sample(50))
    with pytest.warns(UserWarning, match="The averages are wrong: the flow misses 100 % of the fields of the target"):
        far = physics.estimate(flow, Phi4(1.0, 0.5), n=1000)
    assert (report.missed, far.missed) == (0, 1)
    assert report.pareto_k > 0.7
    assert repr(report).splitlines()[-1] == report.verdict
    assert "<= 0.0" in repr(report)
