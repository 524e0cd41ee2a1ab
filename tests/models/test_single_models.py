"""What single models are: the option `details`, the order of `decimation`, the blocks of NeuralRG."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import mera
from mera.bijectors import ActNorm, Bijector, Chain, named, zero_log_det
from tests.helpers.laws import randomize


def build(**options):
    return mera.build("rgflow", **{"L": 16, "m": 4, "channels": 2, "layers": 1, "hidden": (3,), **options})


def test_what_stays_is_as_without_details():
    """The coarsest latents are those of the flow without details, and the finest depend on neighbouring cells."""
    flow, plain = randomize(build(details=(1, 2, 0))), build().double()
    assert not plain.load_state_dict(flow.state_dict(), strict=False).missing_keys
    x = torch.randn(2, 2, 16, 16, dtype=torch.float64)
    z, z_plain = flow(x)[0], plain(x)[0]
    torch.testing.assert_close(z[-1], z_plain[-1])
    moved = x.clone()
    moved[..., 0, 0] += 1
    changed, changed_plain = ((f(moved)[0][0] != f(x)[0][0]).any(0).any(0) for f in (flow, plain))
    assert (changed & ~changed_plain).any()


def test_a_cone_grows_by_the_reach_of_the_convolutions():
    """A layer has two couplings, and the network of each has two convolutions that read one cell further."""
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[9, 20] = True
    for boundary, padded in (("periodic", "circular"), ("open", "constant")):
        with_details, without = (
            build(L=32, m=2, details=details, boundary=boundary).inference_cone(mask).levels for details in (1, 0)
        )
        for reached, own in zip(with_details[:-1], without[:-1], strict=True):
            reach = min(4, len(own))
            wide = F.pad(own[None, None].float(), (reach,) * 4, mode=padded)
            assert torch.equal(reached, F.max_pool2d(wide, 2 * reach + 1, 1)[0, 0].bool())
        assert torch.equal(with_details[-1], without[-1])


def test_levels_may_share_them():
    """One module for lattices of all sizes, on which it is the map of a module of that size."""
    flow = randomize(build(details=2, share_levels=True))
    assert [step.module for step in flow.plan.bijections].count("details") == 2
    larger = flow.resized((32, 32), levels=4)
    assert {p.data_ptr() for p in larger.parameters()} == {p.data_ptr() for p in flow.parameters()}
    x = larger.sample(3)
    torch.testing.assert_close(larger.inverse(larger(x)[0])[0], x, rtol=1e-5, atol=1e-4)  # values of a thousand
    first = next(step for step in flow.plan.bijections if step.module == "details")
    halved = next(step for step in larger.plan.bijections if step.module == "details" and step.level == 1)
    events = torch.randn(2, *halved.apply.event_shape, dtype=x.dtype)
    assert first.apply.event_shape == halved.apply.event_shape
    for a, b in zip(flow.bijector(first)(events), larger.bijector(halved)(events), strict=True):
        torch.testing.assert_close(a, b)


def test_what_has_numbers_for_each_site_is_not_shared_among_lattices():
    def make(event_shape, context_shape=None):
        return Chain([ActNorm(event_shape), named("convolution", {"layers": 1, "hidden": (2,)})(event_shape)])

    layout = mera.Layout((8, 8), 1, "open")
    kernel = make((1, 8, 8)).receptive_kernel
    x = layout.local(layout.input, make, kernel=kernel, stride=1, share="convolutions")
    kept, fine = layout.decimate(x, 2)
    layout.latent(fine)
    layout.latent(layout.local(kept, make, kernel=kernel, stride=1, share="convolutions"))
    with pytest.raises(mera.LayoutError, match="a bijector that fits the lattice 1 x 4 x 4; got a Chain of events"):
        mera.Flow(layout)


@pytest.mark.slow
def test_a_flow_whose_levels_share_them_is_compiled():
    flow = randomize(build(channels=1, details=1, share_levels=True)).float()
    x = torch.randn(2, *flow.plan.input.event_shape)
    torch.testing.assert_close(torch.compile(flow.log_prob)(x), flow.log_prob(x), atol=1e-3, rtol=1e-4)


def test_levels_that_share_have_one_value_of_an_option():
    with pytest.raises(ValueError, match="details as one integer from 0 to 1,000, or one for each of 1 levels"):
        build(details=(2, 1, 0), share_levels=True)
    for options in ({"shared_from": 1}, {"shared_from": 2, "share_levels": True}):
        with pytest.raises(ValueError, match="share_levels=True, at most 1 for 3 levels, so that two share"):
            build(**options)
    flow = build(L=32, details=(2, 1), share_levels=True, shared_from=1)
    assert {"details0", "details", "decimator0", "decimator"} <= {step.module for step in flow.plan.bijections}
    large = flow.resized((128, 64), levels=5)
    assert large.n_parameters == flow.n_parameters
    assert large.plan.latents[-1].lattice.shape == (8, 4)
    sizes = [sum(p.numel() for p in large.bijectors[name].parameters()) for name in ("details0", "details")]
    assert sizes[0] > 1.5 * sizes[1]


@pytest.mark.parametrize(("dim", "L"), [(1, 16), (2, 16), (3, 8)])
@pytest.mark.parametrize("cell", [0, 3])
def test_black_sites_are_independent_of_each_other_given_white_sites(dim, L, cell):
    """Without the couplings of all sites, the latent of a black site changes its own site alone."""
    torch.manual_seed(0)
    flow = randomize(mera.build("decimation", L=L, dim=dim, channels=2, layers=2, hidden=(5,)), 0.3).double()
    for parameter in flow.bijectors["details0"].bijectors[-1].parameters():
        torch.nn.init.zeros_(parameter)
    z = flow.sample_latents(1)
    x = flow.inverse(z)[0]
    is_black = torch.stack(torch.meshgrid(*[torch.arange(L)] * dim, indexing="ij")).sum(0) % 2 == 1
    for number, corner in enumerate(list(product((0, 1), repeat=dim))[1:]):  # without the first corner
        other = [level.clone() for level in z]
        other[0][(0, 2 * number + 1, *(cell,) * dim)] += 1.0
        changed = (flow.inverse(other)[0] != x)[0].any(0)
        site = tuple(2 * cell + c for c in corner)
        assert changed[site]
        assert not changed[(slice(None, None, 2),) * dim].any()
        assert (changed.sum() == 1) == is_black[site]
        assert changed[is_black].any()


class Probe(Bijector):
    """Changes nothing, and keeps which sites came together."""

    def forward(self, x):
        self.seen = x
        return x, zero_log_det(x)

    def inverse(self, y):
        return y, zero_log_det(y)


def published_blocks(L, repeats):
    """For each layer, from the data on, its blocks as sets of sites: kernel 2, dilation 2^n, offset 0 and then 2^n.

    Written down from the description of the public code alone.
    """
    layers = []
    for n in range(int(np.log2(L))):
        for offset in (0, 2**n) * repeats:
            starts = np.arange(0, L, 2 ** (n + 1)) + offset
            edges = [((a % L, (a + 2**n) % L)) for a in starts]
            layers.append({frozenset(i * L + j for i in rows for j in columns) for rows in edges for columns in edges})
    return layers


@pytest.mark.parametrize(("L", "repeats"), [(8, 1), (8, 2), (16, 1)])
def test_blocks_and_their_order(L, repeats):
    flow = mera.build("neuralrg", L=L, repeats=repeats, bijector=lambda shape: Probe(shape))
    flow(torch.arange(float(L * L)).view(1, 1, L, L))
    seen = [
        {frozenset(map(int, event.flatten())) for event in flow.bijectors[step.module].seen}
        for step in flow.plan.steps
        if step.module
    ]
    assert seen == published_blocks(L, repeats)
