"""Flows as torch distributions."""

import math

import pytest
import torch
from torch.distributions import Distribution, TransformedDistribution
from torch.distributions.transforms import AffineTransform

from mera.flow import FlowDistribution
from tests.helpers.laws import randomize
from tests.tables.models import CONDITIONAL, MODELS, contexts

EVENT = (1, 8, 8)


def test_shapes_and_values():
    flow = randomize(MODELS["rgflow"](), 0.2)
    p = flow.distribution()
    assert isinstance(p, Distribution)
    assert (p.batch_shape, p.event_shape, p.has_rsample) == ((), EVENT, True)
    x = p.sample((3, 2))
    assert x.shape == (3, 2, *EVENT)
    assert not x.requires_grad
    assert p.sample().shape == EVENT
    torch.testing.assert_close(p.log_prob(x).flatten(), flow.log_prob(x.flatten(0, 1)))
    torch.testing.assert_close(p.log_prob(x[0, 0]), flow.log_prob(x[0, :1])[0])
    assert p.support.check(x).shape == x.shape[:-3]  # one answer for each event
    assert p.support.check(x).all()
    assert not p.support.check(x.clone().fill_(float("nan"))).any()


@pytest.mark.parametrize("name", ["rgflow", "rgflow-classes", "glow-per-pixel"])
def test_a_batch_of_contexts(name):
    flow = randomize(CONDITIONAL[name](), 0.2)
    context = contexts(flow, 4)
    p = flow.distribution(context)
    assert p.batch_shape == (4,)
    x = p.sample((3,))
    assert x.shape == (3, 4, *flow.plan.input.event_shape)
    rows = torch.stack([flow.log_prob(part, context) for part in x])
    torch.testing.assert_close(p.log_prob(x), rows)
    one = x[0, 0]  # a value without batch meets every context
    torch.testing.assert_close(p.log_prob(one), flow.log_prob(one.expand(4, *one.shape), context))


@pytest.mark.parametrize("name", ["rgflow", "rgflow-classes", "glow-per-pixel"])
def test_samples_come_with_their_densities(name):
    flow = randomize(CONDITIONAL[name](), 0.2)
    context = contexts(flow, 4)
    inputs = [*flow.parameters(), *([context.requires_grad_()] if context.is_floating_point() else [])]
    p = flow.distribution(context)
    x, log_prob = p.rsample_and_log_prob((3,))
    assert all(
        gradient.abs().sum() > 0 for gradient in torch.autograd.grad(x.square().sum(), inputs, retain_graph=True)
    )
    assert log_prob.shape == (3, 4)
    torch.testing.assert_close(log_prob, p.log_prob(x))


def test_a_context_is_needed_at_once():
    with pytest.raises(ValueError, match=r"Expected a context, \(B, 3\), as the flow is conditional; got none"):
        FlowDistribution(CONDITIONAL["rgflow"]())


def test_nan_is_refused_unless_values_are_not_checked():
    flow = MODELS["rgflow"]()
    x = torch.full((2, *EVENT), torch.nan)
    with pytest.raises(ValueError, match="within the support"):
        flow.distribution().log_prob(x)
    assert FlowDistribution(flow, validate_args=False).log_prob(x).isnan().all()


@pytest.mark.parametrize("name", ["rgflow-classes", "glow-per-pixel"])
def test_a_larger_batch(name):
    flow = randomize(CONDITIONAL[name](), 0.2)
    context = contexts(flow, 3)
    p = flow.distribution(context)
    larger = p.expand((2, 3)).expand([4, 2, 3])
    assert (larger.batch_shape, larger.event_shape) == ((4, 2, 3), p.event_shape)
    x, log_prob = larger.rsample_and_log_prob((5,))
    assert x.shape == (5, 4, 2, 3, *p.event_shape)
    torch.testing.assert_close(log_prob, larger.log_prob(x))
    torch.testing.assert_close(log_prob, p.log_prob(x))
    assert flow.distribution(context[:1]).expand((2,)).sample().shape == (2, *p.event_shape)
    for shape in ((2,), (3, 2), ()):
        with pytest.raises(RuntimeError, match=r"expanded size|number of sizes"):
            p.expand(shape)


def test_a_larger_batch_without_contexts():
    p = randomize(MODELS["rgflow"](), 0.2).distribution().expand((2,))
    assert p.sample((3,)).shape == (3, 2, *EVENT)
    assert p.log_prob(p.sample()[:1]).shape == (2,)


@pytest.mark.parametrize("name", ["mean", "mode", "variance", "stddev", "entropy"])
def test_what_has_no_closed_form(name):
    p = MODELS["rgflow"]().distribution()
    with pytest.raises(
        NotImplementedError, match="does not implement mode" if name == "mode" else "average over p.sample"
    ):
        getattr(p, name)()


def test_torch_takes_it_for_one_of_its_own():
    flow = randomize(MODELS["rgflow"](), 0.2)
    p = flow.distribution()
    moved = TransformedDistribution(p, AffineTransform(1.0, 2.0, event_dim=3))
    x = moved.sample((5,))
    torch.testing.assert_close(moved.log_prob(x), p.log_prob((x - 1) / 2) - 64 * math.log(2))
