"""Odd couplings: a flow of them gives x and -x the same density, for any weights."""

import pytest
import torch

import mera
from mera.bijectors import Univariate, named, wrap
from mera.bijectors.coupling_stack import couplings
from mera.bijectors.partition import Gather, checkerboard
from tests.helpers.laws import randomize
from tests.tables.bijectors import EVEN, ODD, PATCH, mlp


@pytest.mark.parametrize("name", ODD)
def test_odd_couplings_map_opposite_events_to_opposite_events(name):
    shape = EVEN if name == "convolution" else PATCH
    f = randomize(named(name, ODD[name])(shape), 0.5)
    x = 2 * torch.randn(7, *shape, dtype=torch.float64)
    x = wrap(x) if name == "circular-spline" else x
    y, log_det = f(x)
    opposite, opposite_log_det = f(-x)
    torch.testing.assert_close(opposite, -y, rtol=0, atol=1e-12)
    torch.testing.assert_close(opposite_log_det, log_det, rtol=1e-12, atol=1e-12)
    plain = randomize(named(name, {**ODD[name], "odd": False})(shape), 0.5)
    assert (plain(-x)[0] + plain(x)[0]).abs().max() > 0.1


@pytest.mark.parametrize("bijector", ["spline(bound=6, odd=True)", "coupling(odd=True, conditioner='authors')"])
def test_a_flow_of_odd_couplings_is_even(bijector):
    flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(9,), norm=False, prior="gaussian", bijector=bijector)
    flow = randomize(flow, 0.3).double()
    x = torch.randn(5, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(-x), flow.log_prob(x), rtol=1e-12, atol=1e-12)


def test_odd_couplings_have_no_shift_of_their_own():
    with pytest.raises(ValueError, match=r"Expected norm=False and no context for odd couplings; got norm=True"):
        named("spline", {"odd": True})(PATCH)
    with pytest.raises(ValueError, match=r"no context for odd couplings; got .*context_shape=\(3,\)"):
        named("spline", {"odd": True, "norm": False})(PATCH, (3,))

    class Lopsided(Univariate):
        n_params = 1

        def forward(self, x, params):
            return x, torch.zeros_like(x)

        inverse = forward

    with pytest.raises(ValueError, match="Expected a transform with a mirror image, for odd couplings; got Lopsided"):
        couplings(Gather(checkerboard(PATCH)), mlp, Lopsided(), layers=1, norm=False, odd=True)
