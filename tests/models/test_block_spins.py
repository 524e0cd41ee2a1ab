"""Block spins: the site that a decimation keeps begins as the mean of its cell, and no causal cone grows."""

import pytest
import torch
from torch.nn import functional as F

import mera
from mera.bijectors import DCT, BlockSpins, named
from mera.models.patches import Patches

POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def build(model, **options):
    return mera.build(model, channels=2, layers=1, hidden=(3,), **options)


@pytest.mark.parametrize(
    ("model", "edge", "options"),
    [
        ("rgflow", 2, {"L": 16, "m": 4}),
        ("rgflow", 2, {"L": (24, 12), "m": 6, "order": "authors"}),
        ("rgflow", 2, {"L": 8, "m": 2, "dim": 3, "boundary": "open"}),
        ("neuralrg", 2, {"L": 16, "dim": 1, "repeats": 2}),
        ("tree", 3, {"L": (9, 27), "m": 3}),
        ("ternary", 3, {"L": 9}),
        ("branching", 2, {"L": 8, "m": 2}),
    ],
)
def test_a_new_flow_is_a_wavelet_transform(model, edge, options):
    """Each decimation keeps the means of cells, times the root of the number of sites."""
    flow = build(model, block_spins=True, **options).double()
    shape = flow.plan.input.shape
    x = torch.randn(2, 2, *shape, dtype=torch.float64)
    z, log_det = flow(x)
    kept = {level.lattice.shape: value for level, value in zip(flow.plan.latents, z, strict=True)}
    coarsest = min(kept, key=lambda edges: edges[0])
    cell = shape[0] // coarsest[0]
    mean = POOL[len(shape)](x, cell) * cell ** (len(shape) / 2)
    torch.testing.assert_close(kept[coarsest][:, :2], mean)
    assert not log_det.any()
    total = sum(level.square().flatten(1).sum(1) for level in z)
    torch.testing.assert_close(total, x.square().flatten(1).sum(1))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        *(
            ("rgflow", {"L": L, "m": m, "boundary": boundary, "order": order})
            for L, m, boundary in ((16, 2, "periodic"), (16, 4, "open"), ((24, 12), 6, "periodic"), (32, 8, "periodic"))
            for order in ("paper", "authors")
        ),
        ("rgflow", {"L": 8, "m": 2, "dim": 3}),
        ("rgflow", {"L": 16, "m": 4, "share_levels": True}),
        ("neuralrg", {"L": 16}),
        ("tree", {"L": 27, "m": 3}),
        ("ternary", {"L": 27, "dim": 1}),
        ("branching", {"L": 8, "m": 2}),
    ],
)
def test_no_cone_changes(model, options):
    """The cones of some pixels and latents, their sizes and the blocks in them, are those without block spins."""
    on, off = (build(model, block_spins=spins, **options) for spins in (True, False))
    shape = on.plan.input.shape
    for _ in range(5):
        mask = torch.rand(shape) < 0.03
        mask[tuple(torch.randint(n, ()) for n in shape)] = True
        cones = [flow.inference_cone(mask) for flow in (on, off)]
        assert cones[0].count == cones[1].count
        assert all(torch.equal(a, b) for a, b in zip(cones[0].levels, cones[1].levels, strict=True))
    for level, latent in enumerate(on.plan.latents):
        site = tuple(int(torch.randint(n, ())) for n in latent.lattice.shape)
        assert torch.equal(on.generation_cone(level, site).pixels, off.generation_cone(level, site).pixels)


def test_the_factor_starts_from_data():
    """The means of independent sites vary less than the sites, by the root of the number of sites in a cell."""
    block = BlockSpins((2, 2, 2))
    x = 3 * torch.randn(16_000, 2, 2, 2) + 5
    y = block.initialize(x)
    assert block.log_scale.item() == pytest.approx(0, abs=0.03)
    again = BlockSpins((2, 2, 2))
    again.initialize(x.mean(3, keepdim=True).expand(-1, -1, -1, 2))  # equal neighbours
    assert again.log_scale.exp().item() == pytest.approx(2**-0.5, rel=0.03)
    assert torch.equal(block.initialize(2 * x), block(2 * x)[0])  # it starts once
    assert y[:, :, 0, 0].std() == pytest.approx(x.std().item(), rel=0.05)
    constant = BlockSpins((1, 2, 2))
    constant.initialize(torch.ones(5, 1, 2, 2))
    assert not constant.initialized


def test_they_come_before_the_rows_whose_patches_hold_whole_cells():
    for m, order, expected in ((4, "paper", 0), (6, "paper", 1), (6, "authors", 0)):
        flow = build("rgflow", L=2 * m, m=m, order=order)
        assert [step.node for step in flow.plan.bijections if step.level == 0].index("block_spins0") == expected


def test_rows_without_one_at_offset_0_come_after_them():
    model = mera.models.RGFlow(L=4, m=2, channels=2, layers=1, hidden=(3,))
    nodes = Patches(model, model.kernels).renormalize([("row", 0.5)]).nodes
    assert list(nodes)[1:3] == ["block_spins0", "row0"]


def test_angles_have_no_means():
    angles = named("coupling(hidden=(3,), transform=circular-spline)")
    flow = build("rgflow", L=8, m=4, bijector=lambda shape: angles(shape), prior="VonMises(loc=0, concentration=1)")
    assert flow.recipe.options["block_spins"]
    assert not any(isinstance(module, BlockSpins) for module in flow.modules())


def test_shared_levels_share_the_transform():
    flow = build("rgflow", L=16, m=4, share_levels=True)
    assert sorted(flow.bijectors) == ["block_spins", "decimator", "disentangler", "top"]
    z = flow(torch.ones(1, 2, 16, 16))[0]
    assert torch.allclose(z[-1][0, 0, ::2, ::2], torch.tensor(8.0))
    assert z[-1][0, 0, 1::2].abs().max() < 1e-6


def test_only_the_authors_preset_has_none():
    assert build("rgflow", L=16).recipe.options["block_spins"] is True
    for model, options in (("rgflow", {"preset": "authors"}), ("neuralrg", {}), ("tree", {}), ("branching", {})):
        flow = build(model, L=16, **options)
        assert flow.recipe.options["block_spins"] is False
        assert not any(isinstance(module, DCT) for module in flow.modules())
    with pytest.raises(ValueError, match="Expected an option"):
        build("tebd", L=16, block_spins=True)
