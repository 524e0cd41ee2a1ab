r"""Annealed sequential Monte Carlo: :math:`e^{-S} / Z` and :math:`\ln Z` from a Gaussian, without a flow."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.installation import tune_allocator
from mera._utils.progress import ProgressBar, check_console
from mera._utils.table import Table
from mera.physics.action import Action, ActionLike
from mera.physics.check_target import check_target, event_shape_of
from mera.physics.measured import Measured, WeightedAverage, student, summary
from mera.physics.observables import ROUGH_BELOW, Observables, Quantity, lattice_facts, periodic_axes
from mera.physics.trajectories import SNAPSHOTS, in_domain, short_run, starts
from mera.sampling import annealing
from mera.sampling.diagnostics import ROUNDING
from mera.sampling.hamiltonian import HamiltonianChains, StepSize
from mera.sampling.verdict import Trust, Verdict, least_trusted

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
CHANCE = 0.005
"""The probability with which chance alone makes the verdict doubt an average."""
MEANINGLESS_FROM, ROUGH_FROM = 1.0, 0.2
"""The spread of ln Z over populations, in nats, from which errors mean nothing, and from which they are rough."""


@dataclass(frozen=True, repr=False, kw_only=True)
class Annealed(Measured):
    r"""The particles of several independent populations, population by population, as a `Measured`.

    The mean of the weights of all particles is the estimate of Z.

    Args:
        log_z: the estimate of :math:`\ln Z`, from the mean of the populations' unbiased estimates of Z.
        log_z_error: its standard error, from the spread over populations.
        log_z_of_populations: :math:`\ln Z` of each population, (P,); in the mean a lower bound.
        stages: the number of stages from the start to the action.
        acceptance: the mean acceptance rate of trajectories.
        seconds: the time of all of it: the start, the pilot population, all populations and the observables.
    """

    log_z: float
    log_z_error: float
    log_z_of_populations: Tensor
    stages: int
    acceptance: float
    seconds: float

    @property
    def table(self) -> Table:
        """A table with a row for each quantity."""
        rows = self._rows(len(self.log_z_of_populations), **{"ln Z": Quantity(self.log_z, self.log_z_error)})
        return Table(["quantity", "value", ""], rows)

    def __repr__(self) -> str:
        """The table as text, followed by the effort and the verdict."""
        effort = f"{len(self.fields):,} particles, {self.stages} stages, {self.seconds:.3g} s"
        return f"{self.table}\n{effort}, accepted {self.acceptance:.2f}\n{self.verdict}"


@torch.no_grad()
def anneal(
    action: ActionLike,
    shape: Sequence[int],
    *,
    particles: int = 256,
    moves: int = 4,
    populations: int = 8,
    observables: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    console: Console | None = None,
) -> Annealed:
    r"""Sample :math:`e^{-S} / Z`, and estimate :math:`\ln Z`, by annealed sequential Monte Carlo.

    Particles start from a Gaussian g and pass through stages :math:`g^{1 - \beta} e^{-\beta S}`. In a stage they are
    weighted, resampled, and moved by Hamiltonian Monte Carlo (Del Moral, Doucet and Jasra 2006,
    https://doi.org/10.1111/j.1467-9868.2006.00553.x). Along periodic directions g is the free field with the second
    moments of a short run of Hamiltonian Monte Carlo, along open ones it has the variance of that run at each site; for
    an action of angles g is uniform. A pilot population chooses the stages, so that the effective number of its weights
    is 0.9 of its particles, and the steps of the trajectories. Both are then fixed, so that the mean of Z over
    populations is unbiased. Slow modes that all populations follow too late do not show in their spread. Therefore the
    particles go on by a short run, which must not change averages. Modes that no population reaches do not show: repeat
    a result that matters with more `moves` and `particles`.

    Args:
        action: the action S, differentiable, from fields (B, C, *shape) to (B,).
        shape: the shape (C, *shape) of a field.
        particles: the number of particles in a population.
        moves: the number of trajectories of each particle in a stage.
        populations: the number of independent populations, at least 4; errors come from their spread, by Student's t.
        observables: your own observables by name, functions from fields to numbers (B,).
        console: a rich console for the progress bar; None shows it on terminals and in notebooks only.

    Raises:
        ValueError: if an argument is invalid, the action lacks a property that it declares, or stages do not reach it.
        FloatingPointError: if the action or its gradient is not finite.

    >>> from mera import physics
    >>> action = physics.FreeField(mass2=1.25)
    >>> result = physics.anneal(action, (1, 8, 8), particles=64)
    >>> abs(result.log_z - action.log_z((8, 8))) < 5 * result.log_z_error
    True
    """
    tune_allocator()
    event_shape = event_shape_of(shape)
    particles = check_count(particles, "particles", 8)
    moves = check_count(moves, "moves")
    populations = check_count(populations, "populations", 4)
    action = check_target(event_shape, action)
    began = time.perf_counter()
    start = _Start(action, event_shape)
    with ProgressBar("anneal", check_console(console)) as progress_bar:
        n, step = populations * particles, StepSize(FIRST_STEP)
        _, schedule = annealing.anneal(
            start.log_start, start.log_target, start.draw(particles), step, survivors=PILOT_SURVIVORS,
            moves=TUNED * moves, leapfrog=LEAPFROG, show=lambda n, beta: progress_bar.update(n, beta / 3, "pilot"),
        )  # fmt: skip
        chains = HamiltonianChains([start.log_start, start.log_target], start.draw(n))
        log_z, acceptance, beta = torch.zeros(populations).double(), 0.0, 0.0
        for number, (next_beta, step.value) in enumerate(schedule, start=1):
            ratio = chains.values[1] - chains.values[0]
            weights = (next_beta - beta) * ratio.unflatten(0, (populations, particles))
            log_z += weights.logsumexp(1) - math.log(particles)
            parents = annealing.systematic(weights.softmax(1)) + particles * torch.arange(populations)[:, None]
            chains.take(parents.flatten())
            beta = next_beta
            rate = annealing.move(chains, beta, step, moves, LEAPFROG)
            if action.is_even:
                chains.flip(1 - 2 * torch.randint(2, (n, 1)))
            acceptance += rate / len(schedule)
            progress_bar.update(number, (1 + 2 * number / len(schedule)) / 3, f"accepted {rate:.2f}")
        fields = start.to_fields(chains.x)
        looks = []
        for part in [LOOKS, *[1] * LOOKS]:  # the first half, then the looks
            annealing.move(chains, 1.0, step, part * max(RELAXING, moves * len(schedule) // 2) // (2 * LOOKS), LEAPFROG)
            looks.append(Observables(action).measure_parts(start.to_fields(chains.x).split(particles)))
        relaxed = {name: torch.stack([look[name] for look in looks[1:]]).mean(0) for name in looks[0]}
    log_z = log_z + start.log_z
    series = Observables(action, observables).measure_parts(fields.split(particles))
    averaging = WeightedAverage(log_z.softmax(0).repeat_interleave(particles) / particles, populations)
    facts = lattice_facts(action, event_shape)
    relaxed = {name: values for name, values in relaxed.items() if name not in facts["zero"]}
    verdicts = _verdicts(log_z, series, relaxed, averaging)
    z = (log_z - log_z.max()).exp()
    return Annealed(
        **summary(facts, series, averaging, verdicts),
        fields=fields,
        log_weights=log_z.repeat_interleave(particles),
        log_z=log_z.logsumexp(0).item() - math.log(populations),
        log_z_error=(z.std() / z.mean()).item() / math.sqrt(populations) * student(populations),
        log_z_of_populations=log_z,
        stages=len(schedule),
        acceptance=acceptance,
        seconds=time.perf_counter() - began,
    )


def _verdicts(
    log_z: Tensor, series: Mapping[str, Tensor], relaxed: Mapping[str, Tensor], averaging: WeightedAverage
) -> dict[str, Verdict]:
    """The verdicts on ln Z and on averages, from spreads over populations and the short run that follows.

    Averages (`relaxed`) must not have changed by the end of that run.
    """
    n, spread = len(log_z), log_z.std().item()
    reason = f"ln Z of {n} independent populations spreads by {spread:.2g} nats"
    common = Verdict(Trust.ROUGH if spread > ROUGH_FROM else Trust.GOOD, reason)
    if not spread < MEANINGLESS_FROM:
        common = Verdict(Trust.MEANINGLESS, f"{reason}; take more particles or moves")
    verdicts, doubts = dict.fromkeys(["ln Z", *series], common), {}
    for name, values in series.items():
        is_constant = values.max() - values.min() <= ROUNDING * values.abs().max()
        if values.ndim > 1 or name.startswith("_") or is_constant:
            continue
        centred = values - averaging.average(values)
        error, variance = averaging.error(centred), averaging.average(centred.square()).item()
        if variance < ROUGH_BELOW * error**2:
            reason = f"the spread over populations is that of {variance / error**2:.2g} independent particles"
            verdicts[name] = least_trusted(common, Verdict(Trust.ROUGH, reason))
        change = relaxed.get(name, values) - values
        drift = averaging.average(change)
        limit = averaging.error(change - drift) / student(n) * student(n, 1 - CHANCE)
        if abs(drift) > max(error, limit):
            doubts[name] = f"a short run from the particles changes {name} by {abs(drift) / error:.2g} errors"
    for name in verdicts if doubts else ():
        trust = Trust.TOO_SMALL if name in doubts else Trust.PERHAPS_TOO_SMALL
        doubt = Verdict(trust, doubts.get(name, next(iter(doubts.values()))))
        verdicts[name] = least_trusted(doubt, verdicts[name])
    return verdicts


class _Start:
    """The density from which particles start: unit Gaussian noise in Fourier modes, or uniform angles.

    Attributes:
        log_z: the logarithm of the volume element of fields by rows, and of the integral of the start over rows.
    """

    def __init__(self, action: Action, event_shape: Sequence[int]) -> None:
        self.action, self.shape = action, tuple(event_shape)
        self._axes = tuple(periodic_axes(action.periodic, len(event_shape) - 1))
        n = math.prod(event_shape)
        if action.is_compact:
            self._scale, self.log_z = None, n * math.log(2 * math.pi)
            return
        fields = short_run(action, starts(action, event_shape, min(START_CHAINS, max(16, 2**18 // n))), SNAPSHOTS)
        variance = torch.fft.fftn(fields, dim=self._axes, norm="ortho").abs().square().mean(0)
        for axis in self._axes:  # modes k and -k along each axis alike, whose noise is then smaller
            variance = (variance + variance.flip(axis - 1).roll(1, axis - 1)) / 2
        self._scale = variance.sqrt()
        self.log_z = self._scale.log().sum().item() + n / 2 * math.log(2 * math.pi)

    def draw(self, n: int) -> Tensor:
        """Rows of n particles, (n, d)."""
        d = math.prod(self.shape)
        if self._scale is None:
            return 2 * math.pi * torch.rand(n, d, dtype=torch.float64) - math.pi
        return torch.randn(n, d, dtype=torch.float64)

    def to_fields(self, row: Tensor) -> Tensor:
        """The fields (n, C, *shape) of rows (n, d)."""
        x = row.unflatten(1, self.shape)
        if self._scale is None:
            return in_domain(self.action, x)
        return torch.fft.ifftn(torch.fft.fftn(x, dim=self._axes) * self._scale, dim=self._axes).real

    def log_start(self, row: Tensor) -> Tensor:
        """The log-density of the start, up to a constant, (n,)."""
        return row.new_zeros(len(row)) if self._scale is None else -row.square().sum(1) / 2

    def log_target(self, row: Tensor) -> Tensor:
        """The log-density of the action, up to a constant, (n,)."""
        return -self.action(self.to_fields(row))
