"""The laws of every model, in 1, 2 and 3 dimensions, periodic and open; and every option changes the flow."""

import inspect
import io
import math

import pytest
import torch

import mera
from mera.models import builder, names, presets
from tests.helpers.laws import check_laws, randomize
from tests.helpers.quick import quick_of
from tests.tables.models import CONDITIONAL, MODELS, batch, contexts


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


OTHER = {
    "L": [(8, 16), (9, 27)], "channels": [3], "prior": ["laplace"], "context": [3], "classes": [4], "dim": [1],
    "layers": [2], "residual_blocks": [1, 2], "hidden": [(5,)], "conditioner": ["paper"], "norm": [False],
    "mix_channels": [False], "transform": ["spline", "affine"], "bijector": ["linear"],
    "boundary": ["open", "periodic"], "levels": [1], "block_spins": [True, False], "details": [0],
    "details_hidden": [(5,)], "learnt_prior": [(5,)], "m": [4], "order": ["authors"],
    "share_levels": [True], "shared_from": [1], "spectral": [True], "learnt_noise": [(5,)], "repeats": [3],
    "depth": [3],
    "frames": [True],
    "window": [1],
}  # fmt: skip
"""By option, values that differ from `BASE`; of two, one is the default of some models, or fits the ternary MERA."""
UNFRAMED = {"layers": None, "norm": None}
NEEDED = {"shared_from": {"share_levels": True}, "frames": UNFRAMED, "window": {"frames": True, **UNFRAMED}}
"""By option, other options without which it has no effect or is refused."""
BASE = {"L": 8, "m": 2, "channels": 2, "layers": 1, "hidden": (4,), "details": 1, "norm": True}


def described(model, **options):
    """The plan, the parameters by name and shape, and log p of one field with random parameters."""
    parameters = inspect.signature(builder(model)).parameters
    base = BASE | {"L": {"ternary": 9, "tree": 16}.get(model, 8)}
    torch.manual_seed(0)
    flow = mera.build(model, **{name: value for name, value in base.items() if name in parameters} | options)
    shapes = {name: tensor.shape for name, tensor in flow.state_dict().items()}
    randomize(flow, 0.1)
    torch.manual_seed(1)
    x = torch.randn(1, *flow.plan.input.event_shape, dtype=torch.float64)
    context = None
    if flow.needs_context:
        context = (
            torch.zeros(1, dtype=torch.long) if flow.context_encoder.classes else torch.ones(1, *flow.plan.context)
        )
    return str(flow.plan), shapes, flow.log_prob(x, context).item()


@pytest.mark.parametrize("model", quick_of(names(), ["decimation", "glow", "realnvp", "rgflow"]))
def test_every_option_changes_the_flow(model):
    before = described(model)
    assert described(model) == before
    for option, parameter in inspect.signature(builder(model)).parameters.items():
        values = [value for value in OTHER[option] if value != BASE.get(option, parameter.default)]
        value = values[-1 if model == "ternary" else 0]
        shared = NEEDED.get(option, {})
        without = described(model, **shared) if shared else before
        assert described(model, **{option: value}, **shared) != without, option
    for preset in presets(model):
        assert described(model, preset=preset, hidden=(5, 5), layers=1, residual_blocks=1) != before
