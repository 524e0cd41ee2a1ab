"""The command `mera measure`: observables of a lattice action, measured with the flow of a run."""

from __future__ import annotations

import json
import secrets
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer

from mera import physics
from mera._utils.errors import InputError
from mera._utils.files import write_atomically
from mera._utils.manifest import is_run
from mera._utils.torch_modes import chosen_threads
from mera.cli.options import Device, Lattice, assignments
from mera.cli.sources import folder_of, load_flow
from mera.cli.terminal import Json, console, plain, show, show_json
from mera.flow import Symmetrized
from mera.graph.summary import count_parameters
from mera.physics.record import Folder
from mera.physics.target import event_shape_of
from mera.sampling.diagnostics import MIN_DRAWS
from mera.train import RunFolder

NUMBERS = (
    "ess", "pareto_k", "missed", "forward_ess", "free_energy", "acceptance", "tau", "tau_error", "r_hat", "seconds",
    "verdict",
)  # fmt: skip
"""The fields of results that the report has by the same names; each sampler has some of them."""
CHAINS, POPULATIONS = 16, 8
"""The usual numbers of chains, and of populations of particles."""
SAMPLERS: dict[str, Callable[..., physics.Estimate]] = {
    "reweighting": physics.estimate,
    "metropolis": physics.metropolis,
    "hmc": physics.hmc,
    "tempering": lambda flow, action, **options: physics.temper(action, event_shape_of(flow), **options),
    "cluster": lambda flow, action, **options: physics.cluster(action, event_shape_of(flow), **options),
    "annealing": lambda flow, action, **options: physics.anneal(action, event_shape_of(flow), **options),
}
"""The functions of a flow, an action and options, by the name of the option; the last three take the lattice alone."""
WITHOUT_CHAINS = ("reweighting", "annealing")
WITH_FLOW = ("reweighting", "metropolis", "hmc")
"""The samplers that draw fields, or only their starts, from the flow; the others take its lattice alone."""
SamplerName: Any = Literal[tuple(SAMPLERS)]


