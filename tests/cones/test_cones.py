"""Cones of models: known sizes, huge lattices, pictures, and what is refused."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

import mera
from mera.bijectors import ActNorm
from mera.cli.picture_arguments import parse_region
from mera.cones import sites_of
from mera.cones.cone import all_generation_cones, all_inference_cones, cone_of_data, cone_of_latents, generation_cone
from mera.drawing import level_masks, side_view
from tests.helpers.quick import quick_of
from tests.tables.models import MODELS


def build(L, **options):
    return mera.build("rgflow", L=L, hidden=(2,), layers=1, **options)


def test_sizes_that_an_independent_propagation_found():
    flow = build(32, order="authors")
    for row in (0, 13, 31):  # wherever the pixel is
        assert flow.inference_cone(np.s_[row : row + 1, 7:8]).count == 660
    paper = build(32)
    counts = {
        edge: [
            paper.inference_cone(np.s_[r : r + edge, c : c + edge]).count
            for r in range(0, 24, 3)
            for c in range(0, 24, 5)
        ]
        for edge in (1, 8)
    }
    assert (min(counts[1]), max(counts[1])) == (480, 660)
    assert (min(counts[8]), max(counts[8])) == (840, 1344)


@pytest.mark.parametrize(("m", "blocks"), [(4, {32: 28, 64: 41, 256: 67}), (2, {32: 22, 64: 27, 256: 37})])
def test_blocks_to_recompute_after_an_edit_of_one_pixel(m, blocks):
    for L, known in blocks.items():
        flow = build(L, m=m, order="authors", block_spins=False)
        cone = flow.inference_cone(np.s_[L // 2 : L // 2 + 1, L // 2 : L // 2 + 1])
        assert sum(cone.blocks) == known


def test_generation_cone_of_several_latents_is_the_union():
    flow = build(32)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[1, 2] = mask[6, 7] = True
    assert torch.equal(
        flow.generation_cone(1, mask).pixels,
        flow.generation_cone(1, (1, 2)).pixels | flow.generation_cone(1, [6, 7]).pixels,
    )
    where = mask.nonzero()[0]
    for site in (where, where.numpy(), where.tolist(), tuple(where.tolist())):
        assert torch.equal(flow.generation_cone(1, site).pixels, flow.generation_cone(1, (1, 2)).pixels)
    assert torch.equal(flow.generation_cone(1, mask.numpy()).pixels, flow.generation_cone(1, mask).pixels)
    line = build(16, dim=1)
    assert torch.equal(line.generation_cone(0, torch.tensor(3)).pixels, line.generation_cone(0, 3).pixels)
    assert torch.equal(line.generation_cone(0, 3).pixels, line.generation_cone(0, (3,)).pixels)
    assert line.generation_cone(0, 3).pixels.sum() < 16


def test_a_huge_lattice_is_never_looked_at_as_a_whole():
    flow = build(2**20)
    cone = flow.inference_cone(np.s_[2**19 : 2**19 + 8, 77:85])
    assert max(len(numbers) for numbers in cone.reached.values()) < 2000
    counts = [build(2**h).inference_cone(np.s_[8:16, 8:16]).count for h in (10, 11, 12)]
    assert counts[1] - counts[0] == counts[2] - counts[1] > 0  # a constant for each doubling
    assert f"{cone.count:,} of" in str(cone)
    assert "z18" in str(cone)


def test_all_kinds_of_regions_mean_the_same():
    flow = build(32)
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[8:16, 2:7] = True
    regions = [mask, mask.numpy(), np.s_[8:16, 2:7], [slice(8, 16), slice(2, 7)], parse_region("8:16,2:7")]
    regions += [((8, 16), (2, 7)), (range(8, 16), slice(2, 7))]
    counts = {flow.inference_cone(region).count for region in regions}
    assert len(counts) == 1
    cone = flow.inference_cone(mask)
    assert cone.fraction == cone.count / (3 * 32**2)
    assert torch.equal(cone.pixels, mask)
    pixel = np.s_[13:14, 5:6]
    assert flow.inference_cone((13, 5)).count == flow.inference_cone(pixel).count
    assert parse_region("13,5") == pixel
    assert torch.equal(sites_of(mask, flow.plan.input), mask.flatten().nonzero()[:, 0])
    volume = mera.Layout((4, 5, 6), 2)
    cube = torch.rand(4, 5, 6) < 0.3
    assert torch.equal(sites_of(cube, volume.input.lattice), cube.flatten().nonzero()[:, 0])


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (torch.zeros(32, 32, dtype=torch.bool), "Expected a mask that is true somewhere; got an empty one"),
        (torch.ones(32, 16, dtype=torch.bool), r"Expected a mask of shape \(32, 32\), as the lattice; got \(32, 16\)"),
        (torch.ones(32, 32), "Expected a mask of dtype bool; got torch.float32"),
        ("8:16,8:16", "Expected a bool mask, or a span for each dimension; got str"),
        (np.s_[8:16, 20:33], "Expected dimension 1 within 0 to 32, and not empty; got 20 to 33"),
        (np.s_[8:8, 1:2], "Expected dimension 0 within 0 to 32, and not empty; got 8 to 8"),
        (np.s_[-4:8, 1:2], "Expected dimension 0 within 0 to 32"),
        (np.s_[0:8:2, 1:2], r"Expected dimension 0 as a slice without a step, a pair \(start, stop\) or an integer"),
        (np.s_[0:8], "Expected a span or a coordinate for each of 2 dimensions; got 1"),
        (np.s_[0:8, 0.5:2], "Expected dimension 1 as a slice without a step"),
        (("08", 1), "Expected dimension 0 as a slice without a step"),
        ((32, 1), "Expected dimension 0 within 0 to 32, and not empty; got 32 to 33"),
    ],
)
def test_refused_regions(region, message):
    with pytest.raises(ValueError, match=message):
        build(32).inference_cone(region)


def test_a_region_too_large_to_list():
    with pytest.raises(
        ValueError, match="Expected a region of at most 268,435,456 sites; got 1,152,921,504,606,846,976"
    ):
        build(2**30).inference_cone(np.s_[:, :])


def test_too_many_variables_to_number():
    with pytest.raises(ValueError, match=r"Expected a lattice of fewer than 2\^63 variables"):
        build(2**31).inference_cone(np.s_[0:1, 0:1])


@pytest.mark.parametrize("options", [{"L": 32}, {"L": 512}, {"L": 64, "dim": 1}, {"L": 8, "m": 2, "dim": 3}])
def test_pictures_fill_in_as_many_boxes_as_are_touched(options):
    flow = build(**options)
    cone = flow.inference_cone([slice(5, 6)] * flow.plan.input.dim)
    figure = side_view(cone, colour="#123456")
    filled = [p for p in figure.axes[0].patches if to_hex(p.get_facecolor()) == "#123456"]
    rows = {round(p.get_y(), 3) for p in figure.axes[0].patches}
    assert len(rows) == len(cone.blocks)
    assert {round(p.get_y(), 3) for p in filled} == rows
    if flow.plan.input.dim == 1:
        assert sum(cone.blocks) <= len(filled) <= sum(cone.blocks) + len(rows)  # one may be cut by the border
    if flow.plan.input.dim == 2:
        panels = [axes for axes in level_masks(cone).axes if axes.images]
        assert len(panels) == 1 + len(flow.plan.latents)
        shown = panels[1].images[0].get_array()
        assert shown.sum() == len(cone.sites[0])
    else:
        with pytest.raises(ValueError, match="Expected a lattice of 2 dimensions"):
            level_masks(cone)


def test_generation_side_view():
    flow = build(64, dim=1)
    cone = cone_of_latents(flow.plan, {1: torch.tensor([4])})
    boxes = side_view(cone, "#ff0000").axes[0].patches
    assert 0 < sum(to_hex(box.get_facecolor()) == "#ff0000" for box in boxes) < len(boxes)


def passive(kernel, stride=None):
    """A layout whose first channel is read and not changed, before the two channels part."""
    layout = mera.Layout((12,), 3)
    x = layout.local(layout.input, ActNorm, kernel=kernel, stride=stride, passive=1)
    for part in layout.split(x, 1):
        layout.latent(layout.local(part, ActNorm, kernel=2, offset=1))
    return mera.graph.compile(layout)


PLANS = {name: lambda build=build: build().plan for name, build in MODELS.items()} | {
    "passive-patches": lambda: passive(4), "passive-field": lambda: passive(5, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", quick_of(PLANS, [*PLANS][::4]))
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
