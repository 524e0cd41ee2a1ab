"""Samplers, which move draw by draw, and the loop that measures their draws, records them, and keeps the records."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from operator import attrgetter
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypedDict

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.installation import VERSION, tune_allocator
from mera._utils.processes import StopSignal, raise_signal
from mera._utils.progress import ProgressBar, check_console
from mera._utils.random import fixed_seed, set_torch_states, torch_states
from mera.flow.density import Density
from mera.physics.estimate import Estimate, estimate_of
from mera.physics.observables import Observables
from mera.physics.record import NOTHING, Folder, Record, followed, points_of
from mera.physics.target import Target
from mera.sampling.diagnostics import MIN_DRAWS

if TYPE_CHECKING:
    from rich.console import Console

WRITE_SECONDS = 10.0
"""The seconds after which draws are written."""


class Options(TypedDict, total=False):
    """The options of every sampler, beside its own arguments.

    Args:
        observables: your own observables by name, functions from fields (B, C, *shape) to numbers (B,).
        every: keep the fields of every k-th draw of chains, for `load_chain` and `reweight`, or every k-th sample of a
            flow, which is a sample of the action only with its weight; 0, the default, for the last fields alone.
        out: a folder, in which draws are kept as they are made, for `load_chain` and `resume`; None for memory alone.
        resume: whether to go on with the measurement in the folder, up to the number of draws: the draws are those of a
            measurement that was not interrupted.
        console: a rich console for the progress bar; None shows it on terminals and in notebooks only.
    """

    observables: Mapping[str, Callable[[Tensor], Tensor]] | None
    every: int
    out: str | PathLike[str] | None
    resume: bool
    console: Console | None


class Draw(NamedTuple):
    """One draw of K chains, or independent samples: fields (K, C, *shape), the acceptance rate, and actions (K,).

    The log-weights, (K,), are None if draws have none. The target is that of a `point` of the sampler.
    """

    fields: Tensor
    rate: float
    action: Tensor
    log_weights: Tensor | None = None
    point: int = 0


class Sampler(ABC):
    """A sampler of K Markov chains, or of independent samples: a new one is a subclass.

    Attributes:
        name: the name in facts, in `mera measure --sampler` and in the progress bar.
        independent: whether fields of a draw are samples that count one by one, rather than fields of K chains.
        targets: what is sampled, one target or one at each point.
        flow: the flow that makes proposals; None for samplers without one.
        fields: the current fields of chains, (K, C, *shape), point by point.
        witness: by name, observables of other fields of the target, by which a verdict judges the draws.
        figures: numbers for the estimate, by name, of all draws so far.
        progress: the fraction of all work that is done, 0 to 1; None if the number of draws tells it.
        state_names: the names of the attributes on which the next draws depend, tensors or numbers, beside the random
            numbers; of an attribute's attribute with a dot. Independent samples have none.
    """

    name: ClassVar[str]
    independent: ClassVar[bool] = False
    targets: Sequence[Target]
    flow: Density | None = None
    fields: Tensor
    witness: Mapping[str, Tensor] = {}
    figures: Mapping[str, Tensor] = {}
    progress: float | None = None
    state_names: Sequence[str] = ()

    @abstractmethod
    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Return up to `most` draws, none if one takes several calls; only a warm-up may `tune` steps."""

    def state(self) -> Mapping[str, Tensor]:
        """The tensors and numbers on which the next draws depend, by name."""
        values = {name: attrgetter(name)(self) for name in self.state_names}
        return {k: torch.as_tensor(v, dtype=torch.float64 if isinstance(v, float) else None) for k, v in values.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state, with the same draws as the sampler that had it, given the same random numbers."""
        for name, value in state.items():
            *owners, attribute = name.split(".")
            holder = attrgetter(".".join(owners))(self) if owners else self
            before = getattr(holder, attribute)
            setattr(holder, attribute, value.to(before) if isinstance(before, Tensor) else type(before)(value.item()))


def run(
    sampler: Sampler, facts: Mapping[str, Any], draws: int, warmup: int = 0, *,
    observables: Mapping[str, Any] | None = None, every: int = 0, out: str | PathLike[str] | None = None,
    resume: bool = False, console: Console | None = None,
) -> list[Estimate]:  # fmt: skip
    """Run a sampler, and measure its draws; keep them in a folder as they are made, if there is one.

    Args:
        sampler: the sampler.
        facts: the sampler's options, which are compared when the measurement is resumed.
        draws: the number of measured draws.
        warmup: the number of draws before the first measured one.
        observables: as in `Options`, and so are the others.

    Returns:
        The estimate of each target.

    Raises:
        FileExistsError: if the folder holds a measurement and `resume` is false, or another process writes to it.
        ValueError: if the measurement in the folder is another one.
    """
    tune_allocator()
    every = check_count(every, "the distance of fields that are kept", 0)
    measured = [Observables(target.action, observables) for target in sampler.targets]
    total, pieces = warmup + draws, list[list[Record]]()
    points = [target.facts for target in sampler.targets]
    facts = {
        "version": VERSION, "sampler": sampler.name, **(points[0] if len(points) == 1 else {"points": points}), **facts,
        "warmup": warmup, "draws": draws, "every": every,
        "seed": torch.initial_seed(),
        "start": hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest()[:16],
        "fingerprint": {} if out is None else _fingerprint(sampler, measured),
    }  # fmt: skip
    with ExitStack() as context:
        folder = None if out is None else Folder(out)
        if folder is not None:
            context.enter_context(folder.locked())
            facts, pieces = folder.start(facts, resume)
        done, seconds = 0, 0.0
        if pieces:
            before = pieces[-1][0]
            sampler.restore(before.state)
            set_torch_states(before.random)
            done, seconds = before.done, before.seconds
        stop = context.enter_context(StopSignal())
        progress_bar = context.enter_context(ProgressBar(sampler.name, check_console(console)))
        parts: list[list[Record]] = [[] for _ in points]
        written = time.monotonic()
        while done < total:
            began, tune = time.perf_counter(), done < warmup
            new = sampler.draw(tune, (warmup if tune else total) - done)
            for draw in new:
                if not tune:
                    parts[draw.point].append(_measured(measured[draw.point], draw, done - warmup, every, sampler))
                if draw.point == len(points) - 1:
                    done += len(draw.fields) if sampler.independent else 1
            if not tune:
                seconds += time.perf_counter() - began
            rate = sum(draw.rate for draw in new) / max(1, len(new))
            fraction = done / total if sampler.progress is None else sampler.progress
            progress_bar.update(done, fraction, "" if sampler.independent else f"accepted {rate:.2f}")
            is_due = folder is not None and time.monotonic() - written > WRITE_SECONDS
            if done >= total or stop.number or is_due:
                now: dict[str, Any] = {
                    "seconds": seconds, "done": done, "random": torch_states(), "figures": dict(sampler.figures),
                    "state": {name: x.detach().cpu() for name, x in sampler.state().items()},
                    "witness": dict(sampler.witness),
                }  # fmt: skip
                last = NOTHING if sampler.independent else sampler.fields.detach().cpu().clone()
                pieces.append(
                    [
                        replace(followed(part or [Record(facts={}, series={})]), last=fields, **now)
                        for part, fields in zip(parts, last.chunk(len(points)), strict=True)
                    ]
                )
                parts, written = [[] for _ in points], time.monotonic()
                if folder is not None:
                    folder.append_piece(pieces[-1])
            if stop.number:
                raise_signal(stop.number)
    records = zip(zip(*pieces, strict=True), points_of(facts), sampler.targets, strict=True)
    return [estimate_of(replace(followed(point), facts=at), target) for point, at, target in records]


def check_chains(chains: int, draws: int, warmup: int, least: int = 1) -> tuple[int, int, int]:
    """Return the numbers of chains, draws and draws of the warm-up as integers, and refuse those that are too small."""
    chains, draws = check_count(chains, "a number of chains", least), check_count(draws, "a number of draws", MIN_DRAWS)
    return chains, draws, check_count(warmup, "a number of draws before the measurement", 0)


def _measured(measured: Observables, draw: Draw, number: int, every: int, sampler: Sampler) -> Record:
    """The record of a draw of K chains or of n samples; `number` draws were made before it."""
    series: dict[str, Any] = measured.measure(draw.fields, draw.action)
    series |= {"fields": draw.fields.detach().cpu(), "actions": draw.action.detach().double().cpu()}
    if draw.log_weights is not None:
        series["log_weights"] = draw.log_weights.double().cpu()
    if not sampler.independent:
        series = {name: part[None] for name, part in series.items()}
    n = len(series["m2"])
    is_kept: Any = torch.arange(number + 1, number + n + 1) % every == 0 if every else []
    # copies, since a sampler may move its fields
    kept = {"fields": series.pop("fields")[is_kept], "field_actions": series.pop("actions")[is_kept]}
    rates = torch.tensor([[draw.rate]], dtype=torch.float64)
    return Record(facts={}, log_weights=series.pop("log_weights", None), series=series, rates=rates, **kept)


def _fingerprint(sampler: Sampler, measured: Sequence[Observables]) -> dict[str, list[float]]:
    """Values of the flow, the action and the user's observables at a few fields, by which a change of any shows.

    The action and the observables take the same fields of noise for any flow.
    """
    values: dict[str, Tensor] = {}
    if (flow := sampler.flow) is not None:
        with fixed_seed(0):
            noise = flow.draw_noise(4, device="cpu")  # the same on any device
            values["flow"] = flow.generate_with_log_prob([part.to(flow.device) for part in noise])[1].detach()
    values["action"] = torch.cat([target.fingerprint() for target in sampler.targets])
    with fixed_seed(0):
        observed = measured[0].measure(sampler.targets[0].noise)
    values |= {f"observable {name}": observed[name] for name in measured[0].own}
    return {name: value.double().tolist() for name, value in values.items()}
