"""Scores of known factors on cases whose value is known."""

import pytest
import torch

import mera
from mera import analysis


def test_a_flow_that_is_the_identity():
    """Its fine latents are the odd sites, and its coarse latents are the even ones."""
    layout = mera.Layout((8,), channels=1)
    coarse, fine = layout.decimate(layout.input)
    layout.latent(fine)
    layout.latent(coarse)
    x = torch.randn(800, 1, 8)
    kind = (x[:, 0, 3] > 0).long()
    known = {"even": x[:, 0, 4], "pair": x[:, 0, [0, 2]].numpy(), "class": kind}
    table = analysis.factors(mera.Flow(layout, prior="gaussian"), x, known)
    assert table.names == ("even", "pair", "class")
    fine, coarse = table.scores
    assert coarse[:2].tolist() == pytest.approx([1, 1], abs=0.01)
    assert fine[2] > 0.9
    assert fine[:2].abs().max() < 0.1
    assert coarse[2] == pytest.approx(0.5, abs=0.1)  # a balanced accuracy
    assert table.shuffled[:, :2].max() < 0.1
    assert table.shuffled[:, 2].tolist() == pytest.approx([0.5, 0.5], abs=0.1)


def test_images_in_the_order_of_their_classes():
    """Both halves have all classes; a factor that is constant in half of the images or not finite is refused."""
    flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), prior="gaussian")
    classes = torch.arange(400) // 100
    x = torch.randn(400, 1, 4, 4) + 3 * classes[:, None, None, None]
    assert analysis.factors(flow, x, {"class": classes}).scores[-1, 0] > 0.9
    with pytest.raises(ValueError, match="two classes or more among half"):
        analysis.factors(flow, x, {"class": (torch.arange(400) == 7).long()})
    with pytest.raises(ValueError, match="as finite numbers"):
        analysis.factors(flow, x, {"class": torch.full((400,), torch.nan)})
    with pytest.raises(ValueError, match="Expected images as a tensor; got NoneType"):
        analysis.factors(flow, None, {"class": classes})
