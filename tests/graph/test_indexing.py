"""Flat indices of variables, against the tensors that they stand for."""

import itertools

import pytest
import torch

from mera.graph.indexing import Tiling, check_indexable, indices_at, mask_from_sites, ravel
from mera.graph.lattice import Lattice
from mera.graph.operations import Apply, Cut, Regroup

LATTICES = [
    Lattice(2, (12,), (True,)),
    Lattice(3, (8, 12), (True, False)),
    Lattice(2, (4, 6, 8), (False, True, True)),
]


def flat_values(lattice):
    """A sample whose value at each variable is the variable's flat index."""
    values = torch.arange(lattice.variables).view(*lattice.shape, lattice.channels)
    return values.movedim(-1, 0)[None].double()


def by_index(x):
    """The values of a sample (1, C, *shape) in the order of flat indices."""
    return x[0].movedim(0, -1).flatten().long()


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_ravel_is_the_inverse_of_unravel_index(lattice):
    sites = torch.arange(lattice.sites)
    assert torch.equal(ravel(torch.unravel_index(sites, lattice.shape), lattice.shape), sites)


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_indices_at_and_masks(lattice):
    sites = torch.tensor([0, 3, lattice.sites - 1])
    values = flat_values(lattice)[0].flatten(1)
    assert torch.equal(indices_at(sites, lattice), values[:, sites].long())
    assert mask_from_sites(sites, lattice).flatten().nonzero()[:, 0].tolist() == sites.tolist()


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
@pytest.mark.parametrize("offset", [0, 1])
def test_patches_hold_what_the_executor_gathers(lattice, offset):
    operation = Apply(lattice, (2,) * lattice.dim, (2,) * lattice.dim, (offset,) * lattice.dim)
    tiling = operation.event_tiling
    events = operation.gather(flat_values(lattice))[0].flatten(1).long()
    assert torch.equal(tiling.members(torch.arange(operation.events)), events)
    boxes, places, inside = tiling.locate(torch.arange(lattice.variables))
    found = torch.full((lattice.variables,), -1)
    found[events.flatten()] = torch.arange(events.numel())
    assert torch.equal(inside, found >= 0)
    assert torch.equal((boxes * tiling.variables + places)[inside], found[inside])


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_boxes_near_sites(lattice):
    box, radius = (2,) * lattice.dim, tuple(range(1, lattice.dim + 1))
    counts = tuple(n // 2 for n in lattice.shape)
    tiling = Tiling(lattice, box, (0,) * lattice.dim, counts)
    for site in (0, lattice.sites // 2, lattice.sites - 1):
        centre = [int(c) for c in torch.unravel_index(torch.tensor(site), lattice.shape)]
        reached = set()
        for shift in itertools.product(*(range(-r, r + 1) for r in radius)):
            place = [c + s for c, s in zip(centre, shift, strict=True)]
            if all(p or 0 <= c < n for c, n, p in zip(place, lattice.shape, lattice.periodic, strict=True)):
                cells = [torch.tensor(c % n // 2) for c, n in zip(place, lattice.shape, strict=True)]
                reached.add(int(ravel(cells, counts)))
        assert tiling.near(torch.tensor([site]), radius).tolist() == sorted(reached)


def test_groups_of_boxes_are_whole_and_aligned():
    lattice = Lattice(1, (10, 14), (True, True))
    tiling = Tiling(lattice, (2, 2), (0, 0), (5, 7))
    groups = tiling.groups(torch.tensor([0, 8, 34]), 3)
    assert [sorted(group.tolist()) for group in groups] == [
        [0, 1, 2, 7, 8, 9, 14, 15, 16],  # holds boxes 0 and 8
        [27, 34],  # the last group is cut off by the border
    ]


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
@pytest.mark.parametrize("kind", ["square", "not square", "cut"])
def test_moved_variables_are_found_where_the_executor_puts_them(lattice, kind):
    cell = (2,) * lattice.dim if kind == "square" else (4, 3, 2)[: lattice.dim]
    operation = Cut(lattice, 1) if kind == "cut" else Regroup(lattice, cell)
    outputs = operation.forward(flat_values(lattice))
    indices = torch.randperm(lattice.variables)[: lattice.variables // 2]
    there = operation.map_forward(indices)
    for (goes_there, new_indices), output in zip(there, outputs, strict=True):
        assert torch.equal(by_index(output)[new_indices], indices[goes_there])
    assert sum(int(goes_there.sum()) for goes_there, _ in there) == len(indices)
    back = operation.map_inverse([new_indices for _, new_indices in there])
    assert back.sort().values.tolist() == indices.sort().values.tolist()


@pytest.mark.parametrize(("kernel", "stride", "passive"), [(2, 2, 0), (2, 2, 1), (4, 2, 0), (3, 1, 0)])
@pytest.mark.parametrize("periodic", [True, False])
def test_reached_is_what_a_kernel_reads(kernel, stride, passive, periodic):
    """In one dimension, where the sites that a cell reads can be counted on the fingers."""
    lattice = Lattice(2, (12,), (periodic,))
    operation = Apply(lattice, (kernel,), (stride,), (0,), passive)
    reach = (kernel - stride) // 2
    for site in range(12):
        cells = set()
        for s in range(site - reach, site + reach + 1):
            if periodic or 0 <= s < 12:
                cells.add(s % 12 // stride)
        changed = {
            2 * s + c for cell in cells for s in range(cell * stride, (cell + 1) * stride) for c in range(passive, 2)
        }
        for channel in range(2):
            start = 2 * site + channel
            expected = changed | ({start} if channel < passive else set())
            assert operation.reached(torch.tensor([start]))[0].tolist() == sorted(expected)


def test_sites_outside_of_all_patches_stay():
    operation = Apply(Lattice(1, (8,), (False,)), (4,), (4,), (2,))  # one patch of sites 2 to 5
    assert operation.reached(torch.tensor([0, 7]))[0].tolist() == [0, 7]
    assert operation.reached(torch.tensor([1, 3]))[0].tolist() == [1, 2, 3, 4, 5]
    assert operation.cell_tiling.counts == (1,)


def test_lattices_with_too_many_variables():
    check_indexable(Lattice(1, (2**31, 2**31), (True, True)))
    with pytest.raises(ValueError, match=r"Expected a lattice of fewer than 2\^63 variables; got"):
        check_indexable(Lattice(3, (2**31, 2**31), (True, True)))
