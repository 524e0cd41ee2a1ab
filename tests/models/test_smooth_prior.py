"""The option `smooth_prior`: a map of each latent by itself in front of a Laplace prior, which takes off the cusp."""

import math

import pytest
import torch

import mera
from mera.bijectors import Elementwise, SmoothLaplace
from tests.helpers.laws import randomize


def smooth(flow):
    """Whether a flow has the map."""
    return any(isinstance(part, SmoothLaplace) for part in flow.modules())


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("rgflow", {"L": 16, "m": 4}),
        ("rgflow", {"L": 8, "m": 2, "order": "authors"}),
        ("rgflow", {"L": 16, "m": 4, "boundary": "open"}),
        ("rgflow", {"L": 24, "m": 6, "dim": 1, "order": "authors"}),
        ("rgflow", {"L": 16, "m": 4, "bijector": lambda shape: mera.bijectors.LULinear(shape)}),
        ("rgflow", {"L": 16, "m": 4, "details": (2, 1, 0)}),
        ("tree", {"L": 9, "m": 3}),
        ("neuralrg", {"L": 8}),
    ],
)
def test_each_latent_has_a_map_of_itself_and_kept_sites_have_none(model, options):
    flows = []
    for is_smooth in (True, False):
        torch.manual_seed(0)
        flows.append(mera.build(model, channels=2, hidden=(3,), smooth_prior=is_smooth, **options).double())
    on, off = flows
    state = {name: 0.3 * torch.randn_like(value) for name, value in off.named_parameters()}
    for flow in flows:
        for (name, parameter), value in zip(_without_maps(flow), state.values(), strict=True):
            assert parameter.shape == value.shape, name
            parameter.data.copy_(value)
    x = torch.randn(3, *on.plan.input.event_shape, dtype=torch.float64)
    (z, log_det), (plain, plain_log_det) = on(x), off(x)
    maps = [SmoothLaplace()(level, level.new_zeros(3, 1, *level.shape[1:])) for level in plain]
    mapped, slopes = zip(*maps, strict=True)
    for found, expected in zip(z, mapped, strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(log_det, plain_log_det + sum(slope.flatten(1).sum(1) for slope in slopes))


def _without_maps(flow):
    maps = {id(part.params) for part in flow.modules() if isinstance(part, Elementwise)}
    return [(name, p) for name, p in flow.named_parameters() if id(p) not in maps]


def test_shared_levels_share_the_map():
    flow = randomize(mera.build("rgflow", L=16, channels=2, layers=1, hidden=(3,), share_levels=True))
    assert sorted(flow.bijectors) == ["decimator", "disentangler"]
    assert sum(isinstance(part, SmoothLaplace) for part in flow.modules()) == 1
    mera.check(flow).raise_if_failed()


def test_the_density_of_a_latent_begins_as_logistic():
    x = torch.linspace(-9, 9, 61, dtype=torch.float64)[:, None]
    y, log_det = Elementwise((1,), SmoothLaplace()).double()(x)
    rate = math.pi / math.sqrt(3)
    expected = math.log(rate) - rate * x - 2 * torch.nn.functional.softplus(-rate * x)
    torch.testing.assert_close(mera.Prior("laplace").log_density(y) + log_det[:, None], expected)


@pytest.mark.parametrize("log_rate", [-2.0, 0.0, 1.5])
def test_the_derivative_at_zero_is_that_beside_it(log_rate):
    """Latents at the mode of the prior are exactly 0, where absolute values have no derivative."""
    params = torch.full((3, 1), log_rate, dtype=torch.float64)
    x = torch.tensor([0.0, 1e-9, -1e-9], dtype=torch.float64, requires_grad=True)
    for direction in (SmoothLaplace(), SmoothLaplace().inverse):
        y, log_slope = direction(x, params)
        (slope,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(slope, log_slope.exp())


def test_which_flows_have_the_map():
    sizes = {"L": 8, "hidden": (4,)}
    assert smooth(mera.build("rgflow", **sizes))
    assert not smooth(mera.build("rgflow", prior="gaussian", **sizes))
    assert not smooth(mera.build("rgflow", conditioner="authors", **sizes))
    assert not smooth(mera.build("rgflow", preset="authors", **sizes))
    assert not smooth(mera.build("rgflow", smooth_prior=False, **sizes))
    assert not smooth(mera.build("tree", L=9, m=3, hidden=(4,)))
    assert smooth(mera.build("rgflow", prior="gaussian", smooth_prior=True, **sizes))
