"""Measurements that are kept as they go on, resumed where they ended, and shared between processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mera._utils.checks import check_choice, check_count, check_flag
from mera._utils.errors import InputError
from mera._utils.processes import is_main, rank, wait_for_all, world_size
from mera._utils.random import fixed_seed
from mera._utils.version import VERSION
from mera.chains.gamma import LEAST
from mera.density import Density
from mera.display.progress import check_console
from mera.physics.action import Action, ActionLike
from mera.physics.by_name import make
from mera.physics.check_target import check_fields, check_sampled, check_target, event_shape_of
from mera.physics.family import ActionFamily
from mera.physics.hmc import FieldChains
from mera.physics.jobs import Job, run_jobs
from mera.physics.measurement import Measurement, load_chain
from mera.physics.metropolis import Proposals
from mera.physics.observables import Observables
from mera.physics.reweighting import Samples, log_weights_of
from mera.physics.sampler import Recorder, Sampler
from mera.physics.storage import Storage

if TYPE_CHECKING:
    from rich.console import Console

SAMPLERS: dict[str, tuple[Callable[[Any, Action, int], Sampler], int]] = {
    "reweighting": (Samples, 0), "metropolis": (Proposals, 100), "hmc": (FieldChains, 200),
}  # fmt: skip
"""By name, a function that makes a sampler of K chains, and the draws of each chain before the measurement."""
INDEPENDENT = ("reweighting", "metropolis")
"""The samplers whose fields all come from the flow, which must therefore have a density for every field."""
PARTS, BLOCK, BATCH = 8, 8, 500
"""The most parts, the fewest chains in a part, and the largest number of samples of a flow that are made at once."""
PROBES = 4
"""The number of fields in a fingerprint."""


@torch.no_grad()
def measure(
    flow: Density | Sequence[int],
    action: ActionLike | str,
    path: str | PathLike[str],
    *,
    sampler: str = "reweighting",
    samples: int = 10_000,
    chains: int = 16,
    warmup: int | None = None,
    every: int = 10,
    seed: int = 0,
    fields: Tensor | None = None,
    observables: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Measurement:
    r"""Measure an action, and keep what is measured: fields, histories, weights, and the state of the sampler.

    Draws are written about every ten seconds, and by an interruption. A kill loses the draws that are not written yet,
    and `resume` makes the same draws again: the numbers are those of a measurement without interruption. Chains run in
    up to eight blocks of eight chains or more, samples of a flow in eight parts, each with random numbers of its own
    and, for chains, with its own step size. The processes that torchrun has started share these parts: the numbers are
    the same for any number of processes.

    Args:
        flow: the flow; for "hmc" also the shape (C, *shape) of a field, and chains then start from noise.
        action: the action S, from fields (B, C, *shape) to (B,), or its name with options.
        path: the folder of the measurement.
        sampler: "reweighting" for samples of the flow with weights (`estimate`); "metropolis" for chains that they are
            proposed to; "hmc" for Hamiltonian Monte Carlo.
        samples: the number of samples over all chains, rounded up to whole draws, at least 8 of each chain, or to whole
            batches of samples of a flow.
        chains: the number of chains, for all samplers but "reweighting".
        warmup: the draws of each chain before the measurement; the sampler's default if None.
        every: keep every k-th field of a chain, and every k-th batch of 500 samples of a flow, which are samples of
            the action only with the weights `Measurement.field_log_weights.softmax(0)`; 0 to keep none.
        seed: the seed of all random numbers.
        fields: fields of the target from another sampler, for "reweighting"; see `estimate`.
        observables: your own observables by name, functions from fields to numbers (B,).
        resume: whether to go on with the measurement in the folder. The number of samples may be larger than before.
        console: a rich console for the progress bar; None to show nothing.

    Returns:
        The measurement, as `load_chain` loads it.

    Raises:
        ValueError: if an argument is invalid, or differs from that of the measurement to resume.
        FileExistsError: if the folder holds a measurement and `resume` is false, or another process writes to it.
        FloatingPointError: if an action, its gradient or a weight is not finite.

    Warns:
        UserWarning: with the verdict, if averages with weights are wrong or their errors mean nothing.

    >>> import tempfile
    >>> from mera import physics
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     chain = physics.measure((1, 4, 4), "phi4", folder, sampler="hmc", samples=160)
    ...     longer = physics.measure((1, 4, 4), "phi4", folder, sampler="hmc", samples=320, resume=True)
    >>> chain.history["m2"].shape, longer.history["m2"].shape, longer.fields.shape
    (torch.Size([10, 16]), torch.Size([20, 16]), torch.Size([32, 1, 4, 4]))
    """
    check_choice(sampler, SAMPLERS, "a sampler")
    check_count(samples, "a number of samples", 2)
    check_count(chains, "a number of chains")
    check_count(every, "the distance of fields that are kept", 0)
    check_count(seed, "a seed", 0)
    make_sampler, default = SAMPLERS[sampler]
    warmup = default if warmup is None else check_count(warmup, "draws before the measurement", 0)
    if sampler == "reweighting" and warmup:
        raise InputError("no warm-up for reweighting, whose samples are independent", str(warmup))
    if sampler != "hmc" and not isinstance(flow, Density):
        raise InputError(f"a flow for {sampler}", type(flow).__name__)
    if fields is not None and sampler != "reweighting":
        raise InputError("fields of the target for reweighting alone", f"some for {sampler}")
    check_flag(resume, "resume")
    check_console(console)
    name = action if isinstance(action, str) else re.sub(r" at 0x[0-9a-f]+", "", repr(action))
    action = make(action) if isinstance(action, str) else action
    if isinstance(action, ActionFamily):
        expected = "one action of the family, family.at(...), and the flow at its context, flow.given(...)"
        raise InputError(expected, repr(action))
    known = (
        check_sampled(flow, action, alone=sampler in INDEPENDENT) if isinstance(flow, Density)
        else check_target(event_shape_of(flow), action)
    )  # fmt: skip
    storage, measured = Storage(path), Observables(known, observables)
    facts = {
        "version": VERSION, "action": name, "sampler": sampler, "chains": chains, "warmup": warmup, "every": every,
        "seed": seed, "shape": list(event_shape_of(flow)),
        "dtype": str(flow.dtype if isinstance(flow, Density) else torch.float64).removeprefix("torch."),
        "periodic": known.periodic, "inverse_temperature": known.inverse_temperature, "samples": samples,
        "fingerprint": _fingerprint(flow, known, measured),
    }  # fmt: skip
    device = flow.device if isinstance(flow, Density) else torch.device("cpu")
    if is_main():
        _start(storage, facts, resume, flow, known, fields)
    wait_for_all(device)
    with ExitStack() as locks:
        jobs = []
        for i, (n, draws) in enumerate(_split(storage.facts())):
            if i % world_size() == rank():
                part = storage.part(i)
                locks.enter_context(part.locked())
                recorder = Recorder(measured, every, *((i, PARTS) if sampler == "reweighting" else ()))
                jobs.append(Job(part, partial(make_sampler, flow, known, n), recorder, warmup, draws, (seed, i)))
        run_jobs(jobs, console if is_main() else None)
    wait_for_all(device)
    return load_chain(storage.path)


def _fingerprint(flow: Density | Sequence[int], action: Action, observables: Observables) -> dict[str, list[float]]:
    """Values of the flow, the action and own observables at a few fields, by which a change of any of them shows."""
    with fixed_seed(0):
        if isinstance(flow, Density):
            fields, log_q = flow.rsample_and_log_prob(PROBES)
        else:
            fields, log_q = torch.randn(PROBES, *event_shape_of(flow), dtype=torch.float64), torch.zeros(PROBES)
        values = {"flow": log_q, "action": action(fields)}
        measured = observables.measure(fields)
        values |= {f"observable {name}": measured[name] for name in observables.own}
    return {name: value.double().tolist() for name, value in values.items()}


def _first_difference(before: object, now: Mapping[str, list[float]]) -> str | None:
    """The first name at which two fingerprints differ by more than rounding errors; None if they agree."""
    if not isinstance(before, dict) or set(before) != set(now):
        return "observables"
    pairs = {name: (torch.tensor(before[name]), torch.tensor(now[name])) for name in now}
    return next((name for name, (a, b) in pairs.items() if a.shape != b.shape or not torch.allclose(a, b, 1e-5)), None)


def _start(
    storage: Storage, facts: dict[str, Any], resume: bool, flow: Density | Sequence[int], action: Action,
    fields: Tensor | None,
) -> None:  # fmt: skip
    """Write the facts of a new measurement, or compare them with those of the measurement to resume."""
    if storage.is_started() and not resume:
        raise FileExistsError(
            f"Expected a folder without a measurement; got {storage.path}: go on with it (resume=True in Python, "
            "--resume on the command line), or choose another"
        )
    target_log_weights = None
    if fields is not None and isinstance(flow, Density):
        target_log_weights = log_weights_of(flow, action, check_fields(fields, facts["shape"]), BATCH).tolist()
    if not storage.is_started():
        batch = min(BATCH, facts["samples"])
        storage.write_facts(facts | {"batch": batch, "target_log_weights": target_log_weights})
        return
    before = storage.facts()
    for name, value in facts.items():
        if name not in {"samples", "version", "fingerprint"} and before.get(name) != value:
            raise InputError(f"the {name} of the measurement in {storage.path}, {before.get(name)!r}", repr(value))
    if (other := _first_difference(before.get("fingerprint"), facts["fingerprint"])) is not None:
        raise InputError(
            f"the {other} of the measurement in {storage.path}", "one with other values at the same fields"
        )
    if target_log_weights is None:
        target_log_weights = before["target_log_weights"]
    samples = max(before["samples"], facts["samples"])
    storage.write_facts(before | {"samples": samples, "target_log_weights": target_log_weights})


def _split(facts: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The number of chains and of draws of each part; a batch of samples of a flow is a draw of as many chains."""
    if facts["sampler"] == "reweighting":
        batches = -(-facts["samples"] // facts["batch"])
        return [(facts["batch"], len(range(part, batches, PARTS))) for part in range(PARTS)]
    chains = facts["chains"]
    draws = max(LEAST, -(-facts["samples"] // chains))
    block = max(BLOCK, -(-chains // PARTS))
    return [(min(block, chains - first), draws) for first in range(0, chains, block)]
