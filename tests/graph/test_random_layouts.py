"""Whatever is declared either was refused or is a bijection with the exact log-det, whose plan does what it says."""

import pickle

import pytest
import torch
from hypothesis import given, settings

from mera.cones.cone import cone_of_data, cone_of_latents
from mera.graph import LayoutError, compile
from tests.helpers.laws import check_laws, flat
from tests.helpers.naive import naive_forward
from tests.helpers.strategies import few, layouts, make_flow

many = settings(few, max_examples=1500)


def check(layout):
    """All laws, the naive loop, the lattice, the plan."""
    flow = make_flow(layout)
    x = 0.5 * torch.randn(2, *flow.plan.input.event_shape, dtype=torch.float64)
    check_laws(flow, x)
    z, log_det = flow(x)
    naive_z, naive_log_det = naive_forward(flow, x)
    torch.testing.assert_close(log_det, naive_log_det)
    for latent, level in zip(flow.plan.latents, z, strict=True):
        torch.testing.assert_close(level, naive_z[latent.node])
    assert torch.equal(torch.cat([level.flatten(1) for level in flow.from_lattice(flow.to_lattice(z))], 1),
                       torch.cat([level.flatten(1) for level in z], 1))  # fmt: skip
    try:
        streamed = flow.stream(x[0].numpy(), tile=3).log_prob
    except LayoutError:  # several lattices go on behind a cut, or a bijector acts on a whole lattice at once
        streamed = flow.log_prob(x)[0].item()
    assert abs(streamed - flow.log_prob(x)[0].item()) < 1e-8
    plan = compile(layout)
    assert plan == flow.plan == pickle.loads(pickle.dumps(plan))
    assert hash(plan) == hash(flow.plan)
    assert all(step.node in str(plan) for step in plan.steps)


def check_cones(layout):
    """Cones are where the Jacobian is not zero, entry by entry in both directions, and for all pixels of a mask."""
    flow = make_flow(layout)
    plan = flow.plan
    event = plan.input.event_shape
    x = 0.5 * torch.randn(event, dtype=torch.float64)
    z = flow(x[None])[0]
    sizes = [level[0].numel() for level in z]
    there = torch.autograd.functional.jacobian(lambda x: flat(flow(x[None])[0])[0], x, vectorize=True).flatten(1)
    back = torch.autograd.functional.jacobian(lambda *z: flow.inverse(z)[0][0].flatten(), z, vectorize=True)
    back = torch.cat([part.flatten(1) for part in back], 1)
    for v in torch.randperm(x.numel())[:8]:
        site, channel = v % plan.input.sites, v // plan.input.sites
        cone = cone_of_data(plan, (site * event[0] + channel)[None])
        assert torch.equal(numbered(plan, cone), there[:, v] != 0)
        level, place = next((h, v - sum(sizes[:h])) for h in range(len(z)) if v < sum(sizes[: h + 1]))
        lattice = plan.latents[level].lattice
        number = place % lattice.sites * lattice.channels + place // lattice.sites
        pixels = torch.zeros(event, dtype=torch.bool).flatten()
        reached = cone_of_latents(plan, {level: number[None]}).reached[0]
        pixels[reached % event[0] * plan.input.sites + reached // event[0]] = True
        assert torch.equal(pixels, back[:, v] != 0)
    mask = torch.rand(plan.input.shape) < 0.2
    if mask.any():
        cone = flow.inference_cone(mask)
        expected = (there[:, mask.expand(event).flatten()] != 0).any(1)
        assert torch.equal(numbered(plan, cone), expected)
        assert cone.count == expected.sum()
        for latent, level, part in zip(plan.latents, cone.levels, expected.split(sizes), strict=True):
            assert torch.equal(level, part.view(latent.lattice.event_shape).any(0))


def numbered(plan, cone):
    """The cone's latents as one mask, in the order of `flat(z)`."""
    masks = []
    for latent in plan.latents:
        mask = torch.zeros(latent.lattice.sites, latent.lattice.channels, dtype=torch.bool)
        mask.view(-1)[cone.reached[latent.value]] = True
        masks.append(mask.T.flatten())
    return torch.cat(masks)


@given(layouts())
@few
def test_refused_or_exact(layout):
    check(layout)


@given(layouts(dense=True))
@few
def test_dense_layouts_are_bijections_and_their_cones_exact(layout):
    check(layout)
    check_cones(layout)


@pytest.mark.slow
@given(layouts(dense=True))
@settings(few, max_examples=600)
def test_cones_are_exact_many(layout):
    check_cones(layout)


@pytest.mark.slow
@given(layouts())
@many
def test_refused_or_exact_many(layout):
    check(layout)
