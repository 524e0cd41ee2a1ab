"""Cones of models: known sizes, huge lattices, pictures, and what is refused."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

import mera
from mera.analysis.drawing import level_masks, side_view
from mera.cones import parse_region, sites_of
from mera.cones.cone import cone_of_latents
from tests.helpers.naive import naive_cone


def build(L, **options):
    return mera.build("rgflow", L=L, hidden=(2,), layers=1, **options)


@pytest.mark.parametrize("order", ["paper", "authors"])
@pytest.mark.parametrize(("L", "m", "boundary"), [(16, 2, "periodic"), (32, 4, "periodic"), ((24, 48), 6, "open"),
                                                   (32, 8, "open")])  # fmt: skip
def test_cones_are_what_masks_spread_to(L, m, order, boundary):
    flow = build(L, m=m, order=order, boundary=boundary)
    for density in (0.003, 0.05):
        mask = torch.rand(flow.plan.input.shape) < density
        mask[3, 5] = True
        cone, naive = flow.inference_cone(mask), naive_cone(flow.layout, mask)
        assert cone.count == sum(int(level.sum()) for level in naive.values())
        for latent, level in zip(flow.plan.latents, cone.levels, strict=True):
            assert torch.equal(level, naive[latent.node].any(0))
        assert cone.fraction == cone.count / (3 * flow.plan.input.sites)
        assert torch.equal(cone.pixels, mask)


def test_sizes_that_an_independent_propagation_found():
    flow = build(32, order="authors")
    for row in (0, 13, 31):  # wherever the pixel is
        assert flow.inference_cone(np.s_[row : row + 1, 7:8]).count == 660
    paper = build(32)
    counts = {
        edge: [
            paper.inference_cone(np.s_[r : r + edge, c : c + edge]).count for r in range(0, 24, 3) for c in range(24)
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


def test_inference_and_generation_are_each_other_transposed():
    flow = build(16, order="authors", m=2)
    pixels = torch.arange(256)
    for level, latent in enumerate(flow.plan.latents):
        n = latent.lattice.shape[0]
        for site in {(0, 0), (n // 2, n - 1)}:
            seen = flow.generation_cone(level, site).pixels.flatten()
            for pixel in (*seen.nonzero()[:3, 0], *(~seen).nonzero()[:3, 0]):
                one = (pixels == pixel).view(16, 16)
                assert flow.inference_cone(one).levels[level][site] == seen[pixel]


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
        (np.s_[0:8], "Expected a span for each of 2 dimensions; got 1"),
        (np.s_[0:8, 0.5:2], "Expected dimension 1 as a slice without a step"),
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
