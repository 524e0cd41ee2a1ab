"""Pictures of images and curves: what is shown is what was passed, and what cannot be shown is refused."""

import numpy as np
import pytest
import torch

from mera.drawing.curves import loss_curves
from mera.drawing.images import coloured, inpainted, paint_mask, progression, stretch
from tests.tables.models import MODELS


@pytest.mark.parametrize("name", ["rgflow", "realnvp", "glow", "wavelet", "ternary"])
def test_a_progression_is_drawn_as_the_flow_returns_it(name):
    flow = MODELS[name]().float()
    levels = flow.progression(flow.sample_latents(3))
    assert levels[0].requires_grad
    axes = progression(levels, "a title").axes
    assert len(axes) == 3 * len(levels)
    finest = [axes[row * len(levels) + len(levels) - 1].images[0].get_array() for row in range(3)]
    channels = levels[0].shape[1]
    expected = stretch(levels[0] if channels in (1, 3) else levels[0].mean(1, keepdim=True))
    for picture, image in zip(finest, expected, strict=True):
        assert torch.equal(torch.from_numpy(picture.data), image.movedim(0, -1).squeeze(-1))
    shades = torch.cat([torch.from_numpy(panel.images[0].get_array().data).flatten() for panel in axes])
    assert len(shades.unique()) > 10  # not clipped to black and white


def test_stretch_uses_quantiles_of_all_numbers():
    assert stretch(torch.linspace(-3, 5, 101, requires_grad=True)).tolist()[1:-1:49] == [0, 128, 255]
    rising = stretch(torch.arange(3_000_000.0))
    assert rising[[0, 1_500_000, -1]].tolist() == [0, 128, 255]
    assert stretch(torch.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]
    assert stretch(torch.tensor([1, 2, 3])).dtype == torch.uint8


IMAGES = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)


def test_masked_pixels_are_painted():
    mask = torch.eye(4, dtype=torch.bool)
    red, white = paint_mask(IMAGES, mask), paint_mask(IMAGES[:, :1], mask)
    assert red[1, :, 0, 0].tolist() == [255, 0, 0]
    assert white[:, 0].tolist() == [(255 * mask).tolist()] * 2


def test_captions_and_curves():
    figure = inpainted({"one": IMAGES[0], "two": IMAGES[1]}, torch.eye(4, dtype=torch.bool))
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["one", "what is masked", "two"]
    first = [{"step": 1, "seconds": 0.5, "test_bits": 8.0}, {"step": 2, "seconds": 0.7, "test_bits": 7.0}]
    (line,) = loss_curves({"a": [first]}, "step").axes[0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 2], [8.0, 7.0])
    second = [{"step": 1, "seconds": 0.5, "test_bits": 6.0}, {"step": 2, "seconds": 0.8, "test_bits": 6.0}]
    axes = loss_curves({"a": [first, second]}, "step").axes[0]
    assert list(axes.lines[0].get_ydata()) == [7.0, 6.5]  # the mean of the two
    assert axes.collections[0].get_datalim(axes.transData).intervaly.tolist() == [6.0, 8.0]  # the band of both


def test_colours_of_numbers_and_of_zeros():
    blue, white, red = coloured(torch.tensor([[-2.0, 0.0, 1.0]]))[:, 0].T.int()
    assert white.min() > 240
    assert blue[2] > blue[0]
    assert red[0] > red[2]
    assert (coloured(torch.zeros(2, 3)) == white[:, None, None]).all()


def test_a_progression_has_the_colours_of_the_images():
    """The images are shown as they are, coarse lattices in their colours in any affine map of the channels."""
    images = torch.randint(40, 200, (2, 3, 8, 8), dtype=torch.uint8)
    means = images.double().unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    mixed = torch.einsum("ij,njhw->nihw", torch.randn(3, 3, dtype=torch.float64), means) + 7
    coarse, fine = (axes.get_images()[0].get_array() for axes in progression([images, mixed]).axes[:2])
    assert torch.equal(torch.as_tensor(np.asarray(fine)), images[0].movedim(0, -1))
    assert np.abs(np.asarray(coarse).astype(float) - means[0].movedim(0, -1).numpy()).max() <= 0.51
