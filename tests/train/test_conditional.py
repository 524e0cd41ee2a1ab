"""Training on labelled images: from the command line, from Python, interrupted or not."""

import pytest
import torch

import mera
import mera.train
from mera import data
from mera.data import ArrayDataset, DataSplits
from mera.train import Settings, example_losses, fit, sample
from mera.train.health import first_not_finite
from mera.train.likelihoods import likelihood
from tests.helpers.command import SMALL, run, succeed

HOLE = ["--test", 1, "--region", "1:2,1:2"]


def bright_or_dark(n, seed):
    """Grey 8 x 8 noise around 60 or around 200, which is the class."""
    label = torch.arange(n) % 2
    noise = torch.randint(-30, 30, (n, 1, 8, 8), generator=torch.Generator().manual_seed(seed))
    pixels = (60 + 140 * label.view(-1, 1, 1, 1) + noise).byte()
    return ArrayDataset(pixels, {"class": label, "context": label.float()[:, None]})


@data.register("bright-or-dark")
def _load(L, root, download, test_size=20):
    parts = bright_or_dark(80, 0), bright_or_dark(test_size, 1)
    return DataSplits("bright-or-dark", 1, *parts, classes=("dark", "bright"))


IMAGES = data.load("bright-or-dark", L=8)


def test_a_conditional_flow_learns_the_classes():
    torch.manual_seed(1)
    flow = mera.build("rgflow", L=8, channels=1, layers=1, hidden=(16,), classes=2)
    result = fit(flow, IMAGES, Settings(steps=150, batch_size=40, eval_every=150))
    assert result.test_loss == example_losses(flow, IMAGES.test, 20).mean().item()
    by_sevens = example_losses(flow, IMAGES.test, 20, batch_size=7).mean().item()
    assert result.test_loss == pytest.approx(by_sevens, abs=1e-5)
    for label in (0, 1):
        of_class = flow.to_images(flow.sample(50, torch.tensor([label]))).float()
        assert abs(of_class.mean() - (60 + 140 * label)) < 25
    wrong = ArrayDataset(IMAGES.test.array, {"class": 1 - IMAGES.test.labels["class"]})
    assert example_losses(flow, wrong).mean().item() > result.test_loss + 0.5
    in_turn = flow.to_images(sample(flow, 6, temperature=0.5)).float().flatten(1).mean(1)
    assert (in_turn > 130).tolist() == [False, True] * 3


def test_an_own_loss_of_a_flow_with_contexts_shows_samples(tmp_path):
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), prior="gaussian", context=2)
    x, labels = torch.randn(64, 1, 4, 4), torch.randn(64, 2)
    result = fit(
        flow, x, labels=labels, steps=2, eval_every=1, run=tmp_path, loss=lambda flow, batch: -flow.log_prob(*batch)
    )
    assert result.unit == "loss"
    assert len(list((tmp_path / "samples").iterdir())) == 2


def test_what_is_not_finite_is_found_in_a_conditional_flow():
    flow = mera.build("rgflow", L=8, channels=1, layers=1, hidden=(8,), classes=2)
    with torch.no_grad():
        next(flow.bijectors["decimator0"].parameters()).fill_(torch.nan)
    objective = likelihood(flow, IMAGES.test)
    found = first_not_finite(flow, objective, objective.batch(0, 1, range(20)))
    assert found == "the output of node 'decimator0' at level 0"


def test_the_command_line(tmp_path):
    out = tmp_path / "run"
    options = ["--data", "bright-or-dark", "--data-options", "test_size=130", "--conditional", "--out", out]
    succeed("train", "rgflow", *SMALL, "--transform", "spline(bins=3)", "--steps", 2, *options)
    flow = mera.load(out)
    assert (flow.context_encoder.classes, flow.plan.context) == (2, (16,))
    assert flow.recipe.options["transform"] == "spline(bins=3)"
    succeed("evaluate", out)
    for classes in ("1,0", "bright,0"):
        succeed("sample", out, "--n", 3, "--classes", classes)
    succeed("train", "--resume", out)
    one_of = "Expected a class from 0 to 1, or one of dark, bright; got"
    for command, message in (
        (["inpaint", out, *HOLE, "--class", "darc"], f"{one_of} 'darc'"),
        (["inpaint", out, *HOLE, "--class", "0,1"], "Expected one class; got '0,1'"),
        (["sample", out, "--classes", "2"], f"{one_of} '2'"),
    ):
        assert message in str(run(*command).exception)
    splits = ["--data", "msds1", "--data-options", "train_size=4 test_size=4"]
    result = run("train", "rgflow", *SMALL, *splits, "--conditional", "--out", tmp_path / "no")
    assert "Expected examples with labels 'class'; got" in str(result.exception)
