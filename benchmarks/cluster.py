"""The cluster algorithm of Swendsen and Wang for the spins of the Ising model (1987, Phys. Rev. Lett. 58, 86).

    python benchmarks/cluster.py --L 16 --chains 16 --draws 2000

It prints energy and m^2 a site with their errors and autocorrelation times, and the time of an independent m^2.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from mera import physics


def sweep(spins: np.ndarray, temperature: float, random: np.random.Generator) -> np.ndarray:
    """One sweep of lattices (K, L, L'): equal neighbours are joined at random, and each cluster gets a new sign."""
    sites = np.arange(spins.size).reshape(spins.shape)
    pairs = []
    for axis in (1, 2):
        joined = (spins == np.roll(spins, -1, axis)) & (random.random(spins.shape) < 1 - np.exp(-2 / temperature))
        pairs.append((sites[joined], np.roll(sites, -1, axis)[joined]))
    first, second = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(spins.size, spins.size))
    clusters, labels = connected_components(graph, directed=False)
    return random.choice(np.array([-1.0, 1.0]), clusters)[labels].reshape(spins.shape)


def sample(shape: tuple[int, int], temperature: float, chains: int, draws: int) -> tuple[dict[str, Tensor], float]:
    """m^2 and energy a site along chains, (draws, K) each, after a tenth of as many draws; and the seconds of all."""
    random, history = np.random.default_rng(0), {"m2": [], "energy": []}
    spins = random.choice(np.array([-1.0, 1.0]), (chains, *shape))
    for number in range(-(draws // 10), draws):
        if number == 0:
            began = time.perf_counter()
        spins = sweep(spins, temperature, random)
        if number >= 0:
            history["m2"].append(spins.mean((1, 2)) ** 2)
            bonds = spins * np.roll(spins, 1, 1) + spins * np.roll(spins, 1, 2)
            history["energy"].append(-bonds.mean((1, 2)))
    return {name: torch.tensor(np.array(values)) for name, values in history.items()}, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=16)
    parser.add_argument("--temperature", type=float, default=physics.CRITICAL_TEMPERATURE)
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--draws", type=int, default=2000)
    options = parser.parse_args()
    history, seconds = sample((options.L, options.L), options.temperature, options.chains, options.draws)
    for name, values in history.items():
        found = physics.gamma_method(values)
        independent = 1e3 * seconds * 2 * found.tau / values.numel()
        mean = physics.Quantity(values.mean().item(), found.error)
        print(
            f"{name} {mean}, tau {found.tau:.3f} +- {found.tau_error:.3f}, {independent:.3g} ms for an independent one"
        )


if __name__ == "__main__":
    main()