def measure_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run that learnt an action, or a file of mera.save.")],
    samples: Annotated[int, typer.Option(min=64, help="Number of samples, over all chains.")] = 10_000,
    sampler: Annotated[
        SamplerName, typer.Option(help="How samples of the action are made; reweighting and annealing also give ln Z.")
    ] = "reweighting",
    action: Annotated[
        str | None, typer.Option(help="An action in place of the one in the run.", metavar="NAME[(NAME=VALUE, ...)]")
    ] = None,
    at: Annotated[
        Any,
        typer.Option(
            parser=assignments,
            metavar="NAME=VALUE ...",
            help="Values, for a flow that learnt ranges.",
        ),
    ] = None,
    L: Lattice = None,
    symmetries: Annotated[
        str | None, typer.Option(help="Mix the flow over these symmetries, in place of the run's own: flip,rotations.")
    ] = None,
    elements: Annotated[int | None, typer.Option(min=1, help="Group elements in the mixture; all if left out.")] = None,
    chains: Annotated[
        int | None, typer.Option(min=1, help=f"Number of chains side by side; {CHAINS} if left out.")
    ] = None,
    every: Annotated[
        int,
        typer.Option(min=0, help="Keep every k-th field of a chain, or every k-th sample; 0 to keep none."),
    ] = 10,
    warmup: Annotated[
        int | None,
        typer.Option(min=0, help="Steps of each chain before the first draw; if left out, the sampler's default."),
    ] = None,
    double: Annotated[bool, typer.Option("--double/--single", help="Measure in double precision.")] = True,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="Seed of everything that is random; drawn if left out.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the measurement; RUN/measure/SAMPLER if left out, with the values of --at.", metavar="DIR"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the measurement, up to --samples.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure a lattice action with the flow of a run; with errors, and a verdict on them.

    Fields, histories, weights and a report are kept. They are written as they are made: after Ctrl-C or a kill,
    --resume goes on.
    """
    text = RunFolder(run).facts().get("action") if action is None and is_run(run) else action
    if text is None:
        raise typer.BadParameter(f"Expected --action for {run}, which does not name an action")
    if sampler in WITHOUT_CHAINS and not (warmup is None and chains is None):
        raise typer.BadParameter(f"--warmup and --chains are for samplers with chains, not for {sampler}")
    if sampler not in WITH_FLOW and symmetries is not None:
        raise typer.BadParameter(f"--symmetries mixes the flow, from which --sampler {sampler} does not draw")
    target = physics.make(text)
    flow = load_flow(run, device, L)
    torch.set_num_threads(chosen_threads(count_parameters(flow), flow.device))  # as in training
    if symmetries is not None:
        flow = Symmetrized(flow.flow, [name.strip() for name in symmetries.split(",")], elements)
    elif elements is not None:
        raise typer.BadParameter("--elements needs --symmetries")
    flow = flow.double() if double else flow
    if isinstance(target, physics.ActionFamily):
        family, at = target, at or {}
        if set(at) != set(family.ranges):
            ranges = ", ".join(f"{key} from {low:g} to {high:g}" for key, (low, high) in family.ranges.items())
            raise typer.BadParameter(f"Expected --at with a value of {ranges}; got {', '.join(at) or 'none'}")
        target = family.at(**at)
        text = repr(target)
        flow = flow.given(family.context(**at).to(flow.device))
    elif at:
        raise typer.BadParameter(f"Expected no --at for {text}, which has no ranges")
    if out is None:
        usual = "_".join([sampler, *(f"{key}_{value:.15g}" for key, value in sorted((at or {}).items()))])
        out = folder_of(run) / "measure" / usual
    options: dict[str, Any] = {"every": every, "out": out, "resume": resume}
    if sampler == "reweighting":
        options["n"] = samples
    elif sampler == "annealing":
        options |= {"populations": POPULATIONS, "particles": -(-samples // POPULATIONS)}
    else:
        chains = CHAINS if chains is None else chains
        options |= {"chains": chains, "draws": max(MIN_DRAWS, -(-samples // chains))}
        options |= {} if warmup is None else {"warmup": warmup}
    before = Folder(out).facts()["seed"] if resume and Folder(out).exists else None
    if seed is not None and before not in (None, seed):
        raise InputError(f"the seed of the measurement in {out}, {before}", str(seed))
    torch.manual_seed(secrets.randbelow(2**31) if seed is None else seed)
    with warnings.catch_warnings():  # the verdict is printed with the table
        warnings.simplefilter("ignore", UserWarning)
        result = SAMPLERS[sampler](flow, target, console=console, **options)
    report = plain({
        "run": str(run), "action": text, "sampler": sampler,
        "seed": torch.initial_seed() if before is None else before, **_figures(result),
    })  # fmt: skip
    write_atomically(out / "report.json", json.dumps(report, indent=2).encode())
    from mera.drawing.images import save_figure  # late: matplotlib takes a second

    save_figure(result.draw(), out / "report.png")
    if as_json:
        show_json(report)
        return
    show(f"{text} on {' x '.join(map(str, flow.plan.input.event_shape))}, {sampler}", str(result))
    console.print(f"kept in {out}; report: {out / 'report.json'}, {out / 'report.png'}")


def _figures(result: physics.Estimate) -> dict[str, Any]:
    """The numbers of a result, by name."""
    observables: dict[str, Any] = dict(result.observables)
    if result.correlator is not None:
        observables["correlator"] = [part.tolist() for part in result.correlator]
    figures: dict[str, Any] = {name: getattr(result, name) for name in NUMBERS if getattr(result, name) is not None}
    if result.tau:
        figures |= dict(zip(("draws", "chains"), result.history["m2"].shape, strict=True))
    else:
        figures |= {"samples": result.n, "log_z": [result.log_z, result.log_z_error]}
    figures |= {name: values.tolist() for name, values in result.figures.items()}
    return figures | {"observables": observables}
