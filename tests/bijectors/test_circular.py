"""Angles: splines on the circle, and the XY model against exact results."""

import math

import pytest
import torch

import mera
from mera import physics
from mera.bijectors import CircularSpline, named, wrap
from mera.physics import XY
from tests.helpers.laws import randomize
from tests.physics.exact import chain_of_angles

SHAPE = (2, 3, 4)


def random_coupling(dtype=torch.float64):
    return randomize(named("coupling", {"hidden": (8,), "transform": "circular-spline(bins=4)"})(SHAPE), 0.5).to(dtype)


def angles(*shape, dtype=torch.float64):
    return wrap(20 * torch.randn(*shape, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wrapped_angles_are_in_the_support_of_the_prior(dtype):
    many = torch.cat([angles(100_000, dtype=dtype), torch.tensor([math.pi, -math.pi, 3 * math.pi, -1e-9], dtype=dtype)])
    wrapped = wrap(many)
    prior = mera.Prior(XY.flow_options["prior"])
    assert prior.log_prob([wrapped[:, None]]).isfinite().all()
    torch.testing.assert_close(many.cos(), wrapped.cos(), atol=1e-5, rtol=0)


def test_the_map_is_one_of_the_circle():
    """Angles that differ by full turns have one image."""
    coupling, x = random_coupling(), angles(5, *SHAPE)
    y, log_det = coupling(x)
    again, same = coupling(x + 2 * math.pi * torch.randint(-3, 4, x.shape).double())
    torch.testing.assert_close(wrap(again - y), torch.zeros_like(y), atol=1e-9, rtol=0)
    torch.testing.assert_close(same, log_det)
    back, inverse = coupling.inverse(y)
    torch.testing.assert_close(wrap(back - x), torch.zeros_like(x), atol=1e-9, rtol=0)
    torch.testing.assert_close(inverse, -log_det)


@pytest.mark.parametrize("beta", [0.3, 2.0])
def test_exact_chain_by_a_transfer_matrix(beta):
    grid = (torch.arange(200, dtype=torch.float64) / 200) * 2 * math.pi
    transfer = (beta * (grid[:, None] - grid).cos()).exp() * 2 * math.pi / 200
    expected = torch.linalg.matrix_power(transfer, 7).trace().log().item()
    assert chain_of_angles(beta, 7)["ln Z"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_xy_is_learnt_and_measured():
    torch.manual_seed(0)
    action = XY(1.0)
    flow = mera.build("rgflow", L=8, m=4, dim=1, channels=1, layers=2, hidden=(24,), norm=False, **action.flow_options)
    mera.train.fit(flow, action, steps=60, batch_size=64, lr=5e-3, eval_every=60, eval_images=100)
    flow = flow.double()
    report = physics.estimate(flow, action, 4000)
    assert report.ess > 0.3
    exact = chain_of_angles(1.0, 8)
    assert abs(report.log_z - exact["ln Z"]) < 4 * report.log_z_error
    chain = physics.hmc((1, 8), action, draws=1000)
    for result in (report, chain):
        assert abs(result.observables["energy"].value - exact["energy"]) < 4 * result.observables["energy"].error
    assert chain.fields.abs().max() <= math.pi
    m2 = [result.observables["m2"] for result in (report, chain)]
    assert abs(m2[0].value - m2[1].value) < 4 * math.hypot(m2[0].error, m2[1].error)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e3, 1e6, 1e12])
def test_rotations_of_any_size_are_exact(size, dtype):
    spline = CircularSpline(4)
    params = torch.randn(50, spline.n_params, 3, dtype=dtype)
    params[:, -1] *= size
    x = wrap(3 * torch.randn(50, 3, dtype=dtype))
    y, log_slope = spline(x, params)
    again, opposite = spline.inverse(y, params)
    assert wrap(again - x).abs().max() < (1e-5 if dtype == torch.float32 else 1e-12)
    torch.testing.assert_close(opposite, -log_slope, atol=1e-4, rtol=1e-4)


def test_flows_of_angles_are_of_angles_alone():
    layout = mera.Layout((4,))
    x = layout.local(layout.input, "coupling(hidden=(4,), transform=circular-spline)", kernel=2, name="angles")
    x = layout.local(x, named("coupling", {"hidden": (4,)}), kernel=2, name="numbers")
    layout.latent(x)
    with pytest.raises(ValueError, match="bijectors of angles together with node 'angles'; got one of real numbers"):
        mera.Flow(layout, XY.flow_options["prior"])
    with pytest.raises(ValueError, match=r"a prior of angles, such as VonMises.*; got one on \[-inf, inf\]"):
        mera.build("rgflow", L=4, m=2, channels=1, transform="circular-spline")
    angles = mera.build("rgflow", L=4, m=2, channels=1, norm=False, **XY.flow_options)
    assert angles.of_angles
    with pytest.raises(ValueError, match="a flow of real numbers for images; got a flow of angles"):
        angles.bits_per_dim(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))


ANGLES = {"channels": 2, "layers": 1, "hidden": (4,), "transform": "circular-spline"}


@pytest.mark.parametrize(
    ("model", "options"),
    [("realnvp", {}), ("glow", {}), ("rgflow", {"norm": True}), ("rgflow", {"mix_channels": True})],
)
def test_parts_of_real_numbers_within_a_node_of_angles_are_refused(model, options):
    with pytest.raises(ValueError, match=r"Expected parts of angles alone in node .*; got CircularSpline beside"):
        mera.build(model, L=8, prior="VonMises(0, 1)", **ANGLES, **options)


@pytest.mark.parametrize(("model", "options"), [("rgflow", {}), ("realnvp", {"norm": False, "boundary": "periodic"})])
def test_the_density_is_continuous_on_the_circle(model, options):
    flow = randomize(mera.build(model, L=8, prior="VonMises(0, 1)", **ANGLES, **options), 0.2).double()
    x = 6 * torch.rand(3, 2, 8, 8, dtype=torch.float64) - 3
    ends = [x.index_fill(3, torch.tensor([2]), sign * (math.pi - 1e-9)) for sign in (1, -1)]
    torch.testing.assert_close(*map(flow.log_prob, ends), atol=1e-5, rtol=0)
    assert (wrap(flow.inverse(flow(x)[0])[0] - x)).abs().max() < 1e-9
