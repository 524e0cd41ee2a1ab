"""Bayes' rule with the densities of classes: known posteriors, labels, and what is refused."""

import math

import pytest
import torch

import mera
from mera.analysis import classify
from mera.data import ArrayDataset
from tests.helpers.laws import randomize


@pytest.fixture
def flow():
    return randomize(mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), classes=3), 0.2).double()


def test_log_densities_are_those_of_the_flow_for_each_class(flow):
    x = torch.randn(7, 1, 4, 4, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    prior = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    found = classify(flow, ArrayDataset(x, labels), prior=prior)
    with torch.no_grad():
        expected = torch.stack([flow.log_prob(x, torch.full((7,), c)) for c in range(3)], 1)
    assert torch.allclose(found.log_prob, expected)
    weights = (expected - expected.amax(1, keepdim=True)).exp() * prior
    assert torch.allclose(found.posterior, weights / weights.sum(1, keepdim=True))
    assert found.accuracy == (weights.argmax(1) == labels).double().mean()
    assert classify(flow, ArrayDataset(x, labels), 3).labels.tolist() == [0, 2, 1]  # rows 0, 2, 4


def test_images_have_the_same_noise_for_all_classes(flow):
    """So that a flow whose classes are alike has equal densities."""
    with torch.no_grad():
        for parameter in flow.context_encoder.parameters():
            parameter.zero_()
    images = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    found = classify(flow, ArrayDataset(images))
    assert torch.allclose(found.posterior, torch.full((5, 3), 1 / 3, dtype=torch.float64))
    assert found.labels is None
    assert math.isnan(found.accuracy)
    bits = flow.bits_per_dim(images, torch.zeros(5, dtype=torch.long))
    assert (found.log_prob[:, 0] / -(16 * math.log(2)) - bits).abs().max() < 1  # another noise


def test_a_table_names_classes_and_mistakes():
    log_prob = torch.tensor([[0.0, -1.0], [0.0, -1.0], [-1.0, 0.0], [0.0, -3.0]], dtype=torch.float64)
    found = mera.analysis.Classes(log_prob, torch.tensor([0, 0, 1, 1]), torch.tensor([0.5, 0.5]), ("cat", "dog"))
    assert found.table.rows == [["cat", 2, "100.0%", ""], ["dog", 2, "50.0%", "cat (1 wrong)"]]
    assert found.accuracy == 0.75
    assert found.error == pytest.approx(math.sqrt(4 / 6 * 2 / 6 / 6))
    assert "accuracy by Bayes' rule: 0.750 ± 0.192 on 4 examples" in repr(found)


@pytest.mark.parametrize("prior", [(0.5, 0.5), (0.5, 0.6, 0.3), (1.5, -0.5, 0.0)])
def test_a_prior_is_one_of_probabilities(flow, prior):
    with pytest.raises(ValueError, match="3 probabilities of classes, whose sum is 1"):
        classify(flow, ArrayDataset(torch.randn(2, 1, 4, 4)), prior=prior)


def test_other_flows_are_refused(flow):
    for other in (mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,)), flow.given(1)):
        with pytest.raises(ValueError, match="a flow that is conditional on classes"):
            classify(other, ArrayDataset(torch.randn(2, 1, 4, 4)))
