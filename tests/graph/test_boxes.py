"""Boxes: the smallest one around sites, and lattices that are pictures."""

import pytest
import torch

from mera.bijectors.boxes import hull
from mera.graph import Lattice

SHAPE = (7, 5)


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


def test_pictures_have_one_or_three_channels_in_two_dimensions():
    made = [Lattice(channels, (4,) * dim, (True,) * dim) for channels in (1, 2, 3) for dim in (1, 2, 3)]
    assert [(each.channels, each.dim) for each in made if each.is_picture] == [(1, 2), (3, 2)]
