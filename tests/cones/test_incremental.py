"""A pass that is brought up to date in generation cones equals a whole pass."""

import pytest
import torch

import mera
from mera.cones.cone import cone_of_latents
from mera.cones.incremental import IncrementalPass, Wiring
from tests.helpers.laws import randomize
from tests.tables.models import CONDITIONAL, MODELS, contexts


def places_of(wiring, level):
    """Two latents of a level, alone and together where their cones do not meet."""
    latents = wiring.latents[level].flatten()
    first, last = latents[:1], latents[len(latents) // 2 : len(latents) // 2 + 1]
    yield [first]
    try:
        wiring.change([first, last])
    except ValueError:
        yield [last]
    else:
        yield [first, last]


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    flow = randomize(MODELS[name](), 0.1).double()
    flow.initialize(torch.randn(6, *flow.plan.input.event_shape, dtype=torch.float64))
    check_changes(flow)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_conditional_models(name):
    """With a context that is fixed, also one that differs from place to place."""
    flow = randomize(CONDITIONAL[name](), 0.1).double()
    context = contexts(flow, 6)
    flow.initialize(torch.randn(6, *flow.plan.input.event_shape, dtype=torch.float64), context)
    check_changes(flow.given(context[:1]))


def check_changes(flow):
    """Changes of latents at every level, kept and rejected, leave the values of a whole pass."""
    wiring = Wiring(flow.plan)
    z = flow.sample_latents(3, 0.2)
    state = IncrementalPass(flow.runner, wiring, flow.inverse(z)[0])
    for level in range(len(z)):
        for places in places_of(wiring, level):
            change, before = wiring.change(places), state.log_det
            new = 0.4 * torch.randn(3, len(places), 1, dtype=torch.float64)
            accepted = torch.tensor([[True, False], [False, True], [True, True]])[:, : len(places)]
            kept = state.at(change), state.data.clone()
            gain = state.propose(change, new)
            torch.testing.assert_close(gain.sum(1), state.log_det - before, atol=1e-9, rtol=1e-9)
            check(flow, state)
            state.settle(change, accepted)
            check(flow, state)
            expected = torch.where(accepted[..., None], new, kept[0])
            torch.testing.assert_close(state.at(change), expected, atol=0, rtol=0)
            rejected = ~accepted.any(1)
            assert torch.equal(state.data[rejected], kept[1][rejected])


def check(flow, state):
    """All values of a state are those of a whole pass from its latents."""
    x, log_det = flow.inverse(state.latents)
    torch.testing.assert_close(state.data, x, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(state.log_det, log_det, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", ["rgflow", "rgflow-open", "rgflow-3d", "neuralrg", "tree", "ternary", "branching"])
def test_what_changes_is_the_generation_cone(name):
    """For flows of patches, all of whose variables change."""
    plan = MODELS[name]().plan
    wiring = Wiring(plan)
    n = plan.input.variables
    for level, latents in enumerate(wiring.latents):
        change = wiring.change([latents.flatten()[:1]])
        cone = cone_of_latents(plan, {level: torch.zeros(1, dtype=torch.int64)})
        sites = change.addresses[change.addresses < n] % plan.input.sites
        assert torch.equal(sites.unique(), cone.pixels.flatten().nonzero()[:, 0])


def test_latents_that_no_bijector_touches():
    layout = mera.Layout((8,), 1)
    coarse, fine = layout.decimate(layout.input)
    layout.latent(fine)
    layout.latent(layout.local(coarse, "actnorm", kernel=1))
    flow = mera.Flow(layout, "gaussian").double()
    wiring = Wiring(flow.plan)
    state, change = (
        IncrementalPass(flow.runner, wiring, flow.sample(2)),
        wiring.change([wiring.latents[0].flatten()[:1]]),
    )
    assert state.propose(change, state.at(change) + 1).tolist() == [[0], [0]]
    state.settle(change, torch.ones(2, 1, dtype=torch.bool))
    check(flow, state)


def test_messages():
    flow = MODELS["rgflow"]()
    wiring = Wiring(flow.plan)
    coarse = wiring.latents[-1].flatten()
    with pytest.raises(ValueError, match="cones do not meet"):
        wiring.change([coarse[:1], coarse[1:2]])
    state = IncrementalPass(flow.runner, wiring, flow.sample(2))
    with pytest.raises(RuntimeError, match="propose before settle"):
        state.settle(wiring.change([coarse[:1]]), torch.ones(2, 1, dtype=torch.bool))
    conditional = CONDITIONAL["rgflow"]()
    with pytest.raises(ValueError, match="Expected a context"):
        IncrementalPass(conditional.runner, wiring, torch.zeros(1, 1, 8, 8))
