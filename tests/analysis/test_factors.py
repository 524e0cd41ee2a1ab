"""Scores of disentanglement on cases whose value is known."""

import numpy as np
import pytest
import torch

import mera
from mera import analysis
from mera.analysis.scores import dci, mig, sap

RANDOM = np.random.default_rng(0)
N = 4000
FACTORS = RANDOM.uniform(-1, 1, (N, 3))


def noisy(columns):
    """Latents: some columns, and noise beside them."""
    return np.concatenate([columns, RANDOM.normal(size=(N, 5))], axis=1)


def test_a_permuted_identity_is_perfect():
    z = noisy(FACTORS[:, [2, 0, 1]])
    assert mig(z, FACTORS) == pytest.approx(1, abs=0.03)
    assert sap(z, FACTORS) == pytest.approx(1, abs=0.01)
    assert dci(np.eye(5)[:, [3, 1]]) == (1.0, 1.0)


def test_noise_is_chance():
    z = RANDOM.normal(size=(N, 8))
    assert mig(z, FACTORS) == pytest.approx(0, abs=0.01)
    assert sap(z, FACTORS) == pytest.approx(0, abs=0.01)
    assert all(np.isnan(dci(np.zeros((4, 2)))))


def test_known_mixtures():
    angle = np.pi / 6
    turned = FACTORS[:, :2] @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # R^2 of a factor is cos^2 in one latent, sin^2 in the other
    assert sap(turned, FACTORS[:, :2]) == pytest.approx(np.cos(angle) ** 2 - np.sin(angle) ** 2, abs=0.05)
    assert sap(np.stack([FACTORS[:, 0]] * 2, axis=1), FACTORS[:, :1]) == pytest.approx(0, abs=1e-9)
    assert mig(np.stack([FACTORS[:, 0]] * 2, axis=1), FACTORS[:, :1]) == pytest.approx(0, abs=1e-9)
    classes = (FACTORS[:, :1] > 0).astype(int)
    # a latent that agrees with a fair coin in 3 of 4 cases: ln 2 - H(1/4) of ln 2
    flipped = np.where(RANDOM.uniform(size=(N, 1)) < 0.25, 1 - classes, classes)
    expected = 1 + (0.25 * np.log(0.25) + 0.75 * np.log(0.75)) / np.log(2)
    assert mig(noisy(flipped), classes) == pytest.approx(expected, abs=0.02)
    half = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 0.0]])  # two latents know both factors, one a single factor
    disentanglement, completeness = dci(half)
    assert disentanglement == pytest.approx(2 / 6)
    one = 1 - (1.5 * np.log(2)) / np.log(3)  # of (1/4, 1/4, 1/2)
    other = 1 - np.log(2) / np.log(3)  # of (1/2, 1/2, 0)
    assert completeness == pytest.approx((one + other) / 2)


def identity_flow():
    """A flow whose fine latents are the odd sites, and whose coarse latents are the even ones."""
    layout = mera.Layout((8,), channels=1)
    coarse, fine = layout.decimate(layout.input)
    layout.latent(fine)
    layout.latent(coarse)
    return mera.Flow(layout, prior="gaussian")


def test_a_flow_that_is_the_identity():
    x = torch.randn(800, 1, 8)
    kind = (x[:, 0, 3] > 0).long()
    known = {"even": x[:, 0, 4], "pair": x[:, 0, [0, 2]].numpy(), "class": kind, "square": x[:, 0, 1] ** 2}
    table = analysis.factors(identity_flow(), x, known)
    assert table.names == ("even", "pair", "class", "square")
    fine, coarse = table.scores
    assert coarse[:2].tolist() == pytest.approx([1, 1], abs=0.01)
    assert fine[2] > 0.9
    assert fine[:2].abs().max() < 0.1
    assert coarse[2] == pytest.approx(0.5, abs=0.1)  # a balanced accuracy
    assert fine[3] < 0.1  # what no line can see, a forest can
    assert table.nonlinear[0, 3] > 0.7
    alone = analysis.factors(identity_flow(), x, {"a": x[:, 0, 4], "b": x[:, 0, 2]})
    assert (alone.dci[1] > 0.85).all()
    assert alone.mig[1] > 0.7 > 0.1 > alone.mig[0]
    assert alone.sap[1] > 0.95


@pytest.mark.parametrize(
    ("images", "factors", "message"),
    [
        (torch.randn(30, 1, 8), {"a": torch.zeros(29)}, "Expected the factor 'a' as numbers .30,. or .30, k.; got"),
        (torch.randn(30, 1, 8), {"a": np.array(["x"] * 30)}, "Expected the factor 'a' as numbers"),
        (torch.randn(5, 1, 8), {"a": torch.arange(5)}, "Expected at least 20 images; got 5"),
        (torch.randn(30, 1, 8), {"a": torch.ones(30)}, "two values or more; got 1.0 for all images"),
        (torch.randn(30, 1, 8), {}, "Expected a factor; got none"),
    ],
)
def test_what_are_no_factors(images, factors, message):
    with pytest.raises(ValueError, match=message):
        analysis.factors(identity_flow(), images, factors)


def test_images_in_the_order_of_their_classes():
    """Both halves have all classes; a factor that is constant in half of the images or not finite is refused."""
    flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), prior="gaussian")
    classes = torch.arange(400) // 100
    x = torch.randn(400, 1, 4, 4) + 3 * classes[:, None, None, None]
    assert analysis.factors(flow, x, {"class": classes}).scores[-1, 0] > 0.9
    images = (40 + 50 * classes[:, None, None, None] + torch.randint(0, 30, x.shape)).to(torch.uint8)
    assert analysis.mixing(flow, images, {"class": classes}).regressors.min() > 0.9
    with pytest.raises(ValueError, match="two classes or more among half"):
        analysis.factors(flow, x, {"class": (torch.arange(400) == 7).long()})
    with pytest.raises(ValueError, match="as finite numbers"):
        analysis.factors(flow, x, {"class": torch.full((400,), torch.nan)})
