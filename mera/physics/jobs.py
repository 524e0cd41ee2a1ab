"""Runs the parts of a measurement that belong to one process, in turns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mera._utils.random import fixed_seed, set_torch_states, torch_states
from mera._utils.signals import StopSignal, raise_signal
from mera.display.progress import ProgressBar, check_console
from mera.physics.sampler import Recorder, Sampler, advance, note
from mera.physics.storage import Part

if TYPE_CHECKING:
    from rich.console import Console

TURNS = 20
"""The number of turns in which a process moves all its parts."""
EVERY = 10.0
"""The seconds after which draws are written."""


class Job:
    """One part of a measurement, with random numbers of its own.

    Args:
        part: the files of the part.
        make: a function that makes the sampler.
        recorder: the recorder of its draws.
        warmup: the number of draws before the measurement.
        draws: the number of measured draws.
        seed: the integers of the seed.
    """

    def __init__(
        self, part: Part, make: Callable[[], Sampler], recorder: Recorder, warmup: int, draws: int, seed: Sequence[int]
    ) -> None:
        self.part, self.recorder, self.warmup, self.draws = part, recorder, warmup, draws
        with fixed_seed(int(np.random.SeedSequence(seed).generate_state(1)[0])):
            self.sampler = make()
            self.done = part.restore(self.sampler, recorder, warmup)
            self._random = torch_states()
        self._written = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time to write draws."""
        return time.monotonic() - self._written > EVERY

    def save(self) -> None:
        """Write the draws that are not written yet."""
        if self.recorder.has_new:
            with fixed_seed(0):
                set_torch_states(self._random)
                self.part.save(self.sampler, self.recorder, self.done)
            self._written = time.monotonic()

    def advance(self, until: int, after: Callable[[int, float], bool]) -> None:
        """Move to a number of draws, with those of the warm-up, and write them now and then, and at the end.

        Args:
            until: the number of draws.
            after: a function of the number of draws so far and the acceptance rate, which stops the chains by returning
                True; the draws are then written.
        """
        if self.done >= until:
            return

        def write_in_between(done: int, rate: float) -> bool:
            self.done = done
            is_stopped = after(done, rate)
            if is_stopped or done >= self.warmup + self.draws or self.is_due:
                self.part.save(self.sampler, self.recorder, done)
                self._written = time.monotonic()
            return is_stopped

        with fixed_seed(0):
            set_torch_states(self._random)
            self.done = advance(self.sampler, self.recorder, self.warmup, until, self.done, write_in_between)
            self._random = torch_states()


def run_jobs(jobs: Sequence[Job], console: Console | None) -> None:
    """Move all parts in turns, so that at an interruption all have about the same number of draws."""
    total = sum(job.warmup + job.draws for job in jobs)
    title = jobs[0].sampler.title if jobs else "wait"
    with StopSignal() as stop, ProgressBar(title, check_console(console)) as progress_bar:

        def after(done: int, rate: float) -> bool:
            so_far = sum(job.done for job in jobs)
            progress_bar.update(so_far, so_far / total, note(rate))
            return bool(stop.number)

        for turn in range(TURNS + 1):
            for job in jobs:
                job.advance(job.warmup + math.ceil(job.draws * turn / TURNS), after)
                for other in jobs:
                    if stop.number or other.is_due:
                        other.save()
                if stop.number:
                    raise_signal(stop.number)
