"""Pictures and texts of layouts: as many blocks, dots and crosses as there are, where they are."""

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import mera
from mera.drawing import draw_layout
from mera.drawing.layouts import DECIMATOR, DISENTANGLER, FIELD, LATENT, VISIBLE
from mera.graph import to_graphviz, to_mermaid
from tests.helpers.command import run
from tests.models import MODELS, ONE_EACH


def layout_of(name, **options):
    return mera.build(name, hidden=(2,), **options).layout


def points(axes, colour):
    """Where the dots or crosses of a colour are."""
    lines = [line for line in axes.lines if line.get_color() == colour]
    return [(float(x), float(y)) for line in lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_side_view_is_figure_2a():
    axes = draw_layout(layout_of("rgflow", L=16, dim=1)).axes[0]
    colours = [to_hex(patch.get_facecolor()) for patch in axes.patches]
    # 16, 8 and 4 sites in blocks of 4; at an offset, the one that wraps around is drawn on both sides
    assert colours.count(DECIMATOR) == 4 + 2 + 1
    assert colours.count(DISENTANGLER) == 5 + 3 + 2
    data = points(axes, VISIBLE)
    assert [x for x, _ in data] == list(range(16))
    crosses = points(axes, LATENT)
    levels = sorted({y for _, y in crosses})
    assert [[x for x, y in crosses if y == level] for level in levels] == [
        [1, 3, 5, 7, 9, 11, 13, 15], [2, 6, 10, 14], [0, 4, 8, 12],
    ]  # fmt: skip
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:4] == ["data", "disentangler0", "decimator0", "z0"]


def test_latents_that_leave_together_are_both_named():
    layout = mera.Layout((8,), 1)
    for value in layout.decimate(layout.local(layout.input, "coupling", kernel=4)):
        layout.latent(value)
    cone = mera.Flow(layout).inference_cone(torch.arange(8) == 1)
    for figure in (draw_layout(layout), mera.drawing.side_view(cone)):
        assert "z0, z1" in [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_view_from_above_is_figure_2b():
    figure = draw_layout(layout_of("rgflow", L=16, m=4), "above")
    first, second, third = [axes for axes in figure.axes if axes.patches]
    outlines = [to_hex(patch.get_edgecolor()) for patch in first.patches]
    assert (outlines.count(DECIMATOR), outlines.count(DISENTANGLER)) == (16, 25)
    odd = {(x, y) for x in range(16) for y in range(16) if x % 2 or y % 2}
    assert set(points(first, LATENT)) == odd  # three of four sites leave
    assert {(x / 2, y / 2) for x, y in points(second, LATENT)} == {(x, y) for x, y in odd if x < 8 and y < 8}
    assert set(points(third, LATENT)) == {(x, y) for x in range(0, 16, 4) for y in range(0, 16, 4)}


@pytest.mark.parametrize("name", MODELS)
def test_every_layout_is_drawn(name):
    layout = MODELS[name]().layout
    for dimension in range(layout.input.lattice.dim):
        axes = draw_layout(layout, dimension=dimension, title="a title").axes[0]
        assert points(axes, VISIBLE)
        assert points(axes, LATENT)
        fields = any(to_hex(patch.get_facecolor()) == FIELD for patch in axes.patches)
        assert fields == any(s.module and s.action.is_field for s in mera.graph.compile(layout).steps)
    if layout.input.lattice.dim == 3:
        with pytest.raises(ValueError, match="Expected a lattice of 1 or 2 dimensions"):
            draw_layout(layout, "above")
    else:
        crosses = {point for axes in draw_layout(layout, "above").axes for point in points(axes, LATENT)}
        assert len(crosses) == layout.input.lattice.sites  # each site is somewhere a latent's
    with pytest.raises(ValueError, match="Expected a view among"):
        draw_layout(layout, "below")


def test_a_long_edge_shows_its_start():
    axes = draw_layout(layout_of("rgflow", L=256, m=4)).axes[0]
    assert len(points(axes, VISIBLE)) == 32
    assert "the first 32 of 256" in axes.get_xlabel()


def test_a_layout_without_bijectors():
    layout = mera.Layout((4,), 1)
    layout.latent(layout.input)
    for view in ("side", "above"):
        assert isinstance(draw_layout(layout, view), Figure)
    assert to_graphviz(layout).startswith("digraph")


@pytest.mark.parametrize("name", ONE_EACH.values())
def test_texts_hold_every_node_and_edge(name):
    layout = MODELS[name]().layout
    mermaid, dot = to_mermaid(layout), to_graphviz(layout)
    for text in (mermaid, dot):
        assert all(node in text for node in layout.nodes)
    edges = layout.graph.number_of_edges()
    assert mermaid.count("-->") == edges
    assert dot.count("->") == edges
    assert mermaid.startswith("flowchart BT")


def test_quotes_in_names():
    layout = mera.Layout((4,), 1)
    layout.latent(layout.local(layout.input, "actnorm", 2, name='a "quoted" name'))
    assert 'a \\"quoted\\" name' in to_graphviz(layout)
    assert "a #quot;quoted#quot; name" in to_mermaid(layout)


def test_the_command_line_draws(tmp_path):
    result = run("info", "wavelet", "--L", 8, "--hidden", 2, "--picture", tmp_path / "w.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "w.png").stat().st_size > 1000
    assert (tmp_path / "w_above.png").stat().st_size > 1000
