"""Mixtures over finite groups: their densities, and that they are used as flows are."""

import math
import tracemalloc
from itertools import product

import pytest
import torch

import mera
from mera.flow.mixture import GROUPS, symmetries
from mera.graph import Lattice
from mera.train import fit
from mera.train.health import first_not_finite
from mera.train.likelihoods import FieldLikelihood
from tests.helpers.command import run
from tests.helpers.laws import randomize
from tests.helpers.training import IMAGES, SHORT


def symmetric(group, shape=(4, 4), channels=2, elements=None):
    torch.manual_seed(2)
    options = {"L": shape, "m": 2, "channels": channels, "layers": 1, "hidden": (6,), "norm": False}
    return mera.Symmetrized(randomize(mera.build("rgflow", prior="gaussian", **options), 0.3), group, elements)


@pytest.mark.parametrize(
    ("group", "size"),
    [
        ("flip", 2), ("reflections", 4), ("rotations", 4), ("translations", 16),
        (("flip", "reflections"), 8), (["rotations", "flip"], 8), (("reflections", "rotations"), 8),
    ],
    ids=str,
)  # fmt: skip
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


@pytest.mark.parametrize("name", GROUPS)
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
    chosen = symmetries("reflections", Lattice(1, (2, 3, 4), (True, True, True)), 4)
    assert [element.sites[0].item() for element in chosen] == [0, 12, 20, 11]
    chosen = symmetries(("reflections", "translations"), Lattice(1, (4, 8), (True, True)), 6)
    assert [element.sites[0].item() for element in chosen] == [0, 24, 3, 21, 13, 20]
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


def small(channels=1):
    torch.manual_seed(1)
    return mera.Symmetrized(mera.build("rgflow", L=8, channels=channels, layers=1, hidden=(6,)))


def test_it_has_what_a_flow_has():
    p = small(3)
    images = IMAGES.train.array[:4]
    x = p.from_images(images)
    assert p.to_images(x).equal(images)
    nats = -p.bits_per_dim(images, noise=torch.zeros(images.shape)) * 192 * math.log(2)
    assert nats.shape == (4,)
    for number in (3, (3,)):
        samples, log_prob = p.rsample_and_log_prob(number)
        assert (samples.shape, log_prob.shape) == ((3, 3, 8, 8), (3,))
        torch.testing.assert_close(p.log_prob(samples), log_prob)
        assert p.flow.sample(number).shape == samples.shape
    assert p.distribution().sample((2, 2)).shape == (2, 2, 3, 8, 8)
    assert p.n_parameters == p.flow.n_parameters
    assert repr(p).startswith("Symmetrized Flow on 3 x 8 x 8")
    assert "<table>" in p._repr_html_()
    assert not p.checkpoint
    p.checkpoint = True
    assert p.flow.checkpoint
    assert set(p.state_dict()) == {f"flow.{name}" for name in p.flow.state_dict()}
    assert p.double().log_prob(x[:0].double()).shape == (0,)
    with pytest.raises(ValueError, match="Expected a Flow; got Symmetrized"):
        mera.Symmetrized(p)


def test_the_command_line_does_not_fill_with_it(tmp_path):
    images = mera.data.load("msds1", L=8, train_size=60, test_size=20)
    fit(small(3), images, SHORT, tmp_path / "run")
    refused = run("inpaint", tmp_path / "run", "--test", 0, "--region", "0:2,0:2")
    assert "Expected a run of a Flow on two dimensions; got a Symmetrized" in str(refused.exception)


def test_images_in_the_place_of_data():
    flow = mera.build("rgflow", L=8, layers=1, hidden=(6,))
    for call in (flow, flow.log_prob, mera.Symmetrized(flow).flow.log_prob):
        with pytest.raises(ValueError, match=r"got torch\.uint8; flow\.from_images maps images to the flow's space"):
            call(IMAGES.train.array[:2])


def test_a_flow_that_fails_in_the_mirror_alone():
    layout = mera.Layout((4,), 1)
    layout.latent(layout.local(layout.input, "pointwise-spline", kernel=2, name="spline"))
    p = mera.Symmetrized(mera.Flow(layout, prior="Uniform(0, 5)"))  # no density below 0
    fields = torch.ones(2, 1, 4)
    assert first_not_finite(p, FieldLikelihood(fields), (fields, torch.empty(2, 0))) == "the density of the latents"


def test_names_that_are_refused():
    with pytest.raises(ValueError, match=r"a symmetry among .*; got 'reflection' \(did you mean 'reflections'"):
        symmetric("reflection")


def test_contexts_of_sites_are_not_moved():
    flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), context=(1, 4, 4))
    with pytest.raises(ValueError, match="one context for all sites, for symmetries that move sites"):
        mera.Symmetrized(flow, ("flip", "rotations"))
    assert len(mera.Symmetrized(flow, "flip").elements) == 2
