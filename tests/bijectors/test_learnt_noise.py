"""The learnt noise of pixels: what it changes, and what it gains where the probability of images is known."""

import torch

import mera
from mera.bijectors import ImagePreprocess, LearntNoise, with_noise
from mera.train import fit
from tests.helpers.laws import randomize

SHAPE = (2, 4, 5)
PREPROCESS = ImagePreprocess().double()
LEVELS = torch.randint(0, 256, (3, *SHAPE), generator=torch.Generator().manual_seed(0)).byte()


def mapped(bijector, noise):
    """The output for the same levels and other noise."""
    return bijector(PREPROCESS(with_noise(LEVELS, noise.double()))[0])[0]


def test_levels_stay_and_noise_changes_within_its_pixel_alone():
    bijector = randomize(LearntNoise(SHAPE, hidden=(3,)), 0.3)
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(LEVELS.shape, generator=generator)
    y = mapped(bijector, noise)
    assert torch.equal(PREPROCESS.inverse(y)[0], LEVELS)
    noise[:, :, 1, 2] = torch.rand(3, 2, generator=generator)
    changed = (mapped(bijector, noise) != y)[0, 0].nonzero()
    assert changed.tolist() == [[1, 2]]


def test_values_beyond_the_levels_stay():
    bijector = randomize(LearntNoise(SHAPE, hidden=(3,)), 0.3)
    x = torch.full((1, *SHAPE), 2.95, dtype=torch.float64)  # the last level ends at logit(0.95) = 2.944
    x[:, 1] = -4
    y, log_det = bijector(x)
    assert torch.equal(y, x)
    assert log_det.sum() == 0


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
