"""Finer lattices: what is kept, that the generation is that of the whole flow, and what is refused."""

import math

import pytest
import torch

import mera
from mera.flow.refine import _unit


def flow_of(name, L, **options):
    torch.manual_seed(0)
    flow = mera.build(name, L=L, layers=1, hidden=(4,), **{"channels": 2} | options).double()
    for parameter in flow.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return flow


@pytest.mark.parametrize(("levels", "shape"), [(1, (8, 12)), (2, (4, 6)), (1, (4, 8))])
def test_means_and_corners_are_kept(levels, shape):
    coarse = torch.randn(3, 2, *shape, dtype=torch.float64)
    factor = 2**levels
    fine = flow_of("wavelet", (16, 24)[: len(shape)] if shape != (4, 8) else (16, 32), m=2).refine(coarse, levels)
    assert fine.shape == (3, 2, *(factor * n for n in shape))
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(fine, factor), coarse)
    corners = flow_of("decimation", (16, 24) if shape != (4, 8) else (8, 16)).refine(coarse, levels)
    torch.testing.assert_close(corners[..., ::factor, ::factor], coarse)


@pytest.mark.parametrize(
    "name", ["rgflow", "wavelet", "decimation", "tree", "rgflow with details", "rgflow with noise"]
)
def test_it_is_the_generation_of_the_whole_flow_from_there_on(name):
    options = {"rgflow with details": {"details": 1}, "rgflow with noise": {"learnt_noise": (4,)}}.get(name, {})
    flow = flow_of(name.partition(" ")[0], 16, **options)
    z = flow.sample_latents(2)
    x, coarse, *_ = flow.progression(z)
    torch.manual_seed(5)
    latents = flow.sample_latents(2)
    expected, _ = flow.inverse((latents[0], *z[1:]))
    torch.manual_seed(5)
    found = flow.refine(coarse / _unit(flow, 1))
    torch.testing.assert_close(found, expected)
    assert found.shape == x.shape
    torch.testing.assert_close(flow.progression(flow(found)[0])[1], coarse)


def test_means_are_found_by_iteration():
    flow = mera.load_pretrained("photographs")
    torch.manual_seed(0)
    coarse = flow.from_images(mera.data.photograph()[None, :, 64:96, 96:128])
    own, found = (flow.refine(coarse, temperature=0.5, means=means) for means in (False, True))
    errors = [(torch.nn.functional.avg_pool2d(x, 2) - coarse).abs().max() / coarse.std() for x in (own, found)]
    assert errors[0] > 0.1
    assert errors[1] < 0.03  # 0.02, and the noise within grey values
    assert flow.refine(coarse[:0], means=True).shape == (0, 3, 64, 64)
    with pytest.warns(UserWarning, match="means of cells differ from the coarse data by up to"):
        mera.load_pretrained("msds1").refine(coarse, means=True)


def test_units_of_block_spins():
    flow = flow_of("rgflow", 16)
    scales = [flow.bijectors[f"block_spins{h}"].log_scale.exp().item() for h in (0, 1)]
    assert _unit(flow, 1) == pytest.approx(2 * scales[0])
    assert _unit(flow, 2) == pytest.approx(4 * math.prod(scales))
    assert _unit(flow_of("decimation", 16), 2) == 1.0


def test_larger_lattices_of_shared_levels():
    flow = flow_of("rgflow", 16, share_levels=True)
    assert flow.refine(torch.randn(1, 2, 24, 16, dtype=torch.float64)).shape == (1, 2, 48, 32)
    assert flow.refine(torch.randn(1, 2, 8, 8, dtype=torch.float64), 2).shape == (1, 2, 32, 32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flow_of("glow", 16).refine(torch.zeros(1, 2, 8, 8)), "coarse lattice has the channels of the data"),
        (
            lambda: flow_of("rgflow", 16).refine(torch.zeros(1, 8, 8)),
            r"data of 2 channels in 2 dimensions, \(B, C, ...\); got \(1, 8, 8\)",
        ),
        (lambda: flow_of("rgflow", 16).refine(torch.zeros(1, 2, 8, 8), 3), "levels than the 3 of the flow; got 3"),
        (lambda: flow_of("branching", 16).refine(torch.zeros(1, 2, 8, 8)), "leave at once; got one of several"),
        (lambda: flow_of("tebd", 16).refine(torch.zeros(1, 2, 8, 8)), "fewer levels than the 1 of the flow; got 1"),
        (lambda: flow_of("rgflow", 16).refine(torch.zeros(1, 2, 7, 8)), r"multiples of \(16, 16\) as edges"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
