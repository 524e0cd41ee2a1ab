"""Measurements that are kept as they go on, resumed where they ended, and shared between processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mera._utils.checks import check_choice, check_count
from mera._utils.errors import InputError
from mera._utils.processes import is_main, process_state, rank, world_size
from mera._utils.version import VERSION
from mera.bijectors.conditioners.fixed_weights import fixed_weights
from mera.chains.gamma import LEAST
from mera.density import Density
from mera.physics.action import Action, ActionLike, make
from mera.physics.check_target import check_sampled, check_target, event_shape_of
from mera.physics.cone_monte_carlo import cone_sampler
from mera.physics.hmc import hmc_sampler
from mera.physics.jobs import Job, run_jobs
from mera.physics.measurement import Measurement, load_chain
from mera.physics.metropolis import Proposals
from mera.physics.observables import Observables
from mera.physics.reweighting import Samples, weights_of
from mera.physics.sampler import Recorder, Sampler
from mera.physics.storage import Storage
from mera.physics.target import check_fields

if TYPE_CHECKING:
    from rich.console import Console

SAMPLERS = ("reweighting", "metropolis", "hmc", "latent-hmc", "cones")
WARMUP = {"metropolis": 100, "hmc": 200, "latent-hmc": 200, "cones": 50, "reweighting": 0}
"""The draws of each chain before the measurement, by sampler."""
BLOCK = 8
"""The number of chains in a part, which have their random numbers and their step size in common."""
PARTS, BATCH = 8, 500
"""The number of parts of the samples of a flow, and the largest number of samples that are made at once."""


@torch.no_grad()
@fixed_weights()
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

    Draws are written as they are made, at the latest after half a minute. An interruption, also a kill, loses nothing
    that was written; with `resume` the measurement goes on, with the numbers that it would have had without an
    interruption. Chains run in blocks of eight, and samples of a flow in eight parts, each with random numbers of its
    own. The processes that torchrun has started share these parts: the numbers are the same for any number of
    processes.

    Args:
        flow: the flow; for "hmc" also the shape (C, *shape) of a field, and chains then start from noise.
        action: the action S, from fields (B, C, *shape) to (B,), or its name with options.
        path: the folder of the measurement.
        sampler: "reweighting" for samples of the flow with weights (`estimate`); "metropolis" for chains that they are
            proposed to; "hmc" or "latent-hmc" for Hamiltonian Monte Carlo of the field or of the latents; "cones" for
            cone Monte Carlo.
        samples: the number of samples, over all chains.
        chains: the number of chains.
        warmup: the draws of each chain before the measurement; the sampler's default if None.
        every: keep every k-th field of a chain, and the fields of every k-th batch of a flow; 0 to keep none.
        seed: the seed of all random numbers.
        fields: fields of the target from another sampler, for "reweighting"; see `estimate`.
        observables: your own observables by name, functions from fields to numbers (B,).
        resume: whether to go on with the measurement in the folder. The number of samples may be larger than before.
        console: a rich console for the progress bar; None to show nothing.

    Raises:
        ValueError: if an argument is invalid, or differs from that of the measurement to resume.
        FileExistsError: if the folder holds a measurement and `resume` is false.

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
    warmup = WARMUP[sampler] if warmup is None else check_count(warmup, "draws before the measurement", 0)
    if sampler == "reweighting" and warmup:
        raise InputError("a sampler of chains beside a warm-up", sampler)
    if sampler != "hmc" and not isinstance(flow, Density):
        raise InputError(f"a flow for {sampler}", type(flow).__name__)
    if fields is not None and sampler != "reweighting":
        raise InputError("fields of the target beside reweighting", sampler)
    name = action if isinstance(action, str) else repr(action)
    action = make(action) if isinstance(action, str) else action
    known = check_sampled(flow, action) if isinstance(flow, Density) else check_target(event_shape_of(flow), action)
    facts = _facts(flow, known, name, sampler, chains, warmup, every, seed) | {"samples": samples}
    facts["observables"] = sorted(observables or {})
    storage, measured = Storage(path), Observables(known, observables)
    if is_main():
        _start(storage, facts, resume, flow, known, fields)
    _wait(flow)
    jobs = []
    for i, (n, draws) in enumerate(_split(storage.facts())):
        if i % world_size() == rank():
            make_it = partial(_make_sampler, flow, known, sampler, n)
            jobs.append(Job(storage.part(i), make_it, Recorder(measured, every), warmup, draws, (seed, i)))
    run_jobs(jobs, console if is_main() else None)
    _wait(flow)
    return load_chain(storage.path)


def _facts(
    flow: Density | Sequence[int],
    action: Action,
    name: str,
    sampler: str,
    chains: int,
    warmup: int,
    every: int,
    seed: int,
) -> dict[str, Any]:
    """What a measurement that is resumed must have in common with the one before."""
    return {
        "version": VERSION,
        "action": name,
        "sampler": sampler,
        "chains": chains,
        "warmup": warmup,
        "every": every,
        "seed": seed,
        "shape": list(event_shape_of(flow)),
        "dtype": str(flow.dtype if isinstance(flow, Density) else torch.float64).removeprefix("torch."),
        "periodic": action.periodic,
        "inverse_temperature": action.inverse_temperature,
        "flow": _digest(flow) if isinstance(flow, Density) else None,
    }


def _digest(flow: Density) -> str:
    """A fingerprint of a flow: of its description and its weights."""
    found = hashlib.sha256(repr(flow).encode())
    for name, values in flow.state_dict().items():
        found.update(name.encode())
        found.update(values.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def _start(
    storage: Storage, facts: dict[str, Any], resume: bool, flow: Density | Sequence[int], action: Action,
    fields: Tensor | None,
) -> None:  # fmt: skip
    """Write the facts of a new measurement, or compare them with those of the measurement to resume."""
    if not storage.is_started():
        of_fields = None
        if fields is not None and isinstance(flow, Density):
            of_fields = weights_of(flow, action, check_fields(fields, facts["shape"]), BATCH).tolist()
        batches = -(-facts["samples"] // BATCH)
        storage.write_facts(facts | {"batch": -(-facts["samples"] // batches), "of_fields": of_fields})
        return
    if not resume:
        raise FileExistsError(
            f"Expected a folder without a measurement; got {storage.path}: go on with it (resume=True in Python, "
            "--resume on the command line), or choose another"
        )
    before = storage.facts()
    for name, value in facts.items():
        if name not in {"samples", "version"} and before.get(name) != value:
            raise InputError(f"the {name} of the measurement in {storage.path}, {before.get(name)!r}", repr(value))
    storage.write_facts(before | {"samples": max(before["samples"], facts["samples"])})


def _wait(flow: Density | Sequence[int]) -> None:
    """Wait for the other processes."""
    state = process_state(flow.device if isinstance(flow, Density) else torch.device("cpu"))
    if state is not None:
        state.wait_for_everyone()


def _split(facts: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The number of chains and of draws of each part; a batch of samples of a flow is a draw of as many chains."""
    if facts["sampler"] == "reweighting":
        batches = -(-facts["samples"] // facts["batch"])
        return [(facts["batch"], len(range(part, batches, PARTS))) for part in range(PARTS)]
    chains = facts["chains"]
    draws = max(LEAST, -(-facts["samples"] // chains))
    return [(min(BLOCK, chains - first), draws) for first in range(0, chains, BLOCK)]


def _make_sampler(flow: Any, action: Action, sampler: str, chains: int) -> Sampler:
    """A sampler by name, of some chains."""
    if sampler == "reweighting":
        return Samples(flow, action, chains)
    if sampler == "metropolis":
        return Proposals(flow, action, chains)
    if sampler == "cones":
        return cone_sampler(flow, action, chains)
    return hmc_sampler(flow, action, "field" if sampler == "hmc" else "latent", chains)
