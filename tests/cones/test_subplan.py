"""The parts of a plan that a few variables pass through, against the whole plan."""

import pytest
import torch

from mera.cones.subplan import make_subplan
from mera.cones.subplan_executor import SubplanExecutor
from mera.graph import Apply
from mera.graph.executor import run_forward
from mera.graph.indexing import indices_at
from tests.helpers.laws import randomize
from tests.tables.models import MODELS, ONE_EACH

NAMES = [*ONE_EACH.values(), "rgflow-open", "rgflow-1d", "rgflow-3d"]


def followed(plan):
    sites = torch.tensor([0, 1, plan.input.sites - 1])
    return indices_at(sites, plan.input).flatten()


def by_index(x):
    return x[0].movedim(0, -1).flatten()


@pytest.mark.parametrize("name", NAMES)
def test_a_subplan_gives_the_latents_of_the_whole_plan(name):
    """With constants taken from a whole pass, the latents at the subplan's sites are those of that pass."""
    flow = randomize(MODELS[name](), 0.2)
    plan, runner = flow.plan, flow.runner
    x = torch.randn(1, *plan.input.event_shape, dtype=torch.float64)
    transform = runner.forward_transform(runner.contexts(None, x))
    seen = {}

    def keep(step, events):
        seen[step] = events
        return transform(step, events)

    z, _ = run_forward(plan, x, keep)
    indices = followed(plan)
    subplan = make_subplan(plan, indices)
    constants = []
    for partial in subplan.steps:
        values = seen[partial.step][partial.positions].flatten()
        constants.append(values[partial.source[: len(values)] < 0])
    for level, values in zip(subplan.levels, z, strict=True):
        constants.append(values.flatten(2)[..., level.sites].flatten()[level.source < 0])
    executor = SubplanExecutor(subplan, x.device)
    rows, log_det = executor.forward(by_index(x)[indices][None], constants, transform, None)
    for row, level, values in zip(rows, subplan.levels, z, strict=True):
        torch.testing.assert_close(row, values.flatten(2)[..., level.sites].flatten(1))
    single = SubplanExecutor(make_subplan(plan, indices, group_width=1), x.device)  # each event in a group of its own
    for found in single.forward(by_index(x)[indices][None], constants, transform, None), (rows, log_det):
        torch.testing.assert_close(found, (rows, log_det))
        assert log_det.shape == (1,)
    back = executor.inverse(rows, runner.inverse_transform(runner.contexts(None, x)), None)
    torch.testing.assert_close(back[0], by_index(x)[indices])


@pytest.mark.parametrize("name", NAMES)
def test_a_subplan_holds_the_events_that_are_touched_and_no_others(name):
    plan = MODELS[name]().plan
    subplan = make_subplan(plan, followed(plan))
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
    wide = make_subplan(plan, followed(plan), group_width=1)
    assert all(set(partial.group_sizes) == {1} for partial in wide.steps)
    whole = make_subplan(plan, torch.arange(plan.input.variables))
    assert all(len(partial.positions) == partial.step.operation.events for partial in whole.steps)
    assert not any((level.source < 0).any() for level in whole.levels)
