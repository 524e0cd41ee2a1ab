"""The parts of a plan that a few variables pass through, against the whole plan."""

import pytest
import torch

from mera.cones.subplan import Subplan
from mera.graph import Apply
from mera.graph.executor import run_forward
from mera.graph.indexing import indices_at
from tests.helpers.laws import randomize
from tests.tables.models import MODELS, ONE_EACH

NAMES = [*ONE_EACH.values(), "rgflow-open", "rgflow-1d", "rgflow-3d"]


def make(plan, indices=None, width=None):
    """The subplan of three pixels, and the flat indices of its first row."""
    if indices is None:
        indices = indices_at(torch.tensor([0, 1, plan.input.sites - 1]), plan.input).flatten()
    return Subplan(plan, indices, lambda step: False, torch.device("cpu"), width), indices


def by_index(x):
    return x[0].movedim(0, -1).flatten()


@pytest.mark.parametrize("name", NAMES)
def test_a_subplan_gives_the_latents_of_the_whole_plan(name):
    """With constants taken from a whole pass, the latents at the subplan's sites are those of that pass."""
    flow = randomize(MODELS[name](), 0.2)
    plan, runner = flow.plan, flow.runner
    x = torch.randn(1, *plan.input.event_shape, dtype=torch.float64)
    transform = runner.transform(runner.contexts(None, x))
    seen = {}

    def keep(step, events):
        seen[step] = events
        return transform(step, events)

    z, _ = run_forward(plan, x, keep)
    subplan, indices = make(plan)
    constants = []
    for partial in subplan.steps:
        values = seen[partial.step][partial.positions].flatten()
        constants.append(values[partial.source[: len(values)] < 0])
    for level, values in zip(subplan.levels, z, strict=True):
        constants.append(values.flatten(2)[..., level.sites].flatten()[level.source < 0])
    rows, log_det = subplan.forward(by_index(x)[indices][None], constants, runner, runner.contexts(None, x))
    for row, level, values in zip(rows, subplan.levels, z, strict=True):
        torch.testing.assert_close(row, values.flatten(2)[..., level.sites].flatten(1))
    assert log_det.shape == (1,)
    single, _ = make(plan, width=1)  # each event in a group of its own, with all of its variables
    latents = [values.flatten(2)[..., level.sites].flatten(1) for level, values in zip(single.levels, z, strict=True)]
    back = single.inverse(latents, runner, runner.contexts(None, x))
    torch.testing.assert_close(back[0], by_index(x)[indices])


@pytest.mark.parametrize("name", NAMES)
def test_a_subplan_holds_the_events_that_are_touched_and_no_others(name):
    plan = MODELS[name]().plan
    subplan, _ = make(plan)
    assert [partial.step for partial in subplan.steps] == [
        step for step in plan.steps if step in {partial.step for partial in subplan.steps}
    ]
    for i, partial in enumerate(subplan.steps):
        assert isinstance(partial.step.operation, Apply)
        assert partial.parent < i
        tiling = partial.step.apply.event_tiling
        inside = partial.source[: len(partial.positions) * tiling.variables].view(-1, tiling.variables)
        assert (inside >= 0).any(1).all()  # each event holds a followed variable
        kept = partial.source[partial.source >= 0]
        assert len(kept.unique()) == len(kept)  # and no variable is in two of them
        assert sum(partial.group_sizes) == len(partial.positions)


def test_groups_do_not_depend_on_the_variables_followed():
    plan = MODELS["rgflow"]().plan
    wide, _ = make(plan, width=1)
    assert all(set(partial.group_sizes) == {1} for partial in wide.steps)
    whole, _ = make(plan, torch.arange(plan.input.variables))
    assert all(len(partial.positions) == partial.step.operation.events for partial in whole.steps)
    assert not any((level.source < 0).any() for level in whole.levels)
