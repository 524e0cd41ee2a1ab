"""Operations of a plan: flat indices go where values go, and boxes and neighbours are those that a search finds."""

from itertools import product

import pytest
import torch

from mera.graph import Apply, Cut, Lattice, Regroup
from mera.graph.indexing import Tiling, mask_from_sites

MOVES = [
    Regroup(Lattice(3, (6,), (True,)), (2,)),
    Regroup(Lattice(2, (6, 20), (True, False)), (3, 4)),
    Regroup(Lattice(2, (4, 6, 10), (True,) * 3), (2, 3, 5)),
    Cut(Lattice(5, (3, 4), (True, True)), 2),
]


def flat(lattice):
    """The flat index of each variable, at its place, (1, channels, *shape)."""
    return torch.arange(lattice.variables).view(1, *lattice.shape, lattice.channels).movedim(-1, 1)


def places(values):
    """Values (1, channels, *shape) in the order of flat indices."""
    return values.movedim(1, -1).flatten()


@pytest.mark.parametrize("move", MOVES, ids=str)
def test_indices_go_where_values_go(move):
    indices = torch.arange(move.lattice.variables).flip(0)
    values = move.forward(flat(move.lattice))
    for (is_there, moved), value in zip(move.map_forward(indices), values, strict=True):
        assert torch.equal(places(value)[moved], indices[is_there])
        assert len(moved) == value.numel()
    back = [torch.arange(value.numel()) for value in values]
    assert torch.equal(move.map_inverse(back), torch.cat([places(value) for value in values]))
    assert torch.equal(move.inverse(values), flat(move.lattice))


@pytest.mark.parametrize("periodic", [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize(("kernel", "stride"), [((2, 3), (2, 3)), ((5, 3), (1, 1)), ((1, 1), (1, 1))])
def test_what_a_node_changes(kernel, stride, periodic):
    """A variable changes the cells whose kernel holds its site, in channels that are not passive, and stays itself."""
    lattice, offset = Lattice(3, (8, 9), periodic), tuple(min(1, s - 1) for s in stride)
    step = Apply(lattice, kernel, stride, offset, passive=1, is_field=kernel != stride)
    corners = [
        [o + i * s for i in range((n - o * (not wraps)) // s)]
        for n, s, o, wraps in zip(lattice.shape, stride, offset, periodic, strict=True)
    ]

    def around(corner, reach):
        spans = [range(c - r, c + s + r) for c, s, r in zip(corner, stride, reach, strict=True)]
        inside = (
            site for site in product(*spans)
            if all(wraps or 0 <= k < n for k, n, wraps in zip(site, lattice.shape, periodic, strict=True))
        )  # fmt: skip
        return {(i % 8) * 9 + j % 9 for i, j in inside}

    cells = [(around(corner, (0, 0)), around(corner, step.radius)) for corner in product(*corners)]
    for index in range(0, lattice.variables, 7):
        site, channel = divmod(index, 3)
        changed = {3 * s + c for cell, kernel in cells if site in kernel for s in cell for c in (1, 2)}
        in_a_cell = any(site in cell for cell, _ in cells)
        expected = sorted(changed | (set() if in_a_cell and channel else {index}))
        assert step.reached(torch.tensor([index]))[0].tolist() == expected


def test_a_node_is_one_of_patches_unless_it_says_otherwise():
    lattice = Lattice(2, (4, 6), (True, True))
    tiling = Apply(lattice, (2, 3), (2, 3), (0, 0)).event_tiling
    assert (tiling.box, tiling.counts) == ((2, 3), (2, 2))
    assert Apply(lattice, (3, 3), (1, 1), (0, 0), is_field=True).event_tiling == Tiling(lattice, (4, 6), (0, 0), (1, 1))


def test_variables_of_boxes_are_in_the_order_of_events():
    lattice = Lattice(2, (4, 6), (True, True))
    step = Apply(lattice, (2, 3), (2, 3), (1, 2))
    events, _ = step.gather(flat(lattice))
    assert torch.equal(step.event_tiling.members(torch.arange(4)), events.flatten(1))


def test_masks_and_dimensions():
    lattice = Lattice(1, (2, 3, 4), (True,) * 3)
    assert mask_from_sites(torch.tensor([0, 23]), lattice).nonzero().tolist() == [[0, 0, 0], [1, 2, 3]]
    assert (lattice.dim, lattice.sites, lattice.variables, str(lattice)) == (3, 24, 24, "1 x 2 x 3 x 4")
