"""The program on the mutual information of latents: no bias, distances on the tree, samples."""

import math
import runpy
from itertools import product
from pathlib import Path

import networkx as nx
import pytest
import torch

import mera

PROGRAM = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "latent_information.py"))
information_of_bins, rank_bins = PROGRAM["information_of_bins"], PROGRAM["rank_bins"]


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mutual_information(a, b, bins=8):
    return information_of_bins(rank_bins(a, bins), rank_bins(b, bins), bins)


@pytest.mark.parametrize(("n", "bins"), [(37, 8), (100, 8), (1000, 5)])
def test_information_of_independent_variables_is_zero_on_average(n, bins):
    found = mutual_information(draws(n, 2000), draws(n, 2000, seed=1), bins)
    error = found.std() / len(found) ** 0.5
    assert found.mean().abs() < 4 * error
    assert PROGRAM["independent_mean"](n, bins) > 30 * error  # without the correction the test would see it


def test_information_of_gaussian_pairs():
    r = 0.5
    x = draws(20_000, 50)
    y = r * x + math.sqrt(1 - r**2) * draws(20_000, 50, seed=1)
    exact = -0.5 * math.log(1 - r**2)
    found = [mutual_information(x, y, bins).mean().item() for bins in (8, 32)]
    assert found[0] < found[1] < exact  # bins hide a part
    assert found[1] == pytest.approx(exact, rel=0.03)
    assert mutual_information(x, x.exp(), 8).min() == pytest.approx(math.log(8), abs=0.01)


def test_tree_distances_are_those_of_a_graph():
    lattices = [(8, 4), (4, 2), (4, 2), (2, 1)]
    tree = nx.Graph()
    places = [(h, *site) for h, shape in enumerate(lattices) for site in product(*map(range, shape))]
    for h, *site in places:
        above = lattices[h + 1] if h + 1 < len(lattices) else None
        parent = "root"
        if above is not None:
            parent = (h + 1, *(s * a // n for s, a, n in zip(site, above, lattices[h], strict=True)))
        tree.add_edge((h, *site), parent)
    exact = dict(nx.all_pairs_shortest_path_length(tree))
    pairs = list(product(places, places))
    a, b = (torch.tensor([pair[i] for pair in pairs]) for i in (0, 1))
    found = PROGRAM["tree_distance"](a[:, 0], a[:, 1:], b[:, 0], b[:, 1:], lattices)
    assert found.tolist() == [exact[p][q] for p, q in pairs]


@pytest.fixture(scope="module")
def flow():
    torch.manual_seed(0)
    return mera.build("rgflow", L=16, m=4, channels=1, hidden=(8,))


def information(flow, x, pairs, seed=0):
    """Mutual information by level, (levels, levels) with its error; and by distance on the tree."""
    torch.manual_seed(seed)
    bins = PROGRAM["bins_of_latents"](flow, x)
    by_level = PROGRAM["information_by_level"](flow.plan, bins, pairs).unbind(-1)
    return *by_level, PROGRAM["information_by_distance"](flow.plan, bins, pairs)


def test_latents_of_samples_are_those_of_the_prior(flow):
    x = flow.sample(3000)
    between, error, (_, means, errors) = information(flow, x, 500)
    assert (between.abs() < 5 * error).all()
    assert (means.abs() < 5 * errors).all()


def test_planted_dependence_is_found_where_it_is(flow):
    z = list(flow.sample_latents(2000))
    z[1] = z[1].clone()
    z[1][:, 1] = z[1][:, 0]  # two channels of level 1 are equal, at each site
    x = flow.inverse(tuple(z))[0]
    found, error, (distances, means, _) = information(flow, x, 2000)
    expected = 16 / (48 * 47 / 2) * math.log(8)  # 16 of the pairs of this level are equal
    assert (found[1, 1] - expected).abs() < 4 * error[1, 1]
    assert found[1, 1] > 0.01
    assert found[0, 0].abs() < 5 * error[0, 0]
    assert means[distances == 0] > 0.02  # they share a site
    assert torch.equal(found, information(flow, x, 2000)[0])


def test_errors_count_each_pair_once():
    """The spread of the mean over data sets is near the error that a single data set gives."""
    torch.manual_seed(0)
    flow = mera.build("tree", L=8, m=2, channels=1, layers=1, hidden=(4,))
    found = [information(flow, flow.sample(200), 2000, seed) for seed in range(8)]
    coarse, claimed = (torch.stack([pair[part][-1, -1] for pair in found]) for part in (0, 1))
    assert 0.3 < coarse.std() / claimed.mean() < 3
