"""Whatever is declared either was refused or is a bijection with the exact log-det, whose plan does what it says."""

import pickle

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings

from mera import Flow, LayoutError
from mera.graph import compile
from tests.laws import check_laws, randomize
from tests.naive import naive_forward
from tests.strategies import layouts

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
many = settings(few, max_examples=1500)


def make_flow(layout):
    """A flow with random weights, or nothing where a bijector cannot be made for its events."""
    assume(layout is not None)
    try:
        flow = Flow(layout, "gaussian")
    except LayoutError:
        assume(False)
    return randomize(flow, 0.2)


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
    plan = compile(layout)
    assert plan == flow.plan == pickle.loads(pickle.dumps(plan))
    assert hash(plan) == hash(flow.plan)
    assert all(step.node in str(plan) for step in plan.steps)


@given(layouts())
@few
def test_refused_or_exact(layout):
    check(layout)


@pytest.mark.slow
@given(layouts())
@many
def test_refused_or_exact_many(layout):
    check(layout)
