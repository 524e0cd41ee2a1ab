"""All cones at once are the cones one by one."""

import numpy as np
import pytest
import torch

from mera.bijectors import ActNorm
from mera.cones.all_cones import all_generation_cones, all_inference_cones
from mera.cones.cone import cone_of_data, generation_cone
from mera.graph import Layout, compile
from tests.tables.models import MODELS


def passive(kernel, stride=None):
    """A layout whose first channel is read and not changed, before the two channels part."""
    layout = Layout((12,), 3)
    x = layout.local(layout.input, ActNorm, kernel=kernel, stride=stride, passive=1)
    for part in layout.split(x, 1):
        layout.latent(layout.local(part, ActNorm, kernel=2, offset=1))
    return compile(layout)


PLANS = {name: lambda build=build: build().plan for name, build in MODELS.items()} | {
    "passive-patches": lambda: passive(4), "passive-field": lambda: passive(5, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", [*PLANS][::2])
def test_all_cones_are_those_one_by_one(name):
    plan = PLANS[name]()
    of_pixels = torch.cat(list(all_inference_cones(plan)))
    of_latents = torch.cat(list(all_generation_cones(plan)))
    assert of_pixels.dtype == of_latents.dtype == torch.bool
    channels = torch.arange(plan.input.channels)
    for site in range(0, plan.input.sites, 5):
        levels = cone_of_data(plan, channels + site * len(channels)).levels
        assert torch.equal(of_pixels[site], torch.cat([level.flatten() for level in levels]))
    places = [(h, site) for h, latent in enumerate(plan.latents) for site in np.ndindex(*latent.lattice.shape)]
    assert len(of_latents) == len(places)
    for number in range(0, len(places), 3):
        assert torch.equal(of_latents[number], generation_cone(plan, *places[number]).pixels.flatten())
