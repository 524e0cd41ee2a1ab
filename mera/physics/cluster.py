"""Cluster updates of Ising spins that an action embeds, all clusters at once.

Swendsen and Wang 1987, Phys. Rev. Lett. 58, 86; spins embedded in other fields, Wolff 1989, Phys. Rev. Lett. 62, 361.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from mera.physics.action import ActionLike, by_direction
from mera.physics.estimate import Estimate
from mera.physics.sampler import Draw, Options, Sampler, check_chains, run
from mera.physics.target import Target
from mera.sampling.hamiltonian import Trajectories


@torch.no_grad()
def cluster(
    action: ActionLike | Target,
    shape: Sequence[int],
    *,
    chains: int = 16,
    draws: int = 1000,
    warmup: int = 100,
    **options: Unpack[Options],
) -> Estimate:
    """Sample :math:`e^{-S} / Z` by cluster updates, for `Ising`, `XY`, `ON`, `Phi4` and actions with a method `embed`.

    In a draw, equal signs of neighbouring components c are joined with the probability
    :math:`1 - e^{-2 c(x) c(x + e)}`, and each cluster takes a new sign at random. Where signs do not reach all fields,
    as in `ON` and `Phi4`, whose lengths they keep, each draw also has a trajectory of Hamiltonian Monte Carlo.

    Args:
        action: the action S with a method `embed`; or its `Target`.
        shape: the shape (C, *shape) of a field.
        chains: the number of chains.
        draws: the number of measured draws of each chain.
        warmup: the number of draws before the measurement.
        **options: `observables`, `every`, `out`, `resume` and `console`; see `Options`.

    Raises:
        ValueError: if an argument is invalid, or the action embeds no spins.

    >>> from mera import physics
    >>> chain = physics.cluster(physics.Ising(temperature=2.5), (1, 8, 8), draws=50, warmup=20)
    >>> chain.history["m2"].shape
    torch.Size([50, 16])
    """
    chains, draws, warmup = check_chains(chains, draws, warmup)
    target = Target.of(shape, action)
    sampler = Clusters(target, target.starts(chains), warmup)
    facts: dict[str, Any] = {"chains": chains, "random_signs": target.action.is_even}
    return run(sampler, facts, draws, warmup, **options)[0]


class Clusters(Sampler):
    """Chains of cluster updates, with trajectories where signs do not reach all fields."""

    name = "cluster"

    def __init__(self, target: Target, fields: Tensor, warmup: int) -> None:
        self.targets, self.fields, self.state_names = [target], fields, ["fields"]
        target.action.embed(fields)  # refuses other actions
        self._moves = None
        if not target.action.clusters_suffice:
            self._moves = Trajectories(target.log_prob, fields, warmup=warmup)
            self.state_names += [f"_moves.{name}" for name in self._moves.state_names]

    def advance(self, tune: bool = False, left: int = 1) -> float:
        """Change the signs of clusters; run a trajectory where signs do not reach all fields, and return its rate."""
        target, rate = self.targets[0], 1.0
        components, fields = target.action.embed(self.fields)
        signs = cluster_signs(components, by_direction(target.action.periodic, self.fields.ndim - 2))
        self.fields = fields(signs)
        if (moves := self._moves) is not None:
            moves.move_to(self.fields)
            rate = moves.advance(tune, left)
            self.fields = moves.fields
        return rate

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Change the signs of clusters, and run a trajectory where signs do not reach all fields."""
        rate = self.advance(tune, most)
        return [Draw(self.fields, rate, self.targets[0].action(self.fields))]


def cluster_signs(components: Tensor, periodic: Sequence[bool]) -> Tensor:
    """A random sign of each cluster of components (B, *shape), at its sites, (B, *shape).

    Neighbours are joined with the probability 1 - exp(-2 c c'), where that is positive; across a border only in the
    directions that are `periodic`.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    sites = torch.arange(components.numel()).view(components.shape)
    pairs = []
    for axis, is_periodic in enumerate(periodic, start=1):
        product = (components * components.roll(-1, axis)).double().cpu()
        is_joined = torch.rand(product.shape, dtype=torch.float64) < -torch.expm1(-2 * product)
        if not is_periodic:
            is_joined.select(axis, -1).fill_(False)
        pairs.append(torch.stack([sites[is_joined], sites.roll(-1, axis)[is_joined]]))
    first, second = torch.cat(pairs, 1).numpy()
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(sites.flatten()),) * 2)
    number, labels = connected_components(graph, directed=False)
    signs = 1.0 - 2 * torch.randint(2, (number,))
    return signs[torch.from_numpy(labels).long()].view(components.shape).to(components)
