"""Growth to larger lattices, level by level."""

import pytest
import torch

import mera
from mera import physics
from mera.flow.mixture import Symmetrized


@pytest.mark.parametrize("copy", ["coarse", "fine"])
@pytest.mark.parametrize("name", ["rgflow", "neuralrg", "tree"])
def test_growth(name, copy):
    flow = mera.build(name, L=8, channels=1, hidden=(4,), prior="gaussian").double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    flow.checkpoint = True
    larger = physics.grow(flow, copy)
    assert larger.plan.input.shape == (16, 16)
    assert (larger.dtype, larger.checkpoint) == (torch.float64, True)
    old, new = ([step for step in f.plan.steps if step.module] for f in (flow, larger))
    shift = len({step.level for step in new}) - len({step.level for step in old}) if copy == "coarse" else 0
    for step in old:
        (grown,) = (s for s in new if s.level == step.level + shift and _place(new, s) == _place(old, step))
        before, after = (f.bijectors[s.module].state_dict() for f, s in ((flow, step), (larger, grown)))
        assert all(torch.equal(before[key], after[key]) for key in before)
    assert isinstance(physics.grow(Symmetrized(flow)), Symmetrized)


def test_growth_of_a_decimation():
    """The topmost lattice keeps its own bijectors; the new level has those of a neighbouring one."""
    flow = mera.build("decimation", L=8, channels=1, hidden=(4,))
    for copy, source in (("fine", [0, 1, 1]), ("coarse", [0, 0, 1])):
        larger = physics.grow(flow, copy)
        pairs = [(f"details{new}", f"details{old}") for new, old in enumerate(source)]
        for new, old in [*pairs, ("disentangler3", "disentangler2"), ("decimator3", "decimator2")]:
            after, before = larger.bijectors[new].state_dict(), flow.bijectors[old].state_dict()
            assert after.keys() == before.keys()
            assert all(torch.equal(after[key], before[key]) for key in after)


def test_the_bijectors_of_a_level():
    flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(4,), norm=False, prior="gaussian")
    of_levels = [set(flow.level(number).parameters()) for number in (0, 1)]
    assert not of_levels[0] & of_levels[1]
    assert of_levels[0] | of_levels[1] == set(flow.bijectors.parameters())
    with pytest.raises(ValueError, match="Expected a level from 0 to 1; got 2"):
        flow.level(2)


def _place(steps, step):
    """The place of a step among those of its level, counted from the last: the coarsest level has no block spins."""
    return [s for s in reversed(steps) if s.level == step.level].index(step)


def test_growth_of_flows_that_cannot_grow():
    with pytest.raises(ValueError, match="Expected a flow; got NoneType"):
        physics.grow(None)
    with pytest.raises(ValueError, match="Expected levels with"):
        physics.grow(mera.build("realnvp", L=8, channels=1, hidden=(4,)))
    with pytest.raises(ValueError, match=r"the same widths at all levels; got widths by level, .*40"):
        physics.grow(mera.build("realnvp", L=8, channels=1))
    with pytest.raises(ValueError, match="Expected levels with the same bijectors"):  # one scale for each Fourier mode
        physics.grow(mera.build("rgflow", L=8, channels=1, hidden=(4,), spectral=True))
    flow = mera.build("tree", L=4, channels=1, hidden=(4,))
    with pytest.raises(ValueError, match=r"a flow that mera\.build made"):
        physics.grow(mera.Flow(flow.layout))
    with pytest.raises(ValueError, match="levels to keep"):
        physics.grow(flow, "both")


@pytest.mark.parametrize(("L", "m"), [(28, [4, 4, 2, 7]), (12, [4, 4, 6])])
@pytest.mark.parametrize("copy", ["coarse", "fine"])
def test_patches_that_differ_by_level_grow(L, m, copy):
    small = mera.build("rgflow", L=L, channels=1, layers=1, hidden=(4,), norm=False)
    large = physics.grow(small, copy=copy)
    assert large.recipe.options["m"] == m
    assert large.plan.input.shape == (2 * L, 2 * L)
    assert len(large.plan.latents) == len(small.plan.latents) + 1
