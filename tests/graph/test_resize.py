"""Flows on other lattices, with the same parameters."""

import pytest
import torch

import mera
from mera import physics
from tests.helpers.laws import check_laws
from tests.helpers.strategies import randomize

SMALL = {"layers": 1, "hidden": (5,), "residual_blocks": 1}
CASES = [
    ("rgflow", {"L": 8, "m": 4, "channels": 2}, (16, 24), 8),
    ("rgflow", {"L": (24, 16), "m": 2, "levels": 3, "order": "authors", "channels": 1}, (16, 8), 8),
    ("rgflow", {"L": 4, "m": 2, "dim": 3, "channels": 1, "share_levels": True}, (4, 8, 12), 4),
    ("rgflow", {"L": 16, "m": 4, "channels": 1, "context": 3}, (16, 32), 16),
    ("neuralrg", {"L": 8, "channels": 1}, (24, 16), 8),
    ("tree", {"L": 9, "m": 3, "channels": 1}, (9, 18), 9),
    ("ternary", {"L": 9, "channels": 1}, (27, 9), 9),
    ("branching", {"L": 8, "m": 2, "channels": 1}, (16, 8), 8),
    ("decimation", {"L": 8, "channels": 1}, (8, 24), 8),
    ("realnvp", {"L": 8, "m": 4, "channels": 1, "boundary": "periodic"}, (16, 24), 8),
    ("wavelet", {"L": 16, "m": 4, "dim": 1, "channels": 1, "boundary": "periodic"}, (48,), 16),
    ("glow", {"L": 8, "m": 4, "channels": 2, "boundary": "periodic"}, (24, 8), 8),
]


def flow_of(name, options):
    options = {key: value for key, value in (SMALL | options).items() if (name, key) != ("glow", "residual_blocks")}
    return randomize(mera.build(name, **options), 0.2)


@pytest.mark.parametrize(("name", "options", "shape", "period"), CASES)
def test_the_same_parameters_on_another_lattice(name, options, shape, period):
    flow = flow_of(name, options)
    other = flow.resized(shape)
    assert {id(p) for p in other.parameters()} == {id(p) for p in flow.parameters()}
    assert len(other.plan.latents) == len(flow.plan.latents)
    x = 0.7 * torch.randn(2, *other.plan.input.event_shape, dtype=torch.float64)
    given = () if flow.plan.context is None else (torch.randn(2, 3, dtype=torch.float64),)
    check_laws(other, x, *given)
    for axis, edge in enumerate(shape):
        moved = x.roll(period % edge, 2 + axis)
        torch.testing.assert_close(other.log_prob(moved, *given), other.log_prob(x, *given))
    back = other.resized(flow.plan.input.shape)
    y = torch.randn(1, *flow.plan.input.event_shape, dtype=torch.float64)
    given = tuple(context[:1] for context in given)
    assert torch.equal(back.log_prob(y, *given), flow.log_prob(y, *given))


def test_far_from_borders_open_lattices_agree():
    """Latents of a window that a border does not reach are those of the smaller lattice, wherever they are."""
    flow = flow_of("rgflow", {"L": 48, "m": 2, "levels": 2, "channels": 1, "boundary": "open"})
    large = flow.resized((64, 56))
    x = torch.randn(1, 1, 64, 56, dtype=torch.float64)
    fine, coarse = large(x)[0], flow(x[..., 8:56, 4:52])[0]
    for a, b in zip(fine, coarse, strict=True):  # both levels of latents are on a lattice of half the edge
        inner = slice(4, b.shape[-1] - 4)
        torch.testing.assert_close(a[..., 4:28, 2:26][..., inner, inner], b[..., inner, inner], atol=1e-12, rtol=0)


def test_levels_that_share_their_bijectors_may_be_more():
    flow = flow_of("rgflow", {"L": 8, "m": 2, "channels": 1, "share_levels": True})
    other = flow.resized((32, 16), levels=4)
    assert len(other.plan.latents) == 4
    assert {id(p) for p in other.parameters()} == {id(p) for p in flow.parameters()}
    with pytest.raises(ValueError, match="two levels that share their bijectors"):
        flow.resized((8, 8), levels=1)
    with pytest.raises(ValueError, match="not resized before"):
        flow.resized((16, 16)).resized((32, 16), 4)
    sites = flow_of("rgflow", {"L": 8, "m": 2, "channels": 1, "share_levels": True, "context": (2, 8, 8)})
    assert sites.resized((16, 16), 4).plan.context == (2, 16, 16)
    with pytest.raises(ValueError, match="two levels that share their bijectors"):
        flow_of("rgflow", {"L": 8, "m": 2, "channels": 1}).resized((32, 16), levels=4)


