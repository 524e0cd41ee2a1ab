"""Models on lattices of all kinds of edges: what fits, what it is, and the settings that a message names."""

import math

import numpy as np
import pytest
import torch

import mera
from mera.models.lattices import kernels, levels
from tests.helpers.quick import quick_of

LATTICES = [
    (28,), (30,), (100,), (14, 14), (12, 20), (8, 12), (10, 10), (18, 6), (7, 5), (6, 10, 4), (4, 4, 12), (14, 4, 2),
]  # fmt: skip
LARGE = [(28, 28), (24, 40), (32, 48), (30, 30), (96, 96), (100, 100), (28, 28, 28), (6, 10, 12)]
QUICK = [(30,), (18, 6), (7, 5), (4, 4, 12), (24, 40), (30, 30), (6, 10, 12)]
SMALL = {"layers": 1, "hidden": (3,), "residual_blocks": 1}


def flow_of(name, shape, **options):
    torch.manual_seed(0)
    return mera.build(name, L=shape, channels=2 if name == "glow" else 1, **SMALL, **options)


@pytest.mark.parametrize("shape", quick_of(LATTICES, QUICK), ids=str)
@pytest.mark.parametrize("name", mera.models.names())
def test_every_model_on_every_lattice(name, shape):
    has_no_thirds = any(n % 3 for n in shape) and math.prod(shape) > 64
    if (name == "ternary" and has_no_thirds) or (name == "tebd" and shape == (7, 5)):
        with pytest.raises(ValueError, match="Expected edges that"):
            flow_of(name, shape)
        return
    flow = flow_of(name, shape)
    report = mera.check(flow)
    assert report.ok, report.table()
    again = flow.recipe.rebuild()
    assert again.plan == flow.plan  # also by the widths that it wrote down


@pytest.mark.parametrize("shape", quick_of(LARGE, QUICK), ids=str)
@pytest.mark.parametrize("name", [name for name in mera.models.names() if name != "ternary"])
def test_usual_sizes_build(name, shape):
    flow = flow_of(name, shape)
    x = 0.5 * torch.randn(1, *flow.plan.input.event_shape)
    with torch.no_grad():
        z, log_det = flow(x)
        again, opposite = flow.inverse(z)
    torch.testing.assert_close(again, x, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(log_det, -opposite, atol=1e-2, rtol=1e-3)
    assert len(z) > 1 or name in ("tebd", "glow") or shape == (6, 10, 12)


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((32, 32), {}, [(4, 4)] * 4),
        ((28, 28), {}, [(4, 4), (2, 2), (7, 7)]),
        ((24, 40), {}, [(4, 4), (4, 4), (6, 10)]),
        ((100, 100), {}, [(4, 4), (2, 2), (5, 5)]),
        ((22, 22), {}, [(2, 2), (11, 11)]),
        ((30, 30, 30), {}, [(2, 2, 2), (5, 5, 5)]),
        ((8, 64), {}, [(4, 4)] * 2),
        ((96, 64), {"m": 4, "n_levels": 4}, [(4, 4)] * 4),
        ((28, 28), {"n_levels": 2}, [(4, 4), (7, 7)]),
        ((32, 32), {"m": 8}, [(8, 8)] * 3),
        ((28, 28), {"m": [2, 2, 7]}, [(2, 2), (2, 2), (7, 7)]),
        ((28, 28), {"shared": True}, [(2, 2)] * 2),
        ((32, 32), {"shared": True}, [(4, 4)] * 4),
    ],
)
def test_the_patches_of_each_level(shape, options, expected):
    assert kernels(shape, options.pop("m", None), 4, **options) == expected


