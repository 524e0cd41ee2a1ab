"""Windows of images: the same numbers as the whole, whatever the window and however large the image."""

import pytest
import torch
from torch import distributions

import mera
from mera.cones.window import noise_of_latents
from tests.helpers.laws import randomize
from tests.helpers.quick import quick_of
from tests.tables.models import CONDITIONAL, contexts


def build(dtype=torch.float32, **options):
    return randomize(mera.build("rgflow", **({"L": 32, "hidden": (8,)} | options)), 0.05).to(dtype)


FLOWS = [
    {"share_levels": True},
    {"order": "authors", "L": (32, 64)},
    {"boundary": "open", "prior": "gaussian"},
    {"m": 2, "conditioner": "authors"},
    {"dim": 1, "L": 256},
    {"dim": 3, "m": 2, "L": 16, "channels": 2},
]


@pytest.mark.parametrize("dtype", quick_of([torch.float32, torch.float64], [torch.float64]))
@pytest.mark.parametrize("options", FLOWS)
def test_windows_are_crops_of_the_whole(options, dtype):
    flow = build(dtype, **options)
    lattice = flow.plan.input
    whole = flow.window(11, *((0, n) for n in lattice.shape))
    assert whole.shape == (1, *lattice.event_shape)
    assert whole.dtype == dtype
    for _ in range(6):
        spans = [sorted(torch.randperm(n + 1)[:2].tolist()) for n in lattice.shape]
        crop = whole[(slice(None), slice(None), *(slice(*span) for span in spans))]
        torch.testing.assert_close(flow.window(11, *spans), crop)


def test_the_whole_is_what_the_flow_generates_from_the_noise():
    flow = build(torch.float64)
    z = []
    for h, latent in enumerate(flow.plan.latents):
        values = noise_of_latents(flow.prior, 0.5, 3, h, latent.lattice, torch.arange(latent.lattice.sites))
        z.append(values.view(1, *latent.lattice.event_shape))
    torch.testing.assert_close(flow.window(3, slice(None), range(32), temperature=0.5), flow.inverse(z)[0])
    cold = flow.window(3, slice(None), range(32), temperature=[0.5, 0.5, 0.5, 0.1])
    assert not torch.equal(cold, flow.window(3, slice(None), range(32), temperature=0.5))


@pytest.mark.parametrize("name", CONDITIONAL)
def test_windows_for_a_fixed_context(name):
    flow = randomize(CONDITIONAL[name](), 0.1)
    context = contexts(flow, 1)
    with pytest.raises(ValueError, match=r"without context for windows, such as flow\.given\(context\)"):
        flow.window(3, *flow.plan.input.shape)
    given, shape, z = flow.given(context), flow.plan.input.shape, []
    for h, latent in enumerate(flow.plan.latents):
        values = noise_of_latents(flow.prior, 1.0, 3, h, latent.lattice, torch.arange(latent.lattice.sites))
        z.append(values.view(1, *latent.lattice.event_shape))
    whole = flow.inverse(z, context)[0]
    torch.testing.assert_close(given.window(3, *((0, n) for n in shape)), whole)
    crop = whole[(..., *(slice(1, 3) for _ in shape))]
    torch.testing.assert_close(given.window(3, *((1, 3) for _ in shape)), crop)


def test_windows_of_a_huge_image_for_a_fixed_class():
    flow = build(L=2**30, share_levels=True, layers=1, classes=3)
    first, second = (flow.given(torch.tensor([n])).window(7, (2**29, 2**29 + 4), (8, 12)) for n in (0, 2))
    assert not torch.isclose(first, second).all()


@pytest.mark.parametrize("name", ["rgflow", "realnvp", "wavelet"])
def test_windows_of_convolutions(name):
    """Crops of the whole up to rounding, and windows of a lattice that is too large to be evaluated as a whole."""
    options = {"details": 2, "layers": 1} if name == "rgflow" else {"layers": 1, "residual_blocks": 1}
    flow = randomize(mera.build(name, L=128, levels=2, hidden=(4,), boundary="open", **options), 0.05).double()
    whole = flow.window(3, (0, 128), (0, 128))
    for spans in (((0, 5), (60, 64)), ((70, 71), (100, 128)), ((30, 90), (2, 3))):
        crop = whole[(slice(None), slice(None), *(slice(*span) for span in spans))]
        torch.testing.assert_close(flow.window(3, *spans), crop, rtol=1e-9, atol=1e-9)
    huge, a = flow.resized((2**11, 2**12)), 2**10
    first, second = huge.window(3, (a, a + 5), (7, 12)), huge.window(3, (a + 2, a + 3), (0, 10))
    torch.testing.assert_close(first[:, :, 2:3, :3], second[:, :, :, 7:], rtol=1e-9, atol=1e-9)


