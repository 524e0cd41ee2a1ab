"""Densities integrate to 1: every bijector with every prior that it accepts."""

import math

import pytest
import torch
from torch import distributions as D

import mera
from mera import bijectors
from mera.graph import Layout
from tests.helpers.laws import randomize

ANGLES = {"VonMises": D.VonMises(0.3, 4.0), "Uniform": D.Uniform(-math.pi, math.pi)}
LINES = {"gaussian": "gaussian", "StudentT": D.StudentT(5.0), "Uniform(0, 1)": D.Uniform(0.0, 1.0)}
EVENT = {"per_site": False}  # variables of two sites are mixed
NEEDS = {"linear": EVENT, "split-prior": {"passive": 1}}
NEEDS_MORE = {"details", "learnt-noise"}  # four variables or more; a grid finer than the levels of pixels, see there
BETWEEN_CHANNELS = {"corners", "frames", "glow-steps", "split-prior"}


def flow_of_two(name, prior, **more):
    """A flow of one or two variables with a registered bijector and random parameters."""
    channels = 2 if name in BETWEEN_CHANNELS else 1
    layout = Layout(shape=(1,) if channels == 2 else (2,), channels=channels)
    kernel = 1 if channels == 2 else 2
    takes_hidden = bijectors.by_name.takes(name, "hidden")
    options = NEEDS.get(name, {}) | ({"hidden": (5,)} if takes_hidden else {}) | more
    passive = 1 if name in ("corners", "frames", "split-prior") else 0
    x = layout.local(layout.input, bijectors.named(name, options), kernel=kernel, passive=passive)
    layout.latent(x)
    torch.manual_seed(0)
    return randomize(mera.Flow(layout, prior), 0.2).double()


OTHERS = [("coupling", "spline")]


@pytest.mark.parametrize(
    ("name", "transform"), [*((name, None) for name in sorted(set(bijectors.names()) - NEEDS_MORE)), *OTHERS]
)
@pytest.mark.parametrize("prior", LINES)
def test_flows_of_two_real_numbers_integrate_to_one(name, transform, prior):
    flow = flow_of_two(name, LINES[prior], **({} if transform is None else {"transform": transform}))
    t = torch.linspace(-5, 5, 400, dtype=torch.float64)  # x = sinh(t) reaches far tails
    tolerance = {"gaussian": 2e-3, "StudentT": 1e-2, "Uniform(0, 1)": 5e-2}[prior]  # tails beyond the grid, and edges
    assert integral(flow, t.sinh(), t.cosh(), t[1] - t[0]) == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("prior", ANGLES)
def test_flows_of_two_angles_integrate_to_one(prior):
    with pytest.raises(ValueError, match="Expected a prior of angles"):
        flow_of_two("coupling", "gaussian", transform="circular-spline")
    flow = flow_of_two("coupling", ANGLES[prior], transform="circular-spline")
    step = 2 * math.pi / 800
    axis = torch.arange(800, dtype=torch.float64) * step - math.pi + step / 3
    assert integral(flow, axis, torch.ones_like(axis), step) == pytest.approx(1, abs=1e-3)
    x = flow.sample(500)
    assert (x.abs() <= math.pi).all()
    again, log_q = flow.rsample_and_log_prob(500)
    torch.testing.assert_close(flow.log_prob(again), log_q, rtol=0, atol=1e-8)


@torch.no_grad()
def integral(flow, axis, slope, step):
    """The integral of the density over a grid of two variables."""
    shape = flow.plan.input.event_shape
    total = 0.0
    for first, weight in zip(axis.split(50), slope.split(50), strict=True):
        points = torch.cartesian_prod(first, axis).view(-1, *shape)
        weights = torch.cartesian_prod(weight, slope).prod(1)
        total += (flow.log_prob(points).exp() * weights).sum().item() * step**2
    return float(total)