def test_images_of_any_size_are_reflected():
    flow = flow_of("rgflow", (16, 8))
    images = torch.arange(2 * 3 * 31 * 20.0).view(2, 3, 31, 20)
    found = mera.data.reflected(images, flow)
    expected = torch.nn.functional.pad(images, (0, 4, 0, 1), mode="reflect")
    assert torch.equal(found, expected)
    assert torch.equal(mera.data.reflected(images.numpy(), (8, 8)), expected)
    flow.resized(found.shape[2:])
    with pytest.raises(ValueError, match=r"(?s)multiples of \(8, 8\).*mera.data.reflected"):
        flow.resized((31, 20))
    for units in (0, (2.5, 2.5), (-2, 2), "ab"):
        with pytest.raises(ValueError, match="a flow, or a positive number for each dimension"):
            mera.data.reflected(images, units)
    assert mera.data.reflected(torch.zeros(1, 4), (4, 4)).shape == (4, 4)


@pytest.mark.parametrize(
    ("shape", "offset"), [((8, 32), (0, 2)), ((32, 8), (2, 0)), ((8, 8), None), ((4, 8, 8), (0, 2, 2))], ids=str
)
@pytest.mark.parametrize("name", ["rgflow", "decimation"])
def test_one_patch_in_one_dimension_leaves_room_in_the_others(name, shape, offset):
    """A disentangler of the coarsest lattice shifts in the dimensions in which an open border leaves it room."""
    flow = mera.build(name, L=shape, m=4, channels=1, boundary="open", **SMALL)
    coarsest = flow.plan.latents[-1].lattice
    steps = [step for step in flow.plan.bijections if step.operation.lattice == coarsest]
    assert [step.apply.offset for step in steps if any(step.apply.offset)] == ([] if offset is None else [offset])


def test_one_dimension_and_trees():
    flow = flow_of("rgflow", (32,))
    assert flow.resized(64).plan.input.shape == (64,)
    assert flow.inference_cone(30).count == flow.inference_cone((30,)).count
    for span in ((2, 4), [2, 4], np.array([2, 4]), slice(2, 4), range(2, 4), ((2, 4),)):
        assert flow.inference_cone(span).pixels.nonzero().flatten().tolist() == [2, 3]
    assert [levels((n,), 3, 3) for n in (27, 36, 12, 4)] == [3, 3, 2, 1]
    assert flow_of("tree", (36, 36)).recipe.options["m"] == 2
    assert flow_of("tree", (45, 27)).recipe.options["m"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"L": 28, "m": 4}, r"28x28; without m and levels, m is \[4, 2, 7\] in 3 levels; m=2, levels=2 fit, too"),
        ({"L": (24, 40), "m": 4, "levels": 3}, r"without m and levels, m is \[4, 4, \[6, 10\]\] in 3 levels"),
        ({"L": 31}, r"got 31x31; reflect pictures to 32x32 \(mera.data.reflected\), or crop them"),
        ({"L": (31, 62)}, "reflect pictures to 32x64"),
        ({"L": 28, "levels": 4}, "edges that 8 divides, for so many levels; got 28x28, which 2 divides 2 times"),
        ({"L": 28, "m": (4, 2, 7), "share_levels": True}, "one width m, as levels share their bijectors"),
        ({"L": 28, "m": ()}, r"m for each level; got \(\)"),
        ({"L": 28, "m": (4, 4)}, "patches 4x4 that fit each level; got edges 14x14 of level 1; without m and levels"),
        ({"L": 20, "m": (5, 2, 5)}, "widths of patches that 2 divides, below the coarsest level; got"),
        ({"L": 28, "m": (4, (2, 2, 2), 7)}, "one width, or one for each level, or 2 for each"),
        ({"L": 32, "m": 3}, "edges that m=3 divides; got 32x32; without m and levels, m is 4 in 4 levels"),
        ({"L": 58}, "of at most 256 sites; got 29x29 of 58x58; reflect pictures to 60x60"),
    ],
)
def test_messages_name_settings_that_fit(options, message):
    with pytest.raises(ValueError, match=message):
        mera.build("rgflow", **SMALL, **options)
