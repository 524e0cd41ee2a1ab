"""The command `mera train`: trains a model or a layout of the user's own, or resumes a run."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from mera import data, models, physics
from mera._utils.errors import InputError
from mera.cli.common import DataOptions, Device, Download, choose_device
from mera.cli.declared_options import options_for, signature_options
from mera.cli.flow_app import LAYOUT_HELP, flow_of, model_commands, model_options
from mera.cli.lazy import OPTIONS, among, lazy_group, refuse_before_command, with_options
from mera.cli.output import console
from mera.cli.sources import configured
from mera.data import DataSplits, names
from mera.data.dataset import Edges, count_of
from mera.flow import Symmetrized
from mera.flow.density import Density
from mera.graph.summary import count_parameters
from mera.models.saving import load_layout, rebuild_empty
from mera.physics.action import as_action
from mera.train import PRESETS, Result, RunFolder, Settings, fit

PRIOR_HELP = "Prior of a layout's latents: gaussian, laplace, or a distribution of torch, StudentT(df=5)."
ACTION_HELP = (
    f'A lattice action to learn, in place of data: {", ".join(physics.names())}; with options, "phi4(mass2=-4, '
    'coupling=1.143)". A pair, "phi4(mass2=(-4, -1))", is a range, for a flow that is conditional on it.'
)
DATA_HELP = f"A folder of photographs; a file .npy, .npz, .h5; or a data set: {', '.join(names())}."
CALL = "NAME[(NAME=VALUE, ...)]"
RESUME_HELP = "Folder of a run to resume, with its own settings; --steps and --minutes make it longer."


def _train_other(
    context: typer.Context,
    resume: Annotated[Path | None, typer.Option(help=RESUME_HELP, metavar="RUN")] = None,
    layout: Annotated[Path | None, typer.Option(help=LAYOUT_HELP, metavar="FILE")] = None,
    prior: Annotated[str, typer.Option(help=PRIOR_HELP, metavar=CALL)] = "gaussian",
    **values: Any,
) -> None:
    """Train a model or a layout of your own, or resume a run."""
    if resume is None and layout is None:
        refuse_before_command(context)
    targets = [value for value in (context.invoked_subcommand, layout, resume) if value is not None]
    if len(targets) != 1:
        expected = f"Expected a model ({', '.join(models.names())}), --layout FILE or --resume RUN"
        raise typer.BadParameter(f"{expected}; got {' and '.join(map(str, targets)) or 'none'}")
    if resume is not None:
        passed = [name for name in values if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
        if refused := sorted(set(passed) - {"steps", "minutes", "device", "root"}):
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in refused)
            raise typer.BadParameter(f"--resume takes only --steps, --minutes, --root and --device; got {flags}")
        longer: dict[str, Any] = {name: values[name] for name in ("steps", "minutes") if name in passed}
        _resume(RunFolder(resume), longer, values, values["root"] if "root" in passed else None)
    elif layout is not None:
        if values["action"] is not None:
            raise typer.BadParameter("--action needs a model, not --layout")
        if values["data"] is None or values["out"] is None:
            raise typer.BadParameter("--layout needs --data and --out")
        _train_layout(layout, prior, values)


def _resume(run: RunFolder, longer: dict[str, Any], values: dict[str, Any], root: Path | None) -> None:
    """Run `mera train --resume RUN`; `longer` has new values of steps and minutes."""
    facts = run.facts()
    if facts["loss"] is not None:
        raise InputError(f"a run that the command line can resume; go on with {run.path} in Python", facts["loss"])
    flow, target = rebuild_empty(facts), None
    if facts.get("action") is not None:
        if root is not None:
            raise typer.BadParameter(f"{run.path} learnt an action, which needs no --root")
        target = physics.make(facts["action"])
    else:
        target = configured(run, flow.plan.input.event_shape, root)
    settings = Settings(**facts["settings"] | facts["limits"] | {"threads": None} | longer)
    train(flow.to(choose_device(values["device"])), target, settings, run, resume=True)


def _train_layout(path: Path, prior: Any, values: dict[str, Any]) -> None:
    """Run `mera train --layout FILE`."""
    layout, settings = load_layout(path), settings_of(values)
    lattice = layout.input.lattice
    images = _images(values, lattice.shape, lattice.channels)
    torch.manual_seed(settings.seed)
    flow = flow_of(path, layout, prior, _count_classes(images) if values["conditional"] else None)
    train(flow.to(choose_device(values["device"])), images, settings, RunFolder(values["out"]))


def _train_new(model: str, **values: Any) -> None:
    """Run `mera train MODEL`."""
    options = model_options(model, values)
    if (values["data"] is None) == (values["action"] is None):
        raise typer.BadParameter("Pass either --data or --action")
    if values["action"] is not None:
        if refused := [name for name in ("conditional", "train_size", "data_options", "download") if values[name]]:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in refused)
            raise typer.BadParameter(f"--action takes no options of data; got {flags}")
        _train_action(model, options, values)
        return
    if values["symmetrize"] is not None:
        raise typer.BadParameter("--symmetrize is for --action, not for --data")
    parameters = inspect.signature(models.builder(model)).parameters
    usual = {"L": 32, "channels": 3} | {name: p.default for name, p in parameters.items()} | options
    images = _images(values, usual["L"], usual["channels"])
    if "channels" in parameters:
        options.setdefault("channels", images.channels)
    if images.name == "pictures":
        options.setdefault("preset", "photographs")
    if values["conditional"]:
        options.setdefault("classes", _count_classes(images))
    _train_preset(model, options, values, images)


def _train_action(model: str, options: dict[str, Any], values: dict[str, Any]) -> None:
    """Run `mera train MODEL --action TEXT`."""
    family = target if isinstance(target := physics.make(values["action"]), physics.ActionFamily) else None
    action = as_action(target if family is None else family.action)
    usual: dict[str, Any] = {"preset": "action", "channels": action.channels or 1} | dict(action.flow_options)
    usual["context"] = None if family is None else len(family.ranges)
    parameters = inspect.signature(models.builder(model)).parameters
    options = {name: value for name, value in usual.items() if name in ("preset", *parameters)} | options
    symmetrize = action.is_even if values["symmetrize"] is None else values["symmetrize"]
    _train_preset(model, options, values, action if family is None else family, symmetrize, action=values["action"])


def _train_preset(
    model: str, options: dict[str, Any], values: dict[str, Any], target: Any, symmetrize: bool = False, **facts: Any
) -> None:
    """Build a model, and train it with the settings of its preset, if the model has that preset."""
    preset = options.pop("preset", None)
    preset = preset if preset in (*models.presets(model), values.get("preset")) else None
    settings = settings_of(values, PRESETS.get("action" if "action" in facts else preset or "", {}))
    torch.manual_seed(settings.seed)
    built = models.build(model, preset=preset, **options).to(choose_device(values["device"]))
    flow: Density = Symmetrized(built) if symmetrize else built
    train(flow, target, settings, RunFolder(values["out"]), extra=facts | {"preset": preset})


def _count_classes(images: DataSplits) -> int:
    """The number of classes in training images."""
    return int(data.class_numbers(images.train).max()) + 1


def settings_of(values: dict[str, Any], preset: Mapping[str, Any] | None = None) -> Settings:
    """The settings of a run: options that were passed override the preset, which overrides the defaults."""
    passed = {f.name: values[f.name] for f in fields(Settings) if values.get(f.name) is not None}
    return Settings(**{**(preset or {}), **passed})


def _images(values: dict[str, Any], L: Edges, channels: int) -> DataSplits:
    """Load the data set of the options."""
    name, options = values["data"], dict(values["data_options"] or {})
    if values["train_size"] is not None:
        options.setdefault("train_size", values["train_size"])
    if data.takes(name, "channels"):
        options.setdefault("channels", channels)
    return data.load(name, L, values["root"], values["download"], **options)


def train(flow: Density, data: Any, settings: Settings, run: RunFolder, **options: Any) -> Result:
    """Train a flow on examples or an action; print the model and the data before, and the final loss after."""
    name = "a layout" if flow.recipe is None else flow.recipe.model
    subject = f"{name}, {count_parameters(flow):,} parameters on {flow.device}, learns"
    if isinstance(data, DataSplits):
        sizes = f"{count_of(data.train)} training and {count_of(data.test)} test examples of {flow.plan.input}"
        console.print(f"{subject} {data.name}: {sizes}")
        if data.classes:
            console.print(f"classes: {', '.join(f'{number} {name}' for number, name in enumerate(data.classes))}")
    else:
        mirrored = ", as a mixture with its mirror image" if isinstance(flow, Symmetrized) else ""
        console.print(f"{subject} {data} on {flow.plan.input}{mirrored}")
    if options.get("resume"):
        limit = "" if math.isinf(settings.last_step) else f" of {settings.last_step}"
        console.print(f"going on from step {run.state()['step']}{limit}")
    result = fit(flow, data, settings, run, console=console, on_signal="return", **options)
    done = "interrupted and saved" if result.interrupted else "finished"
    console.print(f"{done} after {result.steps} steps: {result.losses}; see {run.path}")
    if settings.keep == "best" and result.best is not None and not result.interrupted:
        console.print(f"the weights are those of step {result.best[0]}, the best on examples that were held out")
    console.print(result.verdict)
    if result.interrupted:
        console.print(f"resume with: mera train --resume {run.path}")
    return result


@dataclass(kw_only=True)
class RunOptions:
    """Options of `mera train` in addition to those of the model and of the settings."""

    data: Annotated[str | None, typer.Option(help=DATA_HELP, autocompletion=among(names))] = None
    action: Annotated[
        str | None,
        typer.Option(help=ACTION_HELP, metavar=CALL, autocompletion=among(physics.names)),
    ] = None
    symmetrize: Annotated[
        bool | None,
        typer.Option(
            "--symmetrize/--no-symmetrize",
            help="Learn an action with a mixture of the flow and its mirror image; if left out, where the action "
            "is even.",
            show_default=False,
            rich_help_panel="Data",
        ),
    ] = None
    out: Annotated[Path, typer.Option(help="Folder of the run.", metavar="DIR")]
    root: Annotated[Path, typer.Option(help="Folder of the data sets, or of the pictures.", rich_help_panel="Data")] = (
        Path("data")
    )
    download: Download = False
    conditional: Annotated[
        bool,
        typer.Option("--conditional", help="Condition the flow on the data set's classes.", rich_help_panel="Data"),
    ] = False
    data_options: DataOptions = None
    train_size: Annotated[
        int | None, typer.Option(min=1, help="Number of training images (msds1, msds2).", rich_help_panel="Data")
    ] = None
    device: Device = "auto"


_run_options = signature_options(RunOptions)
settings_options = options_for(Settings, "Training")
command = typer.Typer(cls=lazy_group(model_commands(_train_new, _run_options, settings_options)), **OPTIONS)
_optional = [p.replace(default=None if p.default is inspect.Parameter.empty else p.default) for p in _run_options]
command.callback(invoke_without_command=True, help=inspect.getdoc(_train_other))(
    with_options(_train_other, signature_options(_train_other), _optional, settings_options)
)
