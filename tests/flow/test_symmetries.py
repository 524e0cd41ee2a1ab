"""Mixtures over finite groups are symmetric, normalised, and have the densities of their samples."""

import math
import tracemalloc
from itertools import product

import pytest
import torch

import mera
from mera.flow.groups import SYMMETRIES, symmetries
from mera.graph import Lattice
from tests.helpers.laws import randomize

GROUPS = [
    "flip",
    "signs",
    "reflections",
    "rotations",
    "translations",
    ("flip", "reflections"),
    ["rotations", "signs"],
    ("reflections", "rotations"),
]
SIZES = [2, 4, 4, 4, 16, 8, 16, 8]


def symmetric(group, shape=(4, 4), channels=2, elements=None):
    torch.manual_seed(2)
    options = {"L": shape, "m": 2, "channels": channels, "layers": 1, "hidden": (6,), "norm": False}
    return mera.Symmetrized(randomize(mera.build("rgflow", prior="gaussian", **options), 0.3), group, elements)


@pytest.mark.parametrize(("group", "size"), list(zip(GROUPS, SIZES, strict=True)), ids=str)
def test_the_density_is_symmetric(group, size):
    p = symmetric(group)
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    images, _ = p.orbit(x)
    assert len(p.elements) == size
    assert torch.equal(images[:3], x)
    densities = p.log_prob(images).view(size, 3)
    torch.testing.assert_close(densities, densities[:1].expand(size, 3))
    assert p.flow.log_prob(images).view(size, 3).std(0).min() > 1e-3  # the flow itself is not symmetric
    each = torch.stack([p.flow.log_prob(element(x)) for element in p.elements])
    torch.testing.assert_close(p.log_prob(x), each.logsumexp(0) - math.log(size))
    samples, log_prob = p.rsample_and_log_prob(5)
    torch.testing.assert_close(p.log_prob(samples), log_prob)


@pytest.mark.parametrize("name", SYMMETRIES.names())
@pytest.mark.parametrize(("shape", "periodic"), [((3, 3), (True, True)), ((2, 4, 3), (True,) * 3), ((5,), (False,))])
def test_elements_form_a_group(name, shape, periodic):
    """They are closed under composition, and each only moves and negates variables."""
    lattice = Lattice(2, shape, periodic)
    try:
        elements = symmetries(name, lattice)
    except ValueError:
        assert name == "rotations" or not periodic[0]
        return
    assert len(symmetries(name, lattice, len(elements))) == len(elements)  # in a random order
    x = torch.randn(1, *lattice.event_shape, dtype=torch.float64)
    images = torch.cat([element(x) for element in elements])
    assert torch.equal(images.abs().flatten(1).sort().values, x.abs().flatten(1).sort().values.expand(len(images), -1))
    for a, b in product(elements, repeat=2):
        assert (images == a(b(x))).flatten(1).all(1).any()
    for a in elements:
        assert torch.equal(a.inverse()(a(x)), x)


def test_samples_are_moved_by_the_inverse_of_the_chosen_element():
    p = symmetric(("translations", "rotations"), elements=5)
    x = torch.randn(5, 2, 4, 4, dtype=torch.float64)
    moved = p.generate((*p.flow.forward(x)[0], (torch.arange(5) + 0.5) / 5))
    back = torch.cat([element(one[None]) for element, one in zip(p.elements, moved, strict=True)])
    torch.testing.assert_close(back, x)


def test_some_elements_of_a_large_group():
    """A mixture of images that do not form a group has the densities of its samples and is normalised."""
    p = symmetric(("translations", "rotations", "reflections", "flip"), elements=6)
    assert len(p.elements) == 6
    samples, log_prob = p.rsample_and_log_prob(400)
    torch.testing.assert_close(p.log_prob(samples), log_prob)
    each = torch.stack([p.flow.log_prob(element(samples)) for element in p.elements])
    torch.testing.assert_close(log_prob, each.logsumexp(0) - math.log(6))
    # all of the mass of the mixture lies where its own samples are: the mean of q / p over samples of p is 1
    ratios = (p.flow.log_prob(samples) - log_prob).exp()
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / 20
    torch.testing.assert_close(p.elements[0](samples), samples, atol=0, rtol=0)


def test_the_selection_of_a_saved_mixture_stays_the_same():
    """A file names the number of elements alone, so that these are the same in all versions."""
    chosen = symmetries("translations", Lattice(1, (4, 8), (True, True)), 6)
    assert [element.sites[0].item() for element in chosen] == [0, 14, 16, 4, 27, 24]
    with pytest.raises(ValueError, match="a group of at most 1,048,576 elements; got 2,097,152 of translations"):
        symmetries("translations", Lattice(1, (2**11, 2**10), (True, True)), 2)


@pytest.mark.parametrize("L", [128, 256, 2**20])
def test_large_groups_are_never_listed(L):
    lattice = Lattice(1, (L, L), (True, True))
    tracemalloc.start()
    with pytest.raises(ValueError, match="a number of elements for a group of more than 256"):
        symmetries("translations", lattice)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6
    assert len(symmetries("translations", Lattice(1, (16, 16), (True, True)))) == 256
    if L == 256:
        assert len(symmetries("translations", lattice, 3)) == 3
