"""Options of models, and flows on images."""

import math
import time
from dataclasses import dataclass

import pytest
import torch

import mera
from mera.models import by_name
from tests.helpers.laws import randomize
from tests.tables.models import MODELS, rgflow


def test_default_sizes():
    start = time.perf_counter()
    flow = mera.build("rgflow", L=32, m=4)
    assert time.perf_counter() - start < 2
    assert 0.5e6 <= sum(p.numel() for p in flow.parameters()) <= 2e6  # "approximately one million"
    assert [tuple(level.shape) for level in flow.sample_latents(2)] == [
        (2, 9, 16, 16), (2, 9, 8, 8), (2, 9, 4, 4), (2, 3, 4, 4),
    ]  # fmt: skip


def test_published_sizes():
    """100,647,680 parameters, counted in the authors' code."""
    flow = mera.build("rgflow", L=32, m=4, preset="authors")
    assert sum(p.numel() for p in flow.parameters()) == 100_647_680


def test_only_the_joint_conditioner_is_normed_unless_asked():
    def normed(**options):
        return any(isinstance(m, mera.bijectors.ActNorm) for m in rgflow(L=4, **options).modules())

    assert normed()
    assert not normed(norm=False)
    assert not normed(conditioner="paper")
    assert not normed(conditioner="authors", order="authors")
    assert normed(conditioner="paper", norm=True)


def test_a_model_of_ones_own_has_the_prior_and_the_classes_of_its_options(monkeypatch):
    monkeypatch.setattr(by_name._models, "_functions", dict(by_name._models._functions))

    @mera.models.register("own")
    @dataclass(frozen=True, kw_only=True)
    class Own(mera.models.Model):
        def layout(self):
            layout = mera.Layout(self.shape, self.channels, context=self.context_shape)
            layout.latent(layout.local(layout.input, "coupling(hidden=(4,))", kernel=2, name="a"))
            return layout

    flow = mera.build("own", L=4, channels=1, prior="laplace", classes=3, context=2)
    assert (flow.prior.family, flow.plan.context, flow.context_encoder.classes) == ("Laplace", (2,), 3)


def test_order():
    offsets = {
        order: [step.apply.offset for step in rgflow(L=8, order=order, block_spins=False).plan.bijections]
        for order in ("paper", "authors")
    }
    assert offsets["paper"] == [(2, 2), (0, 0)] * 2
    assert offsets["authors"] == [(0, 0), (2, 2)] * 2


def test_decimation_keeps_the_sites_at_even_places():
    """Eq. (5): the sites at the stride go on, and each latent lies at its own site of the pixel lattice."""
    flow = rgflow(L=8, m=4, channels=2)
    t = torch.arange(2 * 64.0).view(1, 2, 8, 8)
    z = flow.from_lattice(t)
    assert torch.equal(z[1], t[..., ::2, ::2])
    assert torch.equal(z[0][:, :2], t[..., ::2, 1::2])
    assert torch.equal(z[0][:, 2:4], t[..., 1::2, ::2])
    assert torch.equal(flow.to_lattice(z), t)


def test_parameters_of_each_step():
    flow = mera.build("rgflow", L=16, layers=(3, 2, 1), hidden=[(4,), (5,), (6, 7)], residual_blocks=(1, 2, 3))
    for h, (layers, blocks, widths) in enumerate([(3, 1, (4, 4)), (2, 2, (5, 5)), (1, 3, (6, 7, 6))]):
        for node in (f"disentangler{h}", f"decimator{h}"):
            couplings = [part for part in flow.bijectors[node].modules() if isinstance(part, mera.bijectors.Coupling)]
            assert len(couplings) == layers
            network = couplings[0].networks[0].network
            assert len(network.blocks) == blocks
            assert tuple(m.out_features for m in network.blocks[0] if hasattr(m, "out_features")) == widths


def test_progression_shows_the_lattice_at_each_level():
    flow = randomize(MODELS["rgflow-authors-m2"](), 0.2)
    z = tuple(level.double() for level in flow.sample_latents(3))
    levels = flow.progression(z)
    assert [tuple(x.shape) for x in levels] == [(3, 2, 8, 8), (3, 2, 4, 4), (3, 2, 2, 2)]
    assert torch.equal(levels[0], flow.inverse(z)[0])
    top = rgflow(L=2, m=2, channels=2, preset="authors").double()
    for node in ("disentangler", "decimator"):
        top.bijectors[f"{node}0"].load_state_dict(flow.bijectors[f"{node}2"].state_dict())
    torch.testing.assert_close(levels[2], top.inverse(z[2:])[0])


def test_progression_follows_what_is_kept():
    layout = mera.Layout((8,), 1)
    kept, rest = layout.decimate(layout.input)
    layout.latent(layout.local(rest, mera.bijectors.ActNorm, 2))
    coarse, rest = layout.decimate(kept)
    layout.latent(rest)
    layout.latent(coarse)
    flow = mera.Flow(layout)
    x = torch.randn(2, 1, 8)
    levels = flow.progression(flow(x)[0])
    for level, stride in zip(levels, (1, 2, 4), strict=True):
        torch.testing.assert_close(level, x[..., ::stride])


@pytest.mark.parametrize("name", ["rgflow-open", "realnvp"])
def test_samples_and_images(name):
    flow = randomize(MODELS[name](), 0.2).float()
    images = flow.to_images(flow.sample(5, temperature=0.7))
    assert (images.dtype, images.shape) == (torch.uint8, (5, *flow.plan.input.event_shape))
    torch.manual_seed(3)
    bits = flow.bits_per_dim(images)
    torch.manual_seed(3)
    y = (images + torch.rand(images.shape) * (1 - 2**-15)) / 256
    p = 0.9 * y + 0.05
    x = torch.log(p) - torch.log1p(-p)
    slope = (math.log(0.9) - torch.log(p) - torch.log1p(-p)).flatten(1).sum(1)
    nats_per_dim = -(flow.log_prob(x) + slope) / x[0].numel()
    torch.testing.assert_close(bits, (nats_per_dim + math.log(256)) / math.log(2), atol=1e-4, rtol=1e-4)
    assert flow.from_images(images).shape == images.shape


def test_latents_of_the_examples_that_a_flow_starts_from_are_about_one():
    flow = rgflow(L=8, channels=1)
    images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8)
    flow.initialize(flow.from_images(images))
    z, _ = flow(flow.from_images(images))
    assert 0.5 < torch.cat([level.flatten() for level in z]).std() < 2