@pytest.mark.parametrize("order", ["paper", "authors"])
@pytest.mark.parametrize(("shape", "levels"), [((4, 4), 2), ((8, 8), 2), ((16, 16), 4), ((16, 24), 3)])
def test_what_ends_in_the_prior_is_not_shared(order, shape, levels):
    """The last row of the coarsest level, whichever row fits there, is one bijector, and no other node has it."""
    flow = flow_of("rgflow", {"L": 8, "m": 2, "channels": 1, "share_levels": True, "boundary": "open", "order": order})
    other = flow.resized(shape, levels)
    modules = [step.module for step in other.plan.bijections]
    assert modules[-1] == "top"
    assert modules.count("top") == 1
    built = mera.build(flow.recipe.model, **flow.recipe.options | {"L": shape, "levels": levels}).double()
    built.load_state_dict(flow.state_dict())
    x = torch.randn(2, 1, *shape, dtype=torch.float64)
    torch.testing.assert_close(other.log_prob(x), built.log_prob(x))


def test_a_flow_without_a_row_of_its_coarsest_level():
    """Between open borders, one patch has no room for a disentangler: the flow stays without it on larger lattices."""
    flow = flow_of("rgflow", {"L": 8, "m": 4, "channels": 1, "boundary": "open"})
    other = flow.resized((16, 24))
    assert set(other.bijectors) == set(flow.bijectors)
    check_laws(other, torch.randn(2, 1, 16, 24, dtype=torch.float64))


def test_contexts_at_each_pixel_and_classes():
    flow = flow_of("rgflow", {"L": 8, "m": 2, "channels": 1, "context": (2, 8, 8)})
    other = flow.resized((16, 8))
    assert other.plan.context == (2, 16, 8)
    other.log_prob(torch.randn(1, 1, 16, 8).double(), torch.randn(1, 2, 16, 8).double())
    with pytest.raises(ValueError, match="Expected to resize a flow first, then to fix its context of each pixel"):
        flow.given(torch.randn(1, 2, 8, 8)).resized((16, 8))
    flow = flow_of("rgflow", {"L": 8, "m": 2, "channels": 1, "classes": 3})
    assert flow.resized((16, 8)).sample(2, torch.tensor([0, 2])).shape == (2, 1, 16, 8)
    assert flow.given(torch.tensor([1])).resized((16, 8)).sample(1).shape == (1, 1, 16, 8)


def test_a_resized_flow_is_a_flow(tmp_path):
    flow = flow_of("rgflow", {"L": 8, "m": 2, "channels": 1}).float()
    flow.checkpoint = True
    other = flow.eval().resized((8, 16))
    assert (other.dtype, other.training, other.checkpoint) == (torch.float32, False, True)
    mera.save(other, tmp_path / "flow.mera")
    x = other.sample(1)
    torch.testing.assert_close(mera.load(tmp_path / "flow.mera").log_prob(x), other.log_prob(x))
    mixture = mera.Symmetrized(flow).resized((8, 16))
    torch.testing.assert_close(mixture.log_prob(x), mixture.log_prob(-x))
    with torch.no_grad():
        next(flow.parameters()).add_(1)
    assert not torch.equal(flow.resized((8, 16)).log_prob(x), torch.zeros(1))
    assert torch.equal(flow.resized((8, 16)).log_prob(x), other.log_prob(x))


def test_layouts_made_by_hand_and_growth():
    layout = mera.Layout((8,), 1)
    x = layout.local(layout.input, "coupling", kernel=4, offset=2, name="blocks")
    coarse, fine = layout.decimate(x)
    layout.latent(fine)
    layout.latent(coarse)
    flow = randomize(mera.Flow(layout), 0.2)
    assert flow.resized((16,)).log_prob(torch.randn(3, 1, 16).double()).shape == (3,)
    with pytest.raises(ValueError, match="not resized before, of a model with levels"):
        flow.resized((16,), levels=3)
    small = mera.build("rgflow", L=(8, 4), m=2, levels=2, channels=1, hidden=(5,), prior="gaussian")
    assert physics.grow(small).recipe.options["levels"] == 3


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"L": 8}, (12, 12), r"multiples of \(8, 8\) as edges"),
        ({"L": 8}, (16,), "Expected the shape to be an integer >= 1 or 2 of them"),
        ({"L": 8}, (16, 0), "Expected the shape to be an integer >= 1 or 2 of them"),
        ({"L": 8, "channels": 1, "spectral": True}, (16, 16), "(?s)Expected a bijector that fits.*'spectral'"),
    ],
)
def test_what_does_not_fit(options, shape, message):
    with pytest.raises(ValueError, match=message):
        mera.build("rgflow", m=4, hidden=(5,), **options).resized(shape)
    with pytest.raises(ValueError, match="patches 4x4 that fit each level; got edges 10x16 of level 1"):
        mera.build("rgflow", L=(20, 32), m=4, levels=3)
    with pytest.raises(ValueError, match="levels as an integer"):
        mera.build("rgflow", L=16, m=4, levels=0)


def test_modules_stay_as_they_are():
    """Modes, hooks and parameters, also if inference mode makes the other lattice."""
    flow, calls = mera.build("rgflow", L=8, channels=1, hidden=(4,), details=1), []
    flow.level(0).eval()
    flow.bijectors["details0"].register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        large = flow.resized((16, 24))
    assert large.bijectors is flow.bijectors
    assert [part.training for part in large.level(0)] == [False] * len(large.level(0))
    large.log_prob(torch.randn(1, 1, 16, 24)).sum().backward()
    assert calls == [1]
    assert large.double().dtype == flow.dtype == torch.float64
