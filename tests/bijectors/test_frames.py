"""Frames and turns: symmetric densities, the order of sites, and the heat bath of the XY model."""

import math

import pytest
import torch

import mera
from mera import physics
from mera.bijectors import VonMises, named, wrap
from mera.bijectors.turns import corner_order, raster_order
from tests.helpers.laws import check_laws, randomize
from tests.physics.exact import chain_of_angles

ANGLES = {"hidden": (4,), "transform": "circular-spline(bins=4, peak='von-mises')", "padding": "circular"}


def flow_of(channels, scale=0.5, **options):
    options = {"channels": channels, "hidden": (5,), "window": 2} | options
    return randomize(mera.build("decimation", L=(8, 4), **options), scale).double()


def test_angles_that_turn_together_have_one_density():
    flow = flow_of(1, **physics.XY.flow_options)
    x = flow.sample(6)
    turned = wrap(x + wrap(6 * torch.rand(6, 1, 1, 1, dtype=torch.float64)))
    torch.testing.assert_close(flow.log_prob(turned), flow.log_prob(x), rtol=0, atol=1e-8)
    first, second = (flow(values)[0] for values in (x, turned))
    for y, z in zip(first[:-1], second[:-1], strict=True):  # latents stay, but for the first spin
        torch.testing.assert_close(wrap(y - z), torch.zeros_like(y), rtol=0, atol=1e-8)
    moved = x.clone()
    moved[:, :, 3, 1] += 0.5
    assert (flow.log_prob(moved) - flow.log_prob(x)).abs().min() > 1e-3


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_vectors_that_turn_together_have_one_density(channels):
    flow = flow_of(channels, 0.2, frames=True)
    x = torch.randn(6, channels, 8, 4, dtype=torch.float64)
    rotations = torch.linalg.qr(torch.randn(6, channels, channels, dtype=torch.float64)).Q  # and reflections
    turned = torch.einsum("bij,bjhw->bihw", rotations, x)
    torch.testing.assert_close(flow.log_prob(turned), flow.log_prob(x), rtol=1e-9, atol=1e-7)
    assert (flow.log_prob(-2 * x) - flow.log_prob(x)).abs().min() > 1e-3


ORDERS = {
    "corners": (lambda: corner_order((2, 2)), (8, 12)),
    "together": (lambda: corner_order((2, 2, 2), together=True), (4, 8, 4)),
    "line": (lambda: corner_order((1,)), (8,)),
    "raster": (lambda: raster_order((3, 2)), (3, 2)),
}


@pytest.mark.parametrize("name", ORDERS)
def test_each_site_is_drawn_once_and_neighbours_not_together(name):
    make, edges = ORDERS[name]
    order = make()
    sites = torch.cartesian_prod(*map(torch.arange, edges)).view(-1, len(edges))
    ranks = order.rank(sites)
    counts = torch.bincount(ranks, minlength=len(order.turns))
    assert len(counts) == len(order.turns)
    assert (counts > 0).all()
    for axis in range(len(edges)):
        step = torch.zeros(len(edges), dtype=torch.int64)
        step[axis] = 1
        assert (order.rank((sites + step) % torch.tensor(edges)) != ranks).all()


@pytest.mark.parametrize("options", [{}, {"together": True}])
def test_a_site_depends_on_the_turns_before_it_alone(options):
    """The zeros of the Jacobian from latents to data are exact."""
    shape = (4, 4, 2)
    bijector = randomize(named("frames", {**ANGLES, **options})(shape))
    order = corner_order((2, 2), together="together" in options)
    y = torch.randn(shape, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: bijector.inverse(v[None])[0].flatten(), y)
    jacobian = jacobian.reshape(y.numel(), y.numel())
    corners = torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(4), torch.arange(2))
    ranks = order.rank(2 * corners[:, 2:] + corners[:, :2])
    is_earlier = ranks[None] < ranks[:, None]
    allowed = is_earlier | torch.eye(len(ranks), dtype=torch.bool)
    assert (jacobian[~allowed] == 0).all()
    assert (jacobian[is_earlier & (ranks[:, None] == ranks.max())] != 0).float().mean() > 0.5


