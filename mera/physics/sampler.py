"""Samplers of Markov chains that move draw by draw, and the loop that measures their draws."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mera.physics.observables import Observables

State = Mapping[str, Tensor]
"""Everything that the next draws of a sampler depend on, beside random numbers, by name."""
Series = dict[str, Tensor]
"""What is measured on draws, by name, each (draws, K, ...); see `Recorder`."""
NOT_MEASURED = ("_rates", "_log_weights", "_fields", "_field_log_weights")
"""The names of series that are not observables."""


class Draw(NamedTuple):
    """One draw of K chains.

    Args:
        fields: the fields, (K, C, *shape).
        rate: the acceptance rate of this draw.
        action: the actions of the fields, (K,), if they are computed.
        log_weights: -S - ln q of the fields, (K,), for samplers that evaluate the density q of the flow.
    """

    fields: Tensor
    rate: float
    action: Tensor | None = None
    log_weights: Tensor | None = None


class Sampler(ABC):
    """A sampler of K Markov chains.

    Attributes:
        title: a word for the progress bar.
        fields: the current fields, (K, C, *shape).
        step: the tuned step size; None for a sampler without a step size.
    """

    title: str
    fields: Tensor
    step: float | None = None

    @abstractmethod
    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Move all chains; return the next draws, one or more.

        Args:
            tune: whether step sizes are tuned, which is allowed in the warm-up only.
            most: the largest number of draws.
        """

    @abstractmethod
    def state(self) -> State:
        """The state from which `restore` goes on."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Go on from a state, with the same draws as the sampler that had it, given the same random numbers."""


def observables_in(series: Series) -> Series:
    """The series of observables, with those of "_structure", "_energy2" and the two-point function."""
    return {name: values for name, values in series.items() if name not in NOT_MEASURED}


def histories_in(series: Series, axes: int) -> Series:
    """The series of observables that are numbers: those of so many axes, without those for internal use."""
    return {name: values for name, values in series.items() if values.ndim == axes and not name.startswith("_")}


class Recorder:
    """A recorder of what is measured along chains.

    The names of the series are those of the observables, and "_rates" (acceptance rates), "_log_weights", "_fields"
    and "_field_log_weights" (their log-weights).

    Args:
        observables: the observables.
        every: keep the fields of every k-th draw; 0 to keep none.
        first: the index of the first draw of this recorder among the draws of all recorders.
        stride: the step from one of its draws to the next among those of all recorders.
    """

    def __init__(self, observables: Observables, every: int = 0, first: int = 0, stride: int = 1) -> None:
        self.observables, self.every, self._first, self._stride = observables, every, first, stride
        self.seconds = 0.0
        self._draws = 0
        self._parts: list[dict[str, Tensor]] = []

    def add(self, draw: Draw) -> None:
        """Measure a draw."""
        part = self.observables.measure(draw.fields, draw.action)
        part["_rates"] = torch.tensor(draw.rate, dtype=torch.float64)
        if draw.log_weights is not None:
            part["_log_weights"] = draw.log_weights.double().cpu()
        number = self._first + self._stride * self._draws
        self._draws += 1
        if self.every and (number + 1) % self.every == 0:
            part["_fields"] = draw.fields.detach().cpu().clone()  # a sampler may move its fields in place
            if draw.log_weights is not None:
                part["_field_log_weights"] = part["_log_weights"]
        self._parts.append(part)

    @property
    def has_new(self) -> bool:
        """Whether there are draws that `take` has not returned yet."""
        return bool(self._parts)

    def take(self) -> Series:
        """The series since the last call, each (draws, ...); no names if there are no draws."""
        names = dict.fromkeys(name for part in self._parts for name in part)
        series = {name: torch.stack([part[name] for part in self._parts if name in part]) for name in names}
        self._parts = []
        return series

    def skip(self, draws: int, seconds: float) -> None:
        """Count draws that are recorded elsewhere, and their time in seconds."""
        self._draws, self.seconds = self._draws + draws, self.seconds + seconds


def advance(
    sampler: Sampler,
    recorder: Recorder,
    warmup: int,
    until: int,
    done: int = 0,
    after: Callable[[int, float], bool | None] = lambda done, rate: None,
) -> int:
    """Move chains and record their draws; return the number of draws with those of the warm-up.

    Args:
        sampler: the sampler.
        recorder: the recorder of the measured draws.
        warmup: the number of draws before the measurement, which tune step sizes.
        until: the number of draws, with those of the warm-up, at which the chains stop.
        done: the number of draws before this call.
        after: a function that is called after every move, with the number of draws so far and the acceptance rate; it
            stops the chains by returning True.
    """
    while done < until:
        tune = done < warmup
        began = time.perf_counter()
        new = sampler.draw(tune, (min(warmup, until) if tune else until) - done)
        if not tune:
            for draw in new:
                recorder.add(draw)
            recorder.seconds += time.perf_counter() - began
        done += len(new)
        if after(done, sum(draw.rate for draw in new) / len(new)):
            break
    return done


def note(rate: float) -> str:
    """The acceptance rate as a note beside a progress bar."""
    return f"accepted {rate:.2f}"
