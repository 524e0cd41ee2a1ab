"""Flows as torch distributions."""

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
)
from torch.distributions.transforms import AffineTransform

import mera
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


@pytest.mark.parametrize(("name", "what"), [("mean", "mean"), ("entropy", "entropy"), ("perplexity", "entropy")])
def test_what_has_no_closed_form(name, what):
    p = MODELS["rgflow"]().distribution()
    with pytest.raises(NotImplementedError, match=f"The {what} of a flow has no closed form; .*p\\."):
        getattr(p, name)()


def test_classes_as_numbers_and_lists():
    flow = randomize(CONDITIONAL["rgflow-classes"](), 0.2)
    one, many = flow.distribution(3), flow.distribution([3, 1])
    assert (one.batch_shape, many.batch_shape) == ((), (2,))
    assert one.sample().shape == one.event_shape
    x = many.sample((5,))
    torch.testing.assert_close(many.log_prob(x)[:, 0], one.log_prob(x[:, 0]))
    torch.testing.assert_close(one.expand((5,)).log_prob(x[:, 0]), one.log_prob(x[:, 0]))
    assert flow.distribution(torch.tensor(3)).batch_shape == ()
    assert flow.distribution(torch.tensor([3])).batch_shape == (1,)
    with pytest.raises(ValueError, match="class numbers from 0 to 4; got 9 to 9"):
        flow.distribution(9)


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: x.float(), r"values of dtype torch.float64, as the flow's; got torch.float32"),
        (lambda x: x.long(), r"values of dtype torch.float64, as the flow's; got torch.int64"),
        (lambda x: x.to("meta"), "values on cpu, where the flow is; got meta"),
        (lambda x: x[0, 0], r"values of shape \(..., 1, 8, 8\); got \(8, 8\)"),
        (lambda x: x[..., :1], r"values of shape \(..., 1, 8, 8\); got \(2, 1, 8, 1\)"),
    ],
)
def test_values_of_another_shape_dtype_or_device_are_refused(wrong, message, validate):
    p = FlowDistribution(MODELS["rgflow"]().double(), validate_args=validate)
    with pytest.raises(ValueError, match=f"Expected {message}"):
        p.log_prob(wrong(torch.zeros(2, *EVENT, dtype=torch.float64)))


def test_values_are_checked_unless_the_default_of_torch_is_asked_for():
    """Other libraries switch the default of torch off for all distributions."""
    flow = MODELS["rgflow"]()
    before = Distribution._validate_args
    try:
        Distribution.set_default_validate_args(False)
        assert FlowDistribution(flow, validate_args=None).log_prob(torch.full(EVENT, torch.nan)).isnan()
        with pytest.raises(ValueError, match="within the support"):
            flow.distribution().log_prob(torch.full(EVENT, torch.nan))
    finally:
        Distribution.set_default_validate_args(before)
    with pytest.raises(ValueError, match="validate_args as True or False"):
        FlowDistribution(flow, validate_args=1)


def normal(mean=0.0):
    return Independent(Normal(torch.full(EVENT, mean, dtype=torch.float64), 1.0), 3)


def test_the_divergence_has_an_error():
    """Of two shifted standard normals in n variables it is n / 2 times the square of the shift."""
    flow = mera.build("rgflow", L=8, channels=1, hidden=(4,), norm=False, prior="gaussian").double()  # the identity
    for p, q in ((flow.distribution(), normal(0.1)), (normal(0.1), flow.distribution())):
        estimate, error = mera.flow.kl_divergence(p, q, 2000)
        assert 0 < error < 0.03
        assert abs(estimate - 64 * 0.1**2 / 2) < 4 * error
        assert not error.requires_grad
        gradients = torch.autograd.grad(estimate, list(flow.parameters()))
        assert sum(gradient.abs().sum() for gradient in gradients) > 0
    batch = Independent(Normal(torch.zeros(3, *EVENT, dtype=torch.float64), 1.0), 3)
    estimate, error = mera.flow.kl_divergence(flow.distribution(), batch, 4)
    assert estimate.shape == error.shape == (3,)


def test_the_registry_of_torch_refuses_a_divergence_without_an_error():
    p = MODELS["rgflow"]().distribution()
    for q in (p, normal()):
        with pytest.raises(NotImplementedError, match=r"No KL\(p \|\| q\) is implemented"):
            torch.distributions.kl_divergence(p, q)
    with pytest.raises(ValueError, match=r"events of one shape .* got \(1, 8, 8\) and \(\)"):
        mera.flow.kl_divergence(p, Normal(torch.zeros(EVENT), 1.0))
    with pytest.raises(ValueError, match="a number of samples as an integer >= 2; got 1"):
        mera.flow.kl_divergence(p, p, 1)


def test_a_mixture_of_classes():
    """Each class a component, with learnt weights: log p is that of the sum, and samples come from each of them."""
    flow = randomize(CONDITIONAL["rgflow-classes"](), 0.2)
    logits = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64, requires_grad=True)
    p = MixtureSameFamily(Categorical(logits=logits), flow.distribution([0, 2, 4]))
    x = p.sample((6,))
    assert x.shape == (6, *p.event_shape)
    rows = torch.stack([flow.log_prob(x, label) for label in (0, 2, 4)], 1)
    torch.testing.assert_close(p.log_prob(x), (rows + logits.log_softmax(0)).logsumexp(1))
    assert torch.autograd.grad(p.log_prob(x).sum(), logits)[0].abs().sum() > 0
    assert MixtureSameFamily(Categorical(torch.ones(2)), flow.distribution(1).expand((2,))).log_prob(x).shape == (6,)


def test_independent_fields():
    p = randomize(MODELS["rgflow"](), 0.2).distribution()
    pair = Independent(p.expand((2,)), 1)
    x = pair.rsample((3,))
    assert x.shape == (3, 2, *EVENT)
    torch.testing.assert_close(pair.log_prob(x), p.log_prob(x).sum(1))


def test_torch_takes_it_for_one_of_its_own():
    flow = randomize(MODELS["rgflow"](), 0.2)
    p = flow.distribution()
    moved = TransformedDistribution(p, AffineTransform(1.0, 2.0, event_dim=3))
    x = moved.sample((5,))
    torch.testing.assert_close(moved.log_prob(x), p.log_prob((x - 1) / 2) - 64 * math.log(2))
