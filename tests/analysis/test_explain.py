"""The tables of `mera explain`, and those of the program on the claims of the paper."""

import json
import runpy
from pathlib import Path

import pytest
import torch

import mera
from mera import data
from mera.data import ArrayDataset
from mera.train import fit
from tests.helpers.command import run, succeed

PAPER = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "paper_tables.py"))


def test_factors_of_msds_are_what_cells_share_and_where_they_differ():
    for name, shared in (("msds1", "global color"), ("msds2", "global angle")):
        test = data.load(name, train_size=1, test_size=50).test
        found = data.factors(test)
        assert next(iter(found)) == shared
        assert all(len(value) == 50 for value in found.values())
    assert found["angle of a cell"].min() >= 0
    assert found["angle of a cell"].max() <= 45
    assert torch.allclose(found["global angle"].norm(dim=1), torch.ones(50))


@pytest.mark.slow
def test_runs_of_different_tables():
    result = run("explain", "msds1", "msds2", "--only", "factors", "--images", 60)
    assert "Expected runs of one lattice and one data set" in str(result.exception)


def test_labels_of_one_row_are_factors():
    images = torch.zeros(6, 1, 4, 4, dtype=torch.uint8)
    labels = {"class": torch.arange(6), "w": torch.ones(6, 3)}
    others = {"context": torch.zeros(6, 2), "map": torch.zeros(6, 4, 4)}
    assert list(data.factors(ArrayDataset(images, labels | others))) == ["class", "w"]
    assert list(data.factors(ArrayDataset(images, labels, {"mine": torch.ones(6)}))) == ["mine"]


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
    cone, field, error, *_ = zip(*PAPER["extents_by_level"](flow, 4, 2).values, strict=True)
    assert all(f <= c + 1e-6 for f, c in zip(field, cone, strict=True))
    assert all(0 <= e < c for e, c in zip(error, cone, strict=True))


@pytest.mark.usefixtures("quick")
def test_the_command_prints_tables_and_standard_errors(tmp_path):
    learn = "train rgflow --L 8 --layers 1 --hidden 8 --data msds1 --steps 2"
    runs = [tmp_path / seed for seed in "01"]
    for path in runs:
        succeed(*learn.split(), "--data-options", "train_size=20 test_size=80", "--seed", path.name, "--out", path)
    one = succeed("explain", runs[0], "--images", 80, "--only", "factors")
    assert "known factors that each level predicts" in one.output
    assert "±" not in one.output
    assert "±" in succeed("explain", *runs, "--images", 80, "--only", "bits").output
    tables = json.loads(run("explain", runs[0], "--images", 80, "--json").stdout.strip().splitlines()[-1])[0]["tables"]
    assert [table["name"] for table in tables] == ["bits", "latents", "strengths", "factors"]
    assert tables[0]["columns"][0] == "bits/dim"
