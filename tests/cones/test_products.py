"""Cones of rectangles by the coordinates of each axis are those of all sites."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mera
from mera.cones.cone import _touched, cone_of_data
from mera.cones.indexing import indices_at
from mera.cones.products import Products, cone_of_product
from mera.cones.regions import rectangle
from mera.graph import LayoutError, compile
from mera.graph.operations import Apply
from tests.helpers.strategies import few, layouts


def compare(plan, spans):
    """Compare all values of both cones; returns whether the cone of coordinates exists."""
    axes = [torch.arange(start, stop) for start, stop in spans]
    products = cone_of_product(plan, axes)
    if products is None:
        return False
    reached = cone_of_data(plan, indices_at(rectangle(spans, plan.input), plan.input).flatten()).reached
    assert set(products) == set(reached)
    assert len(products) == len(reached)
    for value, indices in reached.items():
        assert torch.equal(products[value], indices)
        assert products.count(value) == len(indices)
    for step in plan.steps:
        if isinstance(step.operation, Apply):
            events = _touched(step.operation, reached[step.source])
            assert products.events(step.source, step.operation) == len(events)
    return True


@given(layout=layouts(), data=st.data())
@settings(few, max_examples=300)
def test_any_layout(layout, data):
    try:
        plan = compile(layout)
    except LayoutError:
        return
    starts = [data.draw(st.integers(0, n - 1)) for n in plan.input.shape]
    compare(plan, [(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, plan.input.shape, strict=True)])


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("name", ["rgflow", "tree", "neuralrg", "ternary", "tebd", "branching", "glow", "decimation"])
def test_models(name, boundary):
    """On periodic lattices all rectangles are products where each variable is in a patch of each node."""
    L = 27 if name == "ternary" else 16
    plan = mera.build(name, L=(L, 2 * L), channels=2, boundary=boundary, hidden=(4,)).plan
    torch.manual_seed(0)
    found = []
    for _ in range(12):
        ends = [sorted(torch.randperm(n + 1)[:2].tolist()) for n in plan.input.shape]
        found.append(compare(plan, [(a, b) for a, b in ends]))
    assert boundary == "open" or name in ("neuralrg", "glow", "decimation") or all(found)


def test_a_long_strip_is_not_visited_site_by_site():
    flow = mera.build("rgflow", L=2**18, hidden=(4,), share_levels=True)
    cone = flow.inference_cone((5, (3, 2**18 - 1)))
    assert isinstance(cone.reached, Products)
    assert cone.count > 10**7
    assert sum(cone.blocks) > 10**5
    assert "11,796" in repr(cone)
    assert not cone.reached._indices
