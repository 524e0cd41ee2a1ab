"""Learning from an action and from fields of its target at once."""

import copy
import math

import pytest
import torch

import mera
from mera import physics
from mera.physics import DoubleWell, Phi4
from mera.train import RunFolder, fit
from mera.train.settings import ESTIMATORS
from tests.helpers.callbacks import At, interrupt
from tests.helpers.training import lines, same
from tests.train.test_variational import SHORT, learn, small_flow


def target_of(symmetrized):
    """A flow that another one may learn, and samples of it."""
    target = small_flow(symmetrized=symmetrized).requires_grad_(False)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        return target, target.sample(3000)


def gradients(flow, target, estimator, fields, n):
    """The gradients of the mean loss of n fields at a time, (batches, parameters)."""
    objective = learn(flow, lambda phi: -target.log_prob(phi), estimator, fields=fields)
    no_samples, found = flow.draw_noise(0), []
    for part, uniform in zip(fields.split(n), torch.rand(len(fields)).double().split(n), strict=True):
        loss = objective.loss(flow, (*no_samples, part, uniform)).mean()
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(flow.parameters()))]))
    return torch.stack(found)


@pytest.mark.parametrize("symmetrized", [False, True])
def test_the_path_gradient_of_fields_has_the_mean_of_the_likelihood(symmetrized):
    target, fields = target_of(symmetrized)
    flow = small_flow(symmetrized=symmetrized)
    path, likelihood = (gradients(flow, target, name, fields, 50) for name in ("path", "total"))
    difference = path - likelihood
    z = difference.mean(0) / (difference.std(0) / math.sqrt(len(difference)))
    assert difference.abs().max() > 1e-3  # they are different estimators
    assert z.square().mean() < 4


@pytest.mark.parametrize("symmetrized", [False, True])
def test_the_path_gradient_of_fields_has_no_noise_where_the_flow_is_exact(symmetrized):
    flow = small_flow(symmetrized=symmetrized)
    exact = copy.deepcopy(flow).requires_grad_(False)
    fields = exact.sample(5)
    assert gradients(flow, exact, "path", fields, 1).abs().max() < 1e-11
    assert gradients(flow, exact, "total", fields, 1).abs().max() > 1e-3


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_values_of_the_losses(estimator):
    """Samples of the flow cost ln q + S, fields of the target the opposite."""
    flow, action, n = small_flow(symmetrized=True), Phi4(0.5, 0.3), 12
    fields = torch.randn(9, 1, 4, 4, dtype=torch.float64)
    objective = learn(flow, action, estimator, fields=fields, share=0.25)
    parts = [objective.batch(0, 1, range(start, start + 4)) for start in range(0, n, 4)]
    assert [len(part[-1]) for part in parts] == [1, 1, 1]  # each part of the batch has its share of fields
    batch = objective.batch(0, 1, range(n))
    for whole, *pieces in zip(batch, *parts, strict=True):
        torch.testing.assert_close(torch.cat(pieces), whole, rtol=0, atol=0)
    assert all((field == fields).flatten(1).all(1).any() for field in batch[-2])
    x, _ = objective.data(flow, batch)
    torch.testing.assert_close(x[9:], batch[-2], rtol=0, atol=0)
    torch.testing.assert_close(x[:9], learn(flow, action).data(flow, batch[:-2])[0])
    expected = (flow.log_prob(x) + action(x)) / 16 * torch.tensor([1] * 9 + [-1] * 3)
    torch.testing.assert_close(objective.loss(flow, batch), expected)
    with torch.no_grad():
        torch.testing.assert_close(objective.loss(flow, batch), expected)


def test_elements_are_drawn_in_proportion_to_the_densities_of_their_images():
    flow = mera.Symmetrized(small_flow(), ("flip", "rotations"))
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    shares = flow.flow.log_prob(flow.orbit(x)[0]).softmax(0)
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    chosen = flow.posterior_choice(x.expand(10_000, -1, -1, -1), uniform)
    torch.testing.assert_close(torch.bincount(chosen, minlength=8) / 10_000, shares.float(), rtol=0, atol=2e-4)
    many = torch.randn(8, 1, 4, 4, dtype=torch.float64)
    choice = torch.arange(8)
    torch.testing.assert_close(flow.from_flow(flow.to_flow(many, choice), choice), many, rtol=0, atol=0)


@pytest.mark.slow
def test_fields_keep_a_mode_that_the_flow_alone_may_leave_out():
    """A double well of one site: samples of a flow that sits in one well never hear of the other one."""
    action = DoubleWell(6.0, 2.0)
    fields = physics.hmc((1, 4, 4), action, chains=64, draws=8, warmup=100).fields
    signs = torch.randint(0, 2, (64, 1, 4, 4)) * 2.0 - 1
    fields = (fields.abs() * signs).float()  # all wells alike
    torch.manual_seed(0)
    flow = mera.build(
        "rgflow", L=4, m=2, channels=1, hidden=(16,), norm=False, prior="gaussian", bijector="spline(bound=6)",
        block_spins=False, layers=2,
    )  # fmt: skip
    fit(flow, (action, fields), steps=150, batch_size=32, lr=1e-2, eval_every=150)
    share = (flow.sample(500) > 0).float().mean()
    assert 0.4 < share < 0.6


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path):
    data = Phi4(0.5, 0.3), torch.randn(20, 1, 4, 4)
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    settings = SHORT | {"steps": 6, "field_share": 0.3, "accumulate": 2}
    flow, again = small_flow(), small_flow()
    fit(flow, data, run=whole, **settings)
    assert fit(small_flow(), data, run=cut, callbacks=[At(3, interrupt)], on_signal="return", **settings).steps == 3
    fit(again, data, run=cut, resume=True, **settings)
    assert same(flow, again)
    assert lines(cut) == lines(whole)
    assert {"ess", "free_energy"} <= lines(whole)[-1].keys()
    for other in (data[0], (data[0], data[1][:19])):
        with pytest.raises(ValueError, match="Expected the state of a run of this flow; got another"):
            fit(small_flow(), other, run=cut, resume=True, **{n: v for n, v in settings.items() if n != "field_share"})


def test_what_is_refused():
    for alone in (Phi4(0.5, 0.3), torch.randn(20, 1, 4, 4)):
        with pytest.raises(ValueError, match=r"Expected field_share beside an action and fields; got field_share=0\.3"):
            fit(small_flow(), alone, steps=1, field_share=0.3, **SHORT)
    with pytest.raises(ValueError, match="Expected fields of the target beside an action; got None"):
        fit(small_flow(), (Phi4(0.5, 0.3), None), steps=1, **SHORT)
    fields = torch.randn(20, 1, 4, 4)
    for data, options, message in (
        (fields, {"anneal": 0.5}, "anneal=0 beside fields of the target"),
        (fields[:, :, 1:], {}, "examples of shape"),
        ((fields * 9).byte(), {}, "fields of floats that can be read in any order"),
        (fields, {"field_share": 1.5}, "field_share"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(small_flow(), (Phi4(0.5, 0.3), data), steps=1, **SHORT, **options)


def test_small_batches_hold_their_share_of_fields_over_the_steps():
    flow = small_flow()
    objective = learn(flow, Phi4(0.5, 0.3), fields=torch.randn(9, 1, 4, 4), share=0.1)
    held = [len(objective.batch(0, step, range(2))[-1]) for step in range(500)]
    assert 95 <= sum(held) <= 105
