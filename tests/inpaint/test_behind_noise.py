"""Fillings of flows with learnt noise, which are drawn behind the noise."""

import pytest
import torch

import mera
from tests.helpers.laws import randomize

FLOW = {"L": 8, "m": 2, "channels": 1, "layers": 1, "hidden": (4,), "learnt_noise": (4,), "boundary": "open"}


def test_fillings_have_the_levels_that_were_drawn_and_do_not_see_what_is_masked():
    torch.manual_seed(0)
    flow = randomize(mera.build("rgflow", **FLOW), 0.2)
    images = torch.randint(0, 256, (1, 1, 8, 8), dtype=torch.uint8)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:4, 3:5] = True
    x = flow.preprocess(images)[0].double()
    other = torch.where(mask, -x, x)
    found = []
    for image in (x, other):
        torch.manual_seed(1)
        found.append(flow.inpaint(image, mask, samples=2, particles=0, warmup=2, iterations=4, leapfrog=2, steps=2))
    result = found[0]
    assert torch.equal(result.image, found[1].image)
    assert torch.equal(result.original, x)
    for images in (result.image, result.likeliest, result.draws):
        assert torch.equal(images[..., ~mask], x[..., ~mask].expand(len(images), -1, -1))
    torch.testing.assert_close(result.log_prob, flow.log_prob(result.image)[0])
    assert not torch.equal(flow.to_images(result.image)[..., mask], flow.to_images(x)[..., mask])
    climbed = flow.inpaint(x, mask, samples=0, draws=8, steps=3)
    assert climbed.draws is None
    assert torch.equal(climbed.image, climbed.likeliest)


def test_messages():
    flow = mera.build("rgflow", **FLOW)
    with pytest.raises(ValueError, match="a mask that leaves some pixels unmasked"):
        flow.inpaint(flow.sample(1), torch.ones(8, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match="one image"):
        flow.inpaint(flow.sample(2), ((0, 2), (0, 2)))
