r"""Annealed sequential Monte Carlo: :math:`e^{-S} / Z` and :math:`\ln Z` from a Gaussian, without a flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.progress import ProgressBar, check_console
from mera._utils.random import fixed_seed
from mera.physics.action import ActionLike
from mera.physics.estimate import Estimate
from mera.physics.observables import Observables, periodic_axes
from mera.physics.sampler import Draw, Options, Sampler, run
from mera.physics.target import SNAPSHOTS, Target
from mera.sampling import annealing
from mera.sampling.hamiltonian import HamiltonianChains, StepSize

if TYPE_CHECKING:
    from rich.console import Console

PILOT_SURVIVORS = 0.9
"""The effective number of a stage's weights in the pilot population, as a fraction of its particles."""
FIRST_STEP, LEAPFROG = 0.5, 12
"""The first step of a trajectory in units of the start, and the largest number of leapfrog steps in one."""
TUNED = 4
"""How many times the moves of a stage the pilot population makes, to tune the step."""
START_CHAINS = 256
"""The most chains from whose fields the variances of the start are taken."""
RELAXING, LOOKS = 24, 4
"""The fewest trajectories of a particle in the run that follows the annealing, which has half as many as the annealing
has; and the number of times in the second half of that run at which averages are taken."""


@torch.no_grad()
def anneal(
    action: ActionLike | Target,
    shape: Sequence[int],
    *,
    particles: int = 256,
    moves: int = 4,
    populations: int = 8,
    **options: Unpack[Options],
) -> Estimate:
    r"""Sample :math:`e^{-S} / Z`, and estimate :math:`\ln Z`, by annealed sequential Monte Carlo.

    Particles start from a Gaussian g, uniform of angles, and pass through stages :math:`g^{1 - \beta} e^{-\beta S}`. In
    a stage they are weighted, resampled, and moved by Hamiltonian Monte Carlo (Del Moral, Doucet and Jasra 2006,
    https://doi.org/10.1111/j.1467-9868.2006.00553.x). A pilot population, the same for all seeds, chooses the stages
    and the steps; both are then fixed, so that the mean of Z over populations is unbiased. Slow modes that lag behind
    in all populations do not show in their spread; therefore a short run from the final particles must not change
    averages.

    Args:
        action: the action S, differentiable, from fields (B, C, *shape) to (B,); or its `Target`.
        shape: the shape (C, *shape) of a field.
        particles: the number of particles in a population.
        moves: the number of trajectories of each particle in a stage.
        populations: the number of independent populations, at least 4; errors come from their spread, by Student's t.
        **options: `observables`, `every` (1 by default), `out`, `resume` and `console`; see `Options`.

    Returns:
        The estimate, whose fields are the particles, population by population; each has the log-weight ln Z of its
        population. The mean of the weights of all particles is the estimate of Z.

    Raises:
        ValueError: if an argument is invalid, the action lacks a property that it declares, or stages do not reach it.
        FloatingPointError: if the action or its gradient is not finite.

    >>> from mera import physics
    >>> action = physics.FreeField(mass2=1.25)
    >>> result = physics.anneal(action, (1, 8, 8), particles=64)
    >>> abs(result.log_z - action.log_z((8, 8))) < 5 * result.log_z_error
    True
    """
    particles = check_count(particles, "particles", 8)
    moves = check_count(moves, "moves")
    populations = check_count(populations, "populations", 4)
    sampler = Populations(Target.of(shape, action), particles, moves, populations, options.get("console"))
    facts = {"particles": particles, "moves": moves, "populations": populations}
    kept: Any = {"every": 1, **options}
    return run(sampler, facts, populations * particles, **kept)[0]


