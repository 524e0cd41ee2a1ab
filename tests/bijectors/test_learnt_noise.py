"""The learnt noise of pixels: what it changes, and what it gains where the probability of images is known."""

import pytest
import torch

import mera
from mera.bijectors import ImagePreprocess, LearntNoise, named, with_noise
from mera.graph import Layout
from mera.train import fit
from tests.helpers.laws import randomize

SHAPE = (2, 4, 5)
PREPROCESS = ImagePreprocess().double()
LEVELS = torch.randint(0, 256, (3, *SHAPE), generator=torch.Generator().manual_seed(0)).byte()


def mapped(bijector, noise):
    """The output for the same levels and other noise."""
    return bijector(PREPROCESS(with_noise(LEVELS, noise.double()))[0])[0]


def test_levels_stay_and_noise_is_read_in_later_turns_alone():
    """The second channel at an odd site is in the last turn; the first channel at an even site is in the first."""
    bijector = randomize(LearntNoise(SHAPE, hidden=(3,)), 0.3)
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(LEVELS.shape, generator=generator)
    y = mapped(bijector, noise)
    assert torch.equal(PREPROCESS.inverse(y)[0], LEVELS)
    late, early = noise.clone(), noise.clone()
    late[:, 1, 1, 2] = 0.3
    assert (mapped(bijector, late) != y)[0].nonzero().tolist() == [[1, 1, 2]]
    early[:, 0, 1, 1] = 0.3
    changed = (mapped(bijector, early) != y)[0]
    even = torch.arange(4)[:, None] + torch.arange(5) & 1 == 0
    assert changed[0, even].sum() == 1
    assert changed[:, 1, 2].all()
    assert changed[1, 1, 1]


def test_rounding_crosses_no_border_of_a_level():
    """Disturbed weights press noise against both borders; all 256 levels come back in single precision."""
    bijector = LearntNoise((1, 64, 64), hidden=(4,))
    with torch.no_grad():
        for parameter in bijector.parameters():
            parameter.add_(torch.randn_like(parameter))
    levels, preprocess = torch.arange(256).repeat(256).view(16, 1, 64, 64).byte(), ImagePreprocess()
    for noise in (torch.rand(levels.shape), torch.full(levels.shape, 1e-4), torch.full(levels.shape, 1 - 1e-4)):
        y = bijector(preprocess(with_noise(levels, noise))[0])[0]
        assert torch.equal(preprocess.inverse(y)[0], levels)


def test_pairs_of_levels_keep_their_probability():
    """The noise is mapped within its level, so that the probability of two levels is that of the normal density."""
    layout = Layout(shape=(2,), channels=1)
    layout.latent(layout.local(layout.input, named("learnt-noise", {"hidden": (5,)}), kernel=2))
    flow = randomize(mera.Flow(layout), 0.3).double()
    ends = PREPROCESS(torch.tensor([[100.0, 101.0], [30.0, 31.0]], dtype=torch.float64))[0]
    exact = (torch.special.ndtr(ends[:, 1]) - torch.special.ndtr(ends[:, 0])).prod()
    noise = (torch.arange(300, dtype=torch.float64) + 0.5) / 300
    y, log_det = PREPROCESS(torch.cartesian_prod(100 + noise, 30 + noise)[:, None])
    found = (flow.log_prob(y) + log_det).exp().mean()
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=0)


def test_scaled_modes_do_not_change_the_levels():
    """Noise acts on pixels, whatever follows it: the probability of an image is that of the flow without noise."""
    options = {"L": 2, "dim": 1, "channels": 1, "layers": 1, "hidden": (4,), "spectral": True}
    flow = randomize(mera.build("rgflow", **options, learnt_noise=(4,)), 0.2)
    plain = mera.build("rgflow", **options).double()
    assert not plain.load_state_dict(flow.state_dict(), strict=False).missing_keys
    noise = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    noise = torch.cartesian_prod(noise, noise)[:, None]
    images = torch.tensor([[[100, 30]]], dtype=torch.uint8).expand(len(noise), -1, -1)
    found, expected = ((-2 * f.bits_per_dim(images, noise=noise)).exp2().mean() for f in (flow, plain))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_values_beyond_the_levels_stay():
    bijector = randomize(LearntNoise(SHAPE, hidden=(3,)), 0.3)
    x = torch.full((1, *SHAPE), 2.95, dtype=torch.float64)  # the last level ends at logit(0.95) = 2.944
    x[:, 1] = -4
    y, log_det = bijector(x)
    assert torch.equal(y, x)
    assert log_det.sum() == 0


@pytest.mark.slow
def test_images_without_entropy_need_few_bits():
    """With uniform noise a Gaussian needs 0.25 bits for each pixel of an image that is known."""
    images, bits = torch.full((256, 1, 4, 4), 100, dtype=torch.uint8), []
    for noise in (None, (4,)):
        torch.manual_seed(0)
        flow = mera.build("rgflow", L=4, m=2, channels=1, layers=1, hidden=(4,), learnt_noise=noise)
        fit(flow, images, test=images[:64], steps=200, batch_size=64, lr=2e-2)
        bits.append(flow.bits_per_dim(images).mean().item())
    assert bits[0] > 0.15
    assert 0 < bits[1] < 0.1
