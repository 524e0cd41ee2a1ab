"""The table of laws for every model, in 1, 2 and 3 dimensions, periodic and open."""

import inspect
import io
import math

import pytest
import torch

import mera
from mera.graph.contexts import Contexts
from mera.models import names
from tests.helpers.laws import check_laws, randomize
from tests.tables.models import CONDITIONAL, MODELS, batch, contexts, rgflow


@pytest.mark.parametrize("name", MODELS)
def test_laws(name):
    """Those of all flows; and log p is the density of the latents, written out, and the log-det."""
    flow = randomize(MODELS[name](), 0.2)
    x = batch(flow)
    check_laws(flow, x)
    z, log_det = flow(x)
    values = torch.cat([level.flatten(1) for level in z], dim=1)
    if "laplace" in str(flow.prior).lower():
        density = -math.sqrt(2) * values.abs() - math.log(math.sqrt(2))
    else:
        density = -(values**2) / 2 - math.log(2 * math.pi) / 2
    torch.testing.assert_close(flow.log_prob(x), density.sum(1) + log_det, atol=1e-10, rtol=1e-12)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_laws_of_conditional_flows(name):
    """Those of all flows; and each number of a context counts, at its own pixel if it has one, for its own image."""
    flow = randomize(CONDITIONAL[name](), 0.2)
    x, context = batch(flow), contexts(flow)
    if flow.context_encoder.classes is None:
        check_laws(flow, x, context)
        context.requires_grad_()
        (gradient,) = torch.autograd.grad(flow.log_prob(x, context)[0], context)
        assert (gradient[0] != 0).all()
        assert not gradient[1].any()
    else:
        z, log_det = flow(x, context)
        torch.testing.assert_close(flow.inverse(z, context)[0], x)
        values = flow.context_encoder(context, 2)
        assert values.shape == (2, *flow.plan.context)
        assert not torch.equal(flow(x, context.flip(0))[1], log_det)
        loss = flow.log_prob(x, context).sum()
        assert all(g.abs().sum() > 0 for g in torch.autograd.grad(loss, list(flow.parameters())))
    z = flow.sample_latents(2)
    torch.testing.assert_close(flow.progression(z, context)[0], flow.inverse(z, context)[0])
    wanted = [*flow.parameters(), *([context] if context.requires_grad else [])]
    expected = torch.autograd.grad(flow.log_prob(x, context).sum(), wanted)
    flow.checkpoint = True
    for a, b in zip(torch.autograd.grad(flow.log_prob(x, context).sum(), wanted), expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)
    flow.initialize(x, context)
    images = flow.to_images(flow.sample(2, context))
    assert flow.bits_per_dim(images, context=context).isfinite().all()


def test_context_of_pixels_is_local():
    """At level h a block reads the means over cells of 2^h pixels: those of its own patch and of no other."""
    flow = randomize(rgflow(L=8, m=2, channels=1, context=(2, 8, 8), order="authors"), 0.2)
    context = contexts(flow, 1).requires_grad_()
    x = batch(flow, 1)
    seen = {}
    given = Contexts(flow.plan, context, x, flow.bijectors)
    for step in flow.plan.steps:
        if step.module:
            seen[step.node] = given(step)
    first = seen["disentangler0"]  # offset 0
    assert torch.equal(first[5], context[0, :, 2:4, 2:4])  # row 1, column 1 of 4 x 4 patches
    coarse = context.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    torch.testing.assert_close(seen["decimator1"][0], coarse[0, :, [1, 2]][:, :, [1, 2]])  # offset 1


def test_every_model_is_in_the_table():
    assert {MODELS[name]().recipe.model for name in MODELS} == set(names())
    for name in names():
        assert inspect.getdoc(mera.models.builder(name))


def test_print_shows_levels_nodes_and_parameters():
    out = io.StringIO()
    print(MODELS["rgflow-shared"](), file=out)
    text = out.getvalue()
    for word in ("disentangler0", "decimator2", "z2", "shared with 'disentangler'", "parameters", "128 variables"):
        assert word in text
