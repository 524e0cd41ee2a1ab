"""Samplers, which move draw by draw, and the loop that measures their draws and keeps them, with facts to compare."""

from __future__ import annotations

import hashlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.installation import VERSION, tune_allocator
from mera._utils.processes import StopSignal, raise_signal
from mera._utils.progress import ProgressBar, check_console
from mera._utils.random import fixed_seed, set_torch_states, torch_states
from mera.flow.density import Density
from mera.physics.check_target import FINGERPRINT_FIELDS, event_shape_of, noise_of
from mera.physics.observables import Observables, lattice_facts
from mera.physics.storage import Arrays, Storage, joined, named
from mera.physics.trajectories import like_of

if TYPE_CHECKING:
    from rich.console import Console

WRITE_SECONDS = 10.0
"""The seconds after which draws are written."""


class Draw(NamedTuple):
    """One draw of K chains, or independent samples: fields (K, C, *shape), the acceptance rate, and actions (K,).

    The log-weights -S - ln q, (K,), are None if a sampler does not compute them.
    """

    fields: Tensor
    rate: float
    action: Tensor
    log_weights: Tensor | None = None


class Sampler(ABC):
    """A sampler of K Markov chains, or of independent samples.

    Attributes:
        title: a word for the progress bar.
        independent: whether fields of a draw are samples that count one by one, rather than fields of K chains.
        fields: the current fields, (K, C, *shape).
    """

    title: str
    independent = False
    fields: Tensor

    @abstractmethod
    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Return the next draws, one to `most`; step sizes may be tuned in the warm-up only."""

    def state(self) -> Mapping[str, Tensor]:
        """The tensors on which the next draws depend, by name, without random numbers; none for independent samples."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Go on from a state, with the same draws as the sampler that had it, given the same random numbers."""


def record(
    name: str,
    sampler: Sampler,
    flow: Density | Sequence[int],
    measured: Observables,
    facts: Mapping[str, Any],
    *,
    warmup: int,
    draws: int,
    every: int,
    out: str | PathLike[str] | None,
    resume: bool,
    console: Console | None,
) -> tuple[dict[str, Any], Arrays]:
    """Run a sampler of a name, and measure its draws; keep them in a folder as they are made, if there is one.

    Returns:
        The facts, and all series with the last state; see `mera.physics.storage`.

    Raises:
        FileExistsError: if the folder holds a measurement and `resume` is false, or another process writes to it.
        ValueError: if the measurement in the folder is another one.
    """
    tune_allocator()
    every = check_count(every, "the distance of fields that are kept", 0)
    done, total, seconds = 0, warmup + draws, 0.0
    chunks: list[Arrays] = []
    facts = _facts(name, sampler, flow, measured, out is not None) | dict(facts)
    facts |= {"warmup": warmup, "draws": draws, "every": every, "seed": torch.initial_seed()}
    facts["start"] = hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest()[:16]
    with ExitStack() as context:
        storage = None
        if out is not None:
            storage = Storage(out)
            context.enter_context(storage.locked())
            facts, chunks = storage.start(facts, resume)
        if chunks:
            sampler.restore(named(chunks[-1], "state/"))
            set_torch_states(named(chunks[-1], "random/"))
            done, seconds = int(chunks[-1]["done"]), float(chunks[-1]["seconds"])
        stop = context.enter_context(StopSignal())
        progress_bar = context.enter_context(ProgressBar(sampler.title, check_console(console)))
        parts: list[Arrays] = []
        written = time.monotonic()
        while done < total:
            began, tune = time.perf_counter(), done < warmup
            new = sampler.draw(tune, (warmup if tune else total) - done)
            for draw in new:
                n = len(draw.fields) if sampler.independent else 1
                if not tune:
                    parts.append(_measured(measured, draw, done - warmup, every, sampler.independent))
                done += n
            if not tune:
                seconds += time.perf_counter() - began
            rate = sum(draw.rate for draw in new) / len(new)
            progress_bar.update(done, done / total, "" if sampler.independent else f"accepted {rate:.2f}")
            is_due = storage is not None and time.monotonic() - written > WRITE_SECONDS
            if done >= total or stop.number or is_due:
                chunk = joined(parts) | {f"state/{name}": x.detach().cpu() for name, x in sampler.state().items()}
                chunk |= {f"random/{name}": state for name, state in torch_states().items()}
                chunk |= {"done": torch.tensor(done), "seconds": torch.tensor(seconds, dtype=torch.float64)}
                if not sampler.independent:
                    chunk["last"] = sampler.fields.detach().cpu().clone()
                chunks.append(chunk)
                parts, written = [], time.monotonic()
                if storage is not None:
                    storage.write_draws(chunks[-1])
            if stop.number:
                raise_signal(stop.number)
    return facts, joined(chunks)


def _measured(measured: Observables, draw: Draw, number: int, every: int, independent: bool) -> Arrays:
    """The arrays of a draw, (1, K, ...) of K chains or (n, ...) of n samples; `number` draws were made before it."""
    arrays = measured.measure(draw.fields, draw.action)
    fields = {"_fields": draw.fields.detach().cpu(), "_field_actions": draw.action.detach().double().cpu()}
    if draw.log_weights is not None:
        arrays["_log_weights"] = fields["_field_log_weights"] = draw.log_weights.double().cpu()
    if not independent:
        arrays, fields = ({name: values[None] for name, values in part.items()} for part in (arrays, fields))
    end = number + len(fields["_fields"])
    kept: Tensor | list[int] = torch.arange(number + 1, end + 1) % every == 0 if every else []
    arrays |= {name: values[kept] for name, values in fields.items()}  # copies, since a sampler may move its fields
    arrays["_rates"] = torch.tensor([draw.rate], dtype=torch.float64)
    return {f"series/{name}": values for name, values in arrays.items()}


def _facts(
    name: str, sampler: Sampler, flow: Density | Sequence[int], measured: Observables, is_kept: bool
) -> dict[str, Any]:
    """The facts of a measurement, which are compared when it is resumed.

    A measurement that is kept, and thus may be resumed, also has a fingerprint: values of the flow, the action and the
    user's observables at a few fields, by which a change of any of them shows. The action and the observables take the
    same fields of noise for any flow.
    """
    like = getattr(sampler, "fields", like_of(flow))
    fingerprint = {}
    if is_kept:
        values: dict[str, Tensor] = {}
        if isinstance(flow, Density):
            with fixed_seed(0):
                noise = flow.draw_noise(FINGERPRINT_FIELDS, device="cpu")  # the same on any device
                values["flow"] = flow.generate_with_log_prob([part.to(flow.device) for part in noise])[1].detach()
        fields = noise_of(event_shape_of(flow), like)
        with fixed_seed(0):
            observed = measured.measure(fields)
        values["action"] = measured.action(fields).detach()
        values |= {f"observable {name}": observed[name] for name in measured.own}
        fingerprint = {name: value.double().tolist() for name, value in values.items()}
    return lattice_facts(measured.action, event_shape_of(flow)) | {
        "version": VERSION,
        "action": re.sub(r" at 0x[0-9a-f]+", "", repr(measured.action)),
        "sampler": name,
        "dtype": str(like.dtype).removeprefix("torch."),
        "fingerprint": fingerprint,
    }
