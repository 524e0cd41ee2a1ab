"""Boxes of sites, against sets of sites."""

import itertools

import pytest
import torch

from mera.graph import Lattice
from mera.graph.boxes import Box, hull, pieces, tiles

SHAPE = (7, 5)


def sites(box):
    return set(itertools.product(*map(range, box.start, box.stop)))


BOXES = [Box.of(spans) for spans in itertools.product([(0, 7), (2, 3), (3, 6)], [(0, 5), (1, 2), (2, 5)])]


@pytest.mark.parametrize("box", BOXES, ids=str)
def test_boxes_are_sets_of_sites(box):
    cells = {(a // 3, b // 2) for a, b in sites(box)}
    assert sites(box.coarsened((3, 2))) == cells
    assert sites(box.refined((3, 2))) == {
        (3 * a + i, 2 * b + j) for a, b in sites(box) for i in range(3) for j in range(2)
    }
    for periodic in itertools.product((False, True), repeat=2):
        near = {(a + i, b + j) for a, b in sites(box) for i in range(-2, 3) for j in range(-1, 2)}
        inside = {s for s in near if all(p or 0 <= c < n for c, n, p in zip(s, SHAPE, periodic, strict=True))}
        assert sites(box.grown((2, 1), Lattice(1, SHAPE, periodic))) == inside
    values = torch.arange(2 * 35).view(2, *SHAPE)
    rows = torch.tensor(sorted(sites(box)))
    assert torch.equal(box.take(values).flatten(1), values[:, rows[:, 0], rows[:, 1]])
    assert torch.equal(box.sites(Lattice(1, SHAPE, (True, True))).flatten(), 5 * rows[:, 0] + rows[:, 1])
    for other in BOXES:
        if sites(box) <= sites(other):
            assert torch.equal(other.take(values)[:, *box.within(other)], box.take(values))


@pytest.mark.parametrize(
    "spans", [((-2, 3), (3, 6)), ((5, 9), (0, 5)), ((0, 7), (-1, 2)), ((-1, 6), (-3, 2)), ((1, 2), (2, 4))]
)
def test_boxes_across_periodic_borders(spans):
    """They hold the sites modulo the edges, and are cut into pieces where they cross a border."""
    box, lattice, values = Box.of(spans), Lattice(1, SHAPE, (True, True)), torch.arange(35).view(1, *SHAPE)
    rows = torch.tensor(sorted(sites(box)))
    expected = values[0, rows[:, 0] % 7, rows[:, 1] % 5].view(box.shape)
    assert torch.equal(box.take(values)[0], expected)
    assert torch.equal(box.sites(lattice), expected)
    found = torch.full(box.shape, -1)
    for there, here in pieces(box, SHAPE):
        found[here] = values[0][there]
    assert torch.equal(found, expected)


@pytest.mark.parametrize("periodic", [(False, False), (False, True), (True, True)])
def test_the_smallest_box(periodic):
    """Of all that hold the sites, which may begin anywhere on a periodic axis, none is smaller."""
    for n in (1, 2, 4) * 5:
        chosen = [torch.randint(edge, (n,)).tolist() for edge in SHAPE]
        box = hull(chosen, Lattice(1, SHAPE, periodic))
        for axis, (places, edge, wraps) in enumerate(zip(chosen, SHAPE, periodic, strict=True)):
            starts = range(edge) if wraps else [min(places)]
            widths = [1 + max((p - start) % edge for p in places) for start in starts]
            assert box.shape[axis] == min(widths)
            span = range(box.start[axis], box.stop[axis])
            assert {p % edge for p in span} >= set(places)
            assert wraps or {*span} <= {*range(edge)}


def test_tiles_cover_a_lattice_once():
    boxes = tiles(Lattice(1, SHAPE, (True, False)), (3, 2))
    assert [box.shape for box in boxes] == [(a, b) for a in (3, 3, 1) for b in (2, 2, 1)]
    assert sorted(s for box in boxes for s in sites(box)) == sorted(itertools.product(range(7), range(5)))


def test_pictures_have_one_or_three_channels_in_two_dimensions():
    made = [Lattice(channels, (4,) * dim, (True,) * dim) for channels in (1, 2, 3) for dim in (1, 2, 3)]
    assert [(each.channels, each.dim) for each in made if each.is_picture] == [(1, 2), (3, 2)]