def test_windows_of_a_huge_image_overlap():
    flow = build(L=2**30, share_levels=True, layers=1)
    a, b = 2**29 - 10, 2**30 - 40
    first = flow.window(2**64 - 1, (a, a + 12), (b, b + 40))  # down to the last column
    second = flow.window(2**64 - 1, (a + 7, a + 18), (b + 3, b + 21))
    torch.testing.assert_close(first[:, :, 7:, 3:21], second[:, :, :5])
    assert first.isfinite().all()
    other = flow.window(2**64 - 2, (a, a + 12), (b, b + 40))
    assert not torch.isclose(first, other).any(1).all()
    images = flow.to_images(first)
    assert images.shape == (1, 3, 12, 40)


def test_noise_depends_on_seed_level_and_site_alone_and_follows_the_prior():
    flow = build(prior="gaussian")
    lattice = flow.plan.latents[0].lattice
    sites = torch.randperm(lattice.sites)[:100]
    all_sites = noise_of_latents(flow.prior, 1.0, 5, 0, lattice, torch.arange(lattice.sites))
    assert torch.equal(noise_of_latents(flow.prior, 1.0, 5, 0, lattice, sites), all_sites[:, sites])
    others = [noise_of_latents(flow.prior, 1.0, *key, lattice, sites) for key in ((5, 1), (6, 0))]
    assert not any(torch.isclose(all_sites[:, sites], other).any() for other in others)
    assert len(all_sites.unique()) == all_sites.numel()
    for name, standard in (("gaussian", distributions.Normal(0, 1)), ("laplace", distributions.Laplace(0, 0.5**0.5))):
        prior = mera.Prior(name)
        line = mera.Layout((2**16,), 3).input.lattice
        u = standard.cdf(noise_of_latents(prior, 1.0, 1, 0, line, torch.arange(2**16))).sort(dim=1).values
        steps = (torch.arange(2**16) + 0.5) / 2**16
        assert (u - steps).abs().max() < 1.95 / 2**8  # Kolmogorov-Smirnov at 0.1 %
    rows = torch.stack([all_sites[0, :-1], all_sites[0, 1:]])
    assert rows.corrcoef()[0, 1].abs() < 4 / lattice.sites**0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.window(0, (0, 8)), "Expected a span or a coordinate for each of 2 dimensions; got 1"),
        (lambda f: f.window(-1, (0, 8), (0, 8)), r"Expected a seed from 0 to 2\^64 - 1; got -1"),
        (lambda f: f.window(0.5, (0, 8), (0, 8)), r"Expected a seed from 0 to 2\^64 - 1; got 0.5"),
        (lambda f: f.window(0, (0, 8), (0, 8), temperature=[1.0]), "one for each of 4 levels"),
        (lambda f: f.window(0, (0, 8), (0, 8), temperature=0), "Expected a temperature as a number above 0"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(build())


def test_refused_flows():
    with pytest.raises(ValueError, match=r"Expected a prior with a quantile function \(icdf\) in torch; got StudentT"):
        build(prior=distributions.StudentT(5.0)).window(0, (0, 4), (0, 4))
    layout = mera.Layout((2**13, 2**13), 2)
    layout.latent(layout.local(layout.input, Field, kernel=3, stride=1, name="field"))
    with pytest.raises(ValueError, match=r"node 'field': Expected a bijector of patches, or a local.*got a field"):
        mera.Flow(layout).window(0, (0, 4), (0, 4))


class Field(mera.bijectors.Bijector):
    receptive_kernel = (3, 3)

    def forward(self, x):
        return x, x.new_zeros(len(x))

    inverse = forward
