"""The program on the claims of the paper: extents of receptive fields, factors by level, and mixing."""

import runpy
from pathlib import Path

import torch

import mera
from mera import data
from mera.train import fit

PAPER = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "paper_tables.py"))


def halves(n: int, seed: int = 0):
    """Images whose mean brightness and whose fine contrast are independent factors."""
    generator = torch.Generator().manual_seed(seed)
    mean, contrast = (torch.rand(n, generator=generator) for _ in range(2))
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)
    noise = torch.rand(n, 8, 8, generator=generator) * 4
    pixels = 60 + 130 * mean[:, None, None] + 50 * contrast[:, None, None] * board + noise
    return pixels.round().clamp(0, 255).to(torch.uint8)[:, None], {"mean": mean, "contrast": contrast}


def test_coarse_factors_follow_a_and_fine_ones_b():
    """The coarsest level of this flow holds means by construction: a Haar pyramid."""
    torch.manual_seed(0)
    flow = mera.build("wavelet", L=8, channels=1, layers=1, hidden=(16,))
    wavelet = fit(flow, halves(300)[0], steps=60, quiet=True, eval_every=60).flow
    images, factors = halves(300, seed=1)
    table = PAPER["mixing"](wavelet, images, factors)
    levels = len(wavelet.plan.latents)
    assert (table.regressors > 0.9).all()
    one, zero = torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for h, coarse, fine in ((0, one, zero), (levels, zero, one)):  # the image A itself; above all levels, the image B
        torch.testing.assert_close(table.coarse[h], coarse, atol=1e-9, rtol=0)
        torch.testing.assert_close(table.fine[h], fine, atol=1e-9, rtol=0)
    mean, contrast = (table.names.index(name) for name in ("mean", "contrast"))
    assert table.coarse[1, mean] > 0.9 > 0.2 > table.fine[1, mean].abs()
    assert table.fine[1, contrast] > 0.8 > 0.2 > table.coarse[1, contrast].abs()
    images, factors = halves(200, seed=2)  # a class, too, is read off mixed images
    table = PAPER["mixing"](wavelet, images, {"bright": (factors["mean"] > 0.5).long()})
    assert table.regressors[0] > 0.9
    assert table.coarse[1, 0] > 0.85


def test_extents_lie_within_cones():
    flow = mera.build("tebd", L=8, dim=1, m=2, channels=1, layers=1, hidden=(4,))
    _, cone, field, error, *_ = zip(*PAPER["extents_by_level"](flow, 4, 2).rows, strict=True)
    assert all(f <= c + 1e-6 for f, c in zip(field, cone, strict=True))
    assert all(0 <= e < c for e, c in zip(error, cone, strict=True))


def test_scores_of_factors_by_line_and_by_forest():
    """What no line can see, the square of a latent, a forest can."""
    layout = mera.Layout((8,), channels=1)
    coarse, fine = layout.decimate(layout.input)
    layout.latent(fine)
    layout.latent(coarse)
    x = torch.randn(500, 1, 8)
    flow = mera.Flow(layout, prior="gaussian")
    table = PAPER["scores_by_level"](flow, x, {"square": x[:, 0, 1] ** 2})
    assert table.header == ["", "square", "square, shuffled", "square, forest"]
    (_, fine, shuffled, forest), _ = table.rows
    assert max(fine, shuffled) < 0.1
    assert forest > 0.7


def test_factors_of_msds_are_what_cells_share_and_where_they_differ():
    for name, shared in (("msds1", "global color"), ("msds2", "global angle")):
        test = data.load(name, train_size=1, test_size=50).test
        found = PAPER["msds_factors"](test.labels)
        assert next(iter(found)) == shared
        assert all(len(value) == 50 for value in found.values())
    assert found["angle of a cell"].min() >= 0
    assert found["angle of a cell"].max() <= 45
    assert torch.allclose(found["global angle"].norm(dim=1), torch.ones(50))