@pytest.mark.parametrize("kappa", [0.5, 4.0, 15.0])
def test_von_mises_map_has_the_density_of_the_distribution(kappa):
    raw = torch.full((200, 1), 20 * math.atanh(kappa / 20), dtype=torch.float64)
    x = torch.linspace(-1.5, 1.5, 200, dtype=torch.float64)
    y, log_slope = VonMises()(x, raw)
    target = torch.distributions.VonMises(torch.zeros((), dtype=torch.float64), torch.tensor(kappa).double())
    torch.testing.assert_close(log_slope.exp() / (2 * math.pi), target.log_prob(x).exp(), rtol=0, atol=5e-4)
    torch.testing.assert_close(VonMises().inverse(y, raw)[0], x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_von_mises_quantiles_are_found_over_the_whole_range(dtype):
    raw = torch.linspace(-4, 40, 50, dtype=dtype).repeat_interleave(400)[:, None]
    y = (torch.linspace(-1, 1, 400, dtype=dtype) * math.pi).repeat(50)
    x, log_slope = VonMises().inverse(y, raw)
    assert x.isfinite().all()
    assert log_slope.isfinite().all()
    back, _ = VonMises()(x, raw)
    torch.testing.assert_close(
        wrap(back - y), torch.zeros_like(y), rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-9
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_of_the_circle_stay_in_the_support_of_the_prior(dtype):
    """Rounding takes no angle out of [-pi, pi), where a uniform prior has no density."""
    prior = mera.Prior(physics.XY.flow_options["prior"])
    raw = torch.linspace(-3, 12, 200, dtype=dtype).repeat_interleave(9)[:, None]
    ends = wrap(torch.tensor([-math.pi, -3.1415926, -3.1415, 3.1415, 3.141592, 3.1415925, math.pi, 0, 1], dtype=dtype))
    for method in (VonMises(), VonMises().inverse):
        y, _ = method(ends.repeat(200), raw)
        assert prior.log_prob([y[:, None]]).isfinite().all()


@pytest.mark.parametrize("edges", [(1, 4), (3, 1), (5, 3)])
def test_edges_without_cells_of_a_colour_and_odd_edges(edges):
    bijector = randomize(named("frames", {"hidden": (4,), "padding": "circular"})((8, *edges)))
    check_laws(bijector, torch.randn(2, 8, *edges, dtype=torch.float64))


def test_options_of_the_other_kind_are_refused():
    with pytest.raises(ValueError, match=r"Expected no norm with frames=True; got norm=False"):
        mera.build("decimation", L=8, frames=True, norm=False)
    with pytest.raises(ValueError, match=r"Expected no window with frames=False; got window=2"):
        mera.build("decimation", L=8, window=2)
    with pytest.raises(ValueError, match=r"Expected frames=True for a transform of angles"):
        mera.build("decimation", L=8, frames=False, **physics.XY.flow_options)


@pytest.mark.parametrize("scale", [0.01, 1.0])
@pytest.mark.parametrize("options", [ANGLES, {"hidden": (4,)}])
def test_laws_of_weights_that_are_disturbed_little_and_much(options, scale):
    shape = (4, 2, 4) if options is ANGLES else (8, 2, 4)
    bijector = randomize(named("frames", options)(shape), scale)
    check_laws(bijector, wrap(1.5 * torch.randn(3, *shape, dtype=torch.float64)), atol=1e-7)


def test_a_chain_of_angles_is_learnt_and_its_ln_z_is_exact():
    action = physics.XY(1.5)
    flow = mera.build("decimation", L=16, dim=1, channels=1, hidden=(16,), **action.flow_options)
    mera.train.fit(
        flow, action, steps=80, batch_size=64, lr=2e-2, warmup=5, eval_every=80, eval_images=100, check=False
    )
    found = physics.estimate(flow, action, 2000)
    assert found.ess > 0.9
    assert abs(found.log_z - chain_of_angles(1.5, 16)["ln Z"]) < 4 * found.log_z_error


@pytest.mark.slow
def test_one_flow_learns_a_range_of_temperatures():
    family = physics.ActionFamily(physics.XY(), beta=(0.3, 2.0))
    flow = mera.build("decimation", L=8, dim=1, channels=1, hidden=(16,), context=1, **physics.XY.flow_options)
    mera.train.fit(
        flow, family, steps=120, batch_size=64, lr=2e-2, warmup=5, eval_every=120, eval_images=100, check=False
    )
    for beta in (0.5, 1.8):
        found = physics.estimate(flow.given(family.context(beta=beta)), family.at(beta=beta), 2000)
        assert found.ess > 0.8
        assert abs(found.log_z - chain_of_angles(beta, 8)["ln Z"]) < 4 * found.log_z_error
