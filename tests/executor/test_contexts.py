"""Contexts: of each event, fixed ones, and what is refused."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

import mera
from mera.bijectors import ActNorm
from mera.executor.contexts import ContextEncoder, event_context
from mera.train import fit
from mera.train.evaluate import sample
from tests.helpers.laws import randomize
from tests.tables.models import CONDITIONAL, batch


def test_contexts_of_events():
    """At each pixel they are cut as the image is, with means over the cells of coarser lattices."""
    flow = mera.build("rgflow", L=(8, 4), m=2, channels=1, layers=1, hidden=(4,), context=(3, 8, 4))
    context, x = torch.randn(2, 3, 8, 4), torch.randn(2, 1, 8, 4)
    for step in flow.plan.bijections:
        cell = 8 // step.apply.lattice.shape[0]
        expected = step.apply.gather(avg_pool2d(context, cell))[0]
        torch.testing.assert_close(event_context(flow.plan, step.apply, context), expected)
    per_image = mera.build("rgflow", L=8, m=2, channels=1, layers=1, hidden=(4,), context=3)
    step = next(iter(per_image.plan.bijections))
    events = event_context(per_image.plan, step.apply, context[:, :, 0, 0])
    assert torch.equal(events, context[:, None, :, 0, 0].expand(2, step.apply.events, 3).flatten(0, 1))
    for key in set(per_image.bijectors) - {step.module}:
        per_image.bijectors[key] = ActNorm((1, 2, 2))
    of_step = per_image.contexts(context[:1, :, 0, 0].double(), x)
    assert torch.equal(of_step(step), events[:1].expand_as(events))
    assert [of_step(s) is None for s in per_image.plan.bijections] == [s is not step for s in per_image.plan.bijections]
    assert mera.Layout((4,), 1, context=(1,)).context == (1,)
    with pytest.raises(mera.LayoutError, match="a context of shape"):
        mera.Layout((4,), 1, context=())
    assert mera.build("rgflow", L=8, hidden=(4,)).contexts(None, x)(step) is None


@pytest.mark.parametrize("name", ["rgflow", "rgflow-classes"])
def test_fixed_contexts(name):
    """None stands for the fixed one, and another one is refused."""
    encoder = CONDITIONAL[name]().context_encoder
    first, second = (torch.tensor([2]), torch.tensor([4])) if encoder.classes else torch.randn(2, 1, 3)
    given = ContextEncoder(encoder.shape, encoder.embedding, first)
    assert (encoder.needs_context, given.needs_context) == (True, False)
    assert given.state_dict().keys() == encoder.state_dict().keys()
    assert torch.equal(given(None, 5), encoder(first, 5))
    assert given.classes is None
    with pytest.raises(ValueError, match=r"Expected no context, as the flow has a fixed one, by flow\.given; got one"):
        given(second, 5)
    with pytest.raises(ValueError, match="a context on meta, where the flow is; got cpu"):
        encoder(second, 1, torch.device("meta"))
    with pytest.raises(ValueError, match="Expected a context"):
        mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), context=2).given(torch.zeros(1, 3))


def test_a_flow_with_a_fixed_context_is_a_flow_without_one():
    """Every method takes no context, and does what the conditional flow does with the context."""
    flow = randomize(mera.build("rgflow", L=8, m=2, channels=1, hidden=(4,), classes=3), 0.1)
    context, x = torch.tensor([2]), torch.randn(1, 1, 8, 8, dtype=torch.float64)
    images, spans, noise = torch.full((1, 1, 8, 8), 7).byte(), ((1, 3), (2, 4)), flow.sample_latents(1)
    calls = [
        lambda f, c: f(x, *c)[1], lambda f, c: f.inverse(noise, *c)[0], lambda f, c: f.progression(noise, *c)[1],
        lambda f, c: f.log_prob(x, *c), lambda f, c: f.generate_with_log_prob(noise, *c)[1],
        lambda f, c: f.sample(2, *c),
        lambda f, c: f.rsample_and_log_prob(2, *c)[1],
        lambda f, c: f.distribution(*c).log_prob(x), lambda f, c: f.bits_per_dim(images, *c),
        lambda f, c: f.restrict(x, spans, *c).log_prob(x[:, :, 1:3, 2:4].flatten(2)),
        lambda f, c: f.inpaint(x, spans, *c, samples=0, sweeps=1, steps=1).log_prob,
        lambda f, c: torch.tensor(f.stream(x[0], context=c[0] if c else None).log_prob),
        lambda f, c: f.refine(x[..., :4, :4], context=c[0] if c else None),
        lambda f, c: f.resized((16, 8)).sample(1, *c), lambda f, c: mera.Symmetrized(f).log_prob(x, *c),
    ]  # fmt: skip
    for call in calls:
        values = []
        for f, given in ((flow, (context,)), (flow.given(context), ())):
            torch.manual_seed(0)
            values.append(call(f, given))
        torch.testing.assert_close(*values)
        with pytest.raises(ValueError, match="Expected no context, as the flow has a fixed one"):
            call(flow.given(context), (context,))
    data = torch.randn(32, 1, 8, 8, dtype=torch.float64)
    flow.given(context).initialize(data)
    fit(flow.given(context), data, steps=1, quiet=True)
    with pytest.raises(ValueError, match="a conditional flow for labels"):
        fit(flow.given(context), data, labels=torch.zeros(32, dtype=torch.long), steps=1)
    assert sample(flow.given(context), 2).shape == (2, 1, 8, 8)


def test_classes_as_integers_and_lists():
    flow = randomize(mera.build("rgflow", L=8, m=2, channels=1, hidden=(4,), classes=3), 0.1)
    x, numbers = torch.randn(2, 1, 8, 8, dtype=torch.float64), torch.tensor([2, 1])
    mixture = mera.Symmetrized(flow, "flip")
    calls = [
        lambda f, c: f.log_prob(x, c), lambda f, c: f.sample(2, c),
        lambda f, c: f.rsample_and_log_prob(2, c)[1], lambda f, c: f.distribution(c).log_prob(x),
        lambda f, c: f.bits_per_dim(torch.full((2, 1, 8, 8), 7).byte(), c), lambda f, c: f.orbit(x, c)[1],
    ]  # fmt: skip
    for density in (flow, mixture):
        for call in calls:
            for plain, tensor in (
                ([2, 1], numbers), ((2, 1), numbers), (2, numbers[:1]), (numbers.numpy(), numbers),
                (numbers[0], numbers[:1]),
            ):  # fmt: skip
                values = []
                for context in (plain, tensor):
                    torch.manual_seed(0)
                    values.append(call(density, context))
                assert torch.equal(*values)
    assert torch.equal(flow.given(2).log_prob(x), flow.log_prob(x, 2))
    assert torch.equal(
        flow.restrict(x[:1], (0, 0), 1).log_prob(x[:1, :, :1, 0]),
        flow.restrict(x[:1], (0, 0), numbers[1:]).log_prob(x[:1, :, :1, 0]),
    )
    for context, message in (
        (3, "class numbers from 0 to 2; got 3 to 3"),
        ([1.5, 2], "B class numbers"),
        (True, "bool"),
    ):
        with pytest.raises(ValueError, match=message):
            flow.log_prob(x, context)
    with pytest.raises(ValueError, match="Expected no context"):
        flow.given(1).flow.with_flow(mera.build("rgflow", L=8, channels=1, hidden=(4,))).log_prob(x.float(), 1)


def test_numbers_of_classes():
    flow = CONDITIONAL["rgflow-classes"]()
    encoder, n = flow.context_encoder, flow.context_encoder.classes
    vectors = encoder(torch.arange(n), n)
    assert torch.equal(encoder(torch.tensor([0, n - 1], dtype=torch.uint8), 2), vectors[[0, n - 1]])
    for numbers in ([-1, 0], [0, n]):
        with pytest.raises(ValueError, match=f"class numbers from 0 to {n - 1}; got {numbers[0]} to {numbers[1]}"):
            encoder(torch.tensor(numbers), 2)
    plain = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,))
    assert plain.context_encoder(None, 2) is None
    with pytest.raises(ValueError, match="no context, as the flow was built without; got one"):
        plain.log_prob(batch(plain).float(), torch.zeros(2, 3))
    for options in ({"classes": 0}, {"classes": 3, "context": (2, 4, 4)}):
        with pytest.raises(ValueError, match=r"a number of classes|a context of shape"):
            mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), **options)


@pytest.mark.parametrize(
    ("name", "context", "message"),
    [
        ("rgflow", None, r"Expected a context, \(B, 3\), as the flow is conditional; got none"),
        ("rgflow", torch.zeros(2, 4), r"Expected a context, \(B, 3\), for B = 2 or 1; got \(2, 4\)"),
        ("rgflow", torch.zeros(3, 3), r"for B = 2 or 1; got \(3, 3\)"),
        ("rgflow", torch.zeros(2, 3).int(), "Expected a context of floats; got torch.int32"),
        ("rgflow", [0.0], "got list"),
        ("rgflow-classes", torch.zeros(2, dtype=torch.cfloat), "Expected class numbers, integers; got torch.complex"),
        ("rgflow-classes", torch.zeros(2), "Expected class numbers, integers; got torch.float32"),
        ("rgflow-classes", torch.tensor([0, 5]), "Expected class numbers from 0 to 4; got 0 to 5"),
        ("rgflow-classes", torch.tensor([[0], [1]]), r"B class numbers, for B = 2 or 1; got \(2, 1\)"),
    ],
)  # fmt: skip
def test_bad_contexts(name, context, message):
    flow = CONDITIONAL[name]()
    for call in (lambda: flow.log_prob(batch(flow).float(), context), lambda: flow.sample(2, context)):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            call()