class Populations(Sampler):
    """Populations of particles on their way from the start to the target; a call makes one stage of all.

    The schedule has beta, the step and the number of moves of each stage, found by the pilot population. Its last
    stages, at beta = 1, are the run that follows the annealing. Draws come at the end.
    """

    name, independent = "annealing", True
    state_names = (
        "_chains.x", "_chains.values", "_chains.gradients", "_log_z", "_stage", "_rate", "_looks", "_annealed",
    )  # fmt: skip

    def __init__(self, target: Target, particles: int, moves: int, populations: int, console: Console | None) -> None:
        self.targets, self._sizes = [target], (populations, particles)
        pilot = ProgressBar("pilot population", check_console(console), "stage", at_once=True)
        with pilot, fixed_seed(0):  # so that a measurement is resumed with the same stages
            self._start = _Start(target)
            terms = self._start.log_start, self._start.log_target
            _, schedule = annealing.anneal(
                *terms, self._start.draw(particles), StepSize(FIRST_STEP), survivors=PILOT_SURVIVORS,
                moves=TUNED * moves, leapfrog=LEAPFROG, show=pilot.update,
            )  # fmt: skip
        n = max(RELAXING, moves * len(schedule) // 2) // (2 * LOOKS)
        relaxing = [(1.0, schedule[-1][1], n)] * (2 * LOOKS)
        self._schedule = [(beta, step, moves) for beta, step in schedule] + relaxing
        self._chains = HamiltonianChains(terms, self._start.draw(populations * particles))
        self._stage, self._log_z, self._rate = 0, torch.zeros(populations, dtype=torch.float64), 0.0
        self._looks, self._annealed = self._log_z[:0], target.like  # nothing yet

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Make a stage of all populations."""
        (populations, particles), action = self._sizes, self.targets[0].action
        start, chains = self._start, self._chains
        beta, step, moves = self._schedule[self._stage]
        change = beta - (self._schedule[self._stage - 1][0] if self._stage else 0.0)
        weights = change * (chains.values[1] - chains.values[0]).unflatten(0, (populations, particles)).double()
        self._log_z += (weights.logsumexp(1) - math.log(particles)).cpu()
        parents = annealing.systematic(weights.softmax(1)).cpu() + particles * torch.arange(populations)[:, None]
        chains.take(parents.flatten().to(chains.x.device))
        self._rate += annealing.move(chains, beta, StepSize(step), moves, LEAPFROG) / len(self._schedule)
        if action.is_even:
            chains.mirror()
        self._stage += 1
        self.progress = self._stage / len(self._schedule)
        fields, left = start.to_fields(chains.x).contiguous(), len(self._schedule) - self._stage
        if left == 2 * LOOKS:
            self._annealed = fields
        if left < LOOKS:
            look = Observables(action).measure_parts(fields.split(particles))
            names = [name for name in look if name != "correlator"]
            self._looks = torch.cat([self._looks, torch.stack([look[name] for name in names])[None]])
        if left:
            return []
        self.witness = dict(zip(names, self._looks.mean(0), strict=True))
        log_weights = (self._log_z + start.log_z).repeat_interleave(particles)
        parts = zip(self._annealed.split(particles), log_weights.split(particles), strict=True)
        return [Draw(fields, self._rate, action(fields), log_weight) for fields, log_weight in parts]


class _Start:
    """The density from which particles start: unit Gaussian noise in Fourier modes, or uniform angles.

    Along periodic directions, modes have the second moments of a short run of Hamiltonian Monte Carlo, along open ones
    sites have them.

    Attributes:
        log_z: the logarithm of the volume element of fields by positions, and of the integral of the start over
            positions.
    """

    def __init__(self, target: Target) -> None:
        self.target, n = target, math.prod(target.shape)
        self._axes = tuple(periodic_axes(target.action.periodic, len(target.shape) - 1))
        self._scale, self.log_z = None, n * math.log(2 * math.pi)
        if not target.action.is_compact:
            fields = target.short_run(target.starts(min(START_CHAINS, max(16, 2**18 // n))), SNAPSHOTS)
            variance = torch.fft.fftn(fields, dim=self._axes, norm="ortho").abs().square().mean(0)
            for axis in self._axes:  # modes k and -k along each axis alike, whose noise is then smaller
                variance = (variance + variance.flip(axis - 1).roll(1, axis - 1)) / 2
            self._scale = variance.sqrt()
            self.log_z = self._scale.log().sum().item() + n / 2 * math.log(2 * math.pi)

    def draw(self, n: int) -> Tensor:
        """Positions of n particles, (n, C, *shape)."""
        size, like = (n, *self.target.shape), self.target.like
        if self._scale is None:
            return (math.pi * (2 * torch.rand(size, dtype=torch.float64) - 1)).to(like)
        return torch.randn(size, dtype=torch.float64).to(like)

    def to_fields(self, x: Tensor) -> Tensor:
        """The fields of positions, (n, C, *shape)."""
        if self._scale is None:
            return self.target.in_domain(x)
        return torch.fft.ifftn(torch.fft.fftn(x, dim=self._axes) * self._scale, dim=self._axes).real

    def log_start(self, x: Tensor) -> Tensor:
        """The log-density of the start, up to a constant, (n,)."""
        return x.new_zeros(len(x)) if self._scale is None else -x.square().flatten(1).sum(1) / 2

    def log_target(self, x: Tensor) -> Tensor:
        """The log-density of the action, up to a constant, (n,)."""
        return self.target.log_prob(self.to_fields(x))
