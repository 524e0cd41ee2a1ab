"""Pictures and texts of layouts: as many blocks, dots and crosses as there are, where they are."""

import re

import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

import mera
from mera.drawing import draw_layout, level_masks, side_view
from mera.drawing.layouts import DATA, DECIMATOR, DISENTANGLER, FIELD, LATENT, roles
from tests.tables.models import MODELS


def layout_of(name, **options):
    return mera.build(name, hidden=(2,), **options).layout


def points(axes, colour):
    """The positions of the dots or crosses of a colour."""
    rows = [row for row in axes.collections if isinstance(row, PathCollection)]
    places = [place for row in rows for place in zip(row.get_offsets().tolist(), row.get_facecolor(), strict=False)]
    return [tuple(place) for place, face in places if to_hex(face) == to_hex(colour)]


def test_side_view_is_figure_2a():
    axes = draw_layout(layout_of("rgflow", L=16, dim=1)).axes[0]
    colours = [to_hex(patch.get_facecolor()) for patch in axes.patches]
    # 16, 8 and 4 sites in blocks of 4; at an offset, the one that wraps around is drawn on both sides
    assert colours.count(DECIMATOR) == 4 + 2 + 1
    assert colours.count(DISENTANGLER) == 5 + 3 + 2
    data = points(axes, DATA)
    assert [x for x, _ in data] == list(range(16))
    crosses = points(axes, LATENT)
    levels = sorted({y for _, y in crosses})
    assert [[x for x, y in crosses if y == level] for level in levels] == [
        [1, 3, 5, 7, 9, 11, 13, 15], [2, 6, 10, 14], [0, 4, 8, 12],
    ]  # fmt: skip
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:4] == ["data", "block_spins0", "disentangler0", "decimator0"]


def test_latents_that_leave_together_are_both_named():
    layout = mera.Layout((8,), 1)
    for value in layout.decimate(layout.local(layout.input, "coupling", kernel=4)):
        layout.latent(value)
    cone = mera.Flow(layout).inference_cone(torch.arange(8) == 1)
    for figure in (draw_layout(layout), side_view(cone)):
        assert "z0, z1" in [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_the_cost_depends_on_what_is_shown():
    """The latents of all of a lattice of edge 2^20 would not fit into memory."""
    huge, large = (layout_of("rgflow", L=L, m=4, share_levels=True) for L in (2**20, 128))
    for axes, expected in zip(draw_layout(huge).axes, draw_layout(large).axes, strict=True):
        assert points(axes, DATA) == points(expected, DATA)


def test_pictures_of_cones_say_what_is_shown():
    cone = mera.build("rgflow", L=512, dim=1, hidden=(2,)).inference_cone([(300, 302)])
    assert side_view(cone).axes[0].get_xlabel() == "site in dimension 0, 236 to 364 of 512"
    for dimension in (1, -2, "x", None, True):
        with pytest.raises(ValueError, match="Expected a dimension from -1 to 0"):
            side_view(cone, dimension=dimension)


def test_cones_and_layouts_are_one_picture():
    flow = mera.build("branching", L=16, m=4, hidden=(2,))
    layout, cone = draw_layout(flow.layout).axes[0], side_view(flow.inference_cone([(0, 16), (3, 4)])).axes[0]
    assert [p.get_bbox().bounds for p in layout.patches] == [p.get_bbox().bounds for p in cone.patches]
    assert [t.get_text() for t in layout.get_yticklabels()] == [t.get_text() for t in cone.get_yticklabels()]
    assert layout.get_xlabel() == cone.get_xlabel()
    assert (layout.get_xlim(), layout.get_ylim()) == (cone.get_xlim(), cone.get_ylim())
    together = {point for colour in ("tab:blue", "0.6") for point in points(cone, colour)}
    assert together == {*points(layout, DATA), *points(layout, LATENT)}


RGFLOW = {"disentangler": {"disentangler"}, "decimator": {"decimator"}}


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("rgflow", {"L": 16, "block_spins": False}, RGFLOW),
        ("rgflow", {"L": 16, "dim": 1}, RGFLOW | {"block": {"block spins"}}),
        ("wavelet", {"L": 16}, {"haar": {"decimator"}, "details": {"field"}, "top": {"field"}}),
        ("decimation", {"L": 16}, RGFLOW | {"details": {"field"}}),
        ("tree", {"L": 16}, {"decimator": {"decimator"}}),
        ("neuralrg", {"L": 8}, {"even": {"disentangler"}, "odd": {"decimator"}}),
        ("tebd", {"L": 16}, {"even": {"disentangler"}, "odd": {"disentangler"}}),  # nothing is decimated
        ("glow", {"L": 16}, {"steps": {"field"}, "prior": {"field"}}),
        ("realnvp", {"L": 16}, {"checkerboard": {"field"}, "channels": {"field"}}),
    ],
)
def test_roles(name, options, expected):
    found = {}
    for step, role in roles(mera.build(name, hidden=(2,), **options).plan).items():
        found.setdefault(re.match("[a-z]+", step.node)[0], set()).add(role)
    assert found == expected


def bare():
    layout = mera.Layout((4,), 1)
    layout.latent(layout.input)
    return layout


@pytest.mark.parametrize("make", [*list(MODELS.values())[::3], lambda: mera.Flow(bare())])
def test_every_layout_is_drawn(make):
    layout = make().layout
    for dimension in range(layout.input.lattice.dim):
        axes = draw_layout(layout, dimension=dimension, title="a title").axes[0]
        assert points(axes, DATA)
        assert points(axes, LATENT)
        fields = any(to_hex(patch.get_facecolor()) == FIELD for patch in axes.patches)
        assert fields == any(s.module and s.operation.is_field for s in mera.graph.compile(layout).steps)


def test_masks_of_levels_count_what_lies_elsewhere():
    flow = mera.build("rgflow", L=512, hidden=(2,))
    region = torch.zeros(512, 512, dtype=torch.bool)
    region[10, 10] = region[500, 500] = region[12, 10] = True
    axes = level_masks(flow.inference_cone(region)).axes[0]
    assert axes.images[0].get_array().sum() == 2
    assert axes.get_xlabel() == "1 more site elsewhere"
