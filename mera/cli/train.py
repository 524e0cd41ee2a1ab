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
from mera._utils.table import plus_minus
from mera.cli.flows import LAYOUT, model_commands, model_options
from mera.cli.options import DataOptions, DataRoot, Device, Download, Root, options_for
from mera.cli.sources import choose_device, configured, load_flow
from mera.cli.terminal import OPTIONS, among, console, lazy_group, signature_options, with_options
from mera.data import DataSplits, names
from mera.data.dataset import Edges
from mera.flow import Symmetrized
from mera.flow.density import Density
from mera.graph.summary import count_parameters
from mera.models.saving import load_layout, load_layout_flow, pretrained, rebuild_empty
from mera.physics.action import as_action
from mera.train import PRESETS, Result, RunFolder, Settings, fit
from mera.train.evaluate import example_losses, mean_and_error, pictures_of
from mera.train.likelihoods import likelihood_of

ACTION_HELP = (
    f'A lattice action to learn, in place of data: {", ".join(physics.names())}; with options, "phi4(mass2=-4, '
    'coupling=1.143)". A pair, "phi4(mass2=(-4, -1))", is a range, for a flow that is conditional on it.'
)
DATA_HELP = f"A folder of photographs; a file .npy, .npz, .h5; or a data set: {', '.join(names())}."
CALL = "NAME[(NAME=VALUE, ...)]"

Check = Annotated[
    bool, typer.Option("--check/--no-check", help="Check the flow at the end: its inverse, and weights for an action.")
]


def _resume(
    context: typer.Context,
    resume: Annotated[Path | None, typer.Option(help="Folder of a run to resume.", metavar="RUN")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="More steps in all, for a longer run.")] = None,
    minutes: Annotated[float | None, typer.Option(help="More minutes in all, for a longer run.")] = None,
    rewarm: Annotated[
        bool, typer.Option("--rewarm", help="Begin a new warm-up and half a cosine at the step that was reached.")
    ] = False,
    root: Root = None,
    device: Device = "auto",
    check: Check = True,
) -> None:
    """Train a model or a layout of your own, or resume a run with its own settings.

    Options of a new run follow the model, with `--help` behind it.
    """
    if (resume is None) == (context.invoked_subcommand is None):
        expected = f"Expected a model ({', '.join(models.names())}), a layout, a trained flow, or --resume RUN"
        raise typer.BadParameter(f"{expected}; got {'none' if resume is None else 'two of them'}")
    if resume is None:
        for name in context.params:
            if context.get_parameter_source(name).name == "COMMANDLINE":  # type: ignore[union-attr]
                raise typer.BadParameter(f"Expected --{name} after {context.invoked_subcommand}")
        return
    run = RunFolder(resume)
    facts = run.facts()
    if facts["loss"] is not None:
        raise InputError(f"a run that the command line can resume; go on with {run.path} in Python", facts["loss"])
    flow = rebuild_empty(facts)
    if facts.get("action") is not None:
        if root is not None:
            raise typer.BadParameter(f"{run.path} learnt an action, which needs no --root")
        target: Any = physics.make(facts["action"])
    else:
        target = configured(run, flow.plan.input.event_shape, root)
    longer = {name: value for name, value in (("steps", steps), ("minutes", minutes)) if value is not None}
    settings = Settings(**facts["settings"] | facts["limits"] | longer)
    train(flow.to(choose_device(device)), target, settings, run, resume=True, rewarm=rewarm, check=check)


def _train_path(
    path: Annotated[
        Path,
        typer.Argument(
            help="The file of a layout, .toml, see mera.save_layout; or a trained flow to begin at: a run, a file of "
            f"mera.save, or a flow of the package, {', '.join(pretrained())}."
        ),
    ],
    prior: Annotated[
        str | None,
        typer.Option(
            help="Prior of the latents of a layout: gaussian, laplace, or a family of mera.Prior, StudentT(df=5).",
            metavar=CALL,
        ),
    ] = None,
    **values: Any,
) -> None:
    """Train a layout of your own, or begin at a trained flow: its weights, a small rate, the best weights are kept."""
    if values["symmetrize"] is not None or values["action"] is not None or values["data"] is None:
        raise typer.BadParameter("A layout or a trained flow needs --data, and takes no --action and no --symmetrize")
    if path.suffix != LAYOUT:
        if prior is not None or values["conditional"]:
            name = "conditional" if prior is None else "prior"
            raise typer.BadParameter(f"--{name} is for a new flow; {path} has its own")
        _begin_at(path, values)
        return
    settings, lattice = settings_of(values), load_layout(path).input.lattice
    images = _images(values, lattice.shape, lattice.channels)
    torch.manual_seed(settings.seed)
    flow = load_layout_flow(path, prior or "gaussian", _count_classes(images) if values["conditional"] else None)
    flow = flow.to(choose_device(values["device"]))
    train(flow, images, settings, RunFolder(values["out"]), check=values["check"])


def _begin_at(path: Path, values: dict[str, Any]) -> None:
    """Train a flow from its trained weights on, and print by how much the loss on test examples changed."""
    settings, flow = settings_of(values, PRESETS["trained"]), load_flow(path, values["device"])
    images = _images(values, flow.plan.input.shape, flow.plan.input.channels)
    n, kind = settings.filled({}).eval_images, likelihood_of(images.test[0])
    before = example_losses(flow, images.test, n)
    pictures = pictures_of(images.test, len(before))
    start = plus_minus(*mean_and_error(before, pictures), 4)
    console.print(f"begins at {path}: {start} {kind.unit} on {len(before)} test {kind.name}")
    facts = {"begins at": {"flow": str(path), f"test {kind.unit}": before.mean().item()}}
    result = train(flow, images, settings, RunFolder(values["out"]), extra=facts, check=values["check"])
    mean, error = mean_and_error(example_losses(result.flow, images.test, n) - before, pictures)
    unclear = "" if abs(mean) > 2 * error else ", within two errors of no change"
    console.print(f"less than {path}: {plus_minus(mean, error, 4, sign=True)} {kind.unit}, example by example{unclear}")


def _train_new(model: str, **values: Any) -> None:
    """Run `mera train MODEL`."""
    options = model_options(model, values)
    if (values["data"] is None) == (values["action"] is None):
        raise typer.BadParameter("Pass either --data or --action")
    if values["action"] is not None:
        if refused := [name for name in ("conditional", "data_options", "download", "root") if values[name]]:
            raise typer.BadParameter(f"--action takes no options of data; got --{refused[0].replace('_', '-')}")
        _train_action(model, options, values)
        return
    if values["symmetrize"] is not None:
        raise typer.BadParameter("--symmetrize is for --action, not for --data")
    parameters = inspect.signature(models.builder(model)).parameters
    usual = {"L": 32, "channels": 3} | {name: p.default for name, p in parameters.items()} | options
    images = _images(values, usual["L"], usual["channels"])
    if "channels" in parameters:
        options.setdefault("channels", images.channels)
    if (images.source or {}).get("name") == "pictures":
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
    train(flow, target, settings, RunFolder(values["out"]), extra={**facts, "preset": preset}, check=values["check"])


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
    if data.takes(name, "channels"):
        options.setdefault("channels", channels)
    return data.load(name, L, values["root"], values["download"], **options)


def train(flow: Density, data: Any, settings: Settings, run: RunFolder, **options: Any) -> Result:
    """Train a flow on examples or an action; print the model and the data before, and the final loss after."""
    name = "a layout" if flow.recipe is None else flow.recipe.model
    subject = f"{name}, {count_parameters(flow):,} parameters on {flow.device}, learns"
    if isinstance(data, DataSplits):
        sizes = f"{len(data.train):,} training and {len(data.test):,} test examples of {flow.plan.input}"
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
    if settings.keep != "last" and result.best is not None and not result.interrupted:
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
    root: DataRoot = None
    download: Download = False
    conditional: Annotated[
        bool,
        typer.Option("--conditional", help="Condition the flow on the data set's classes.", rich_help_panel="Data"),
    ] = False
    data_options: DataOptions = None
    device: Device = "auto"
    check: Check = True


_options = signature_options(RunOptions)
settings_options = options_for(Settings, "Training")
_commands = model_commands(_train_new, _options, settings_options)
_group = lazy_group(_commands, with_options(_train_path, _options, settings_options))
train_command = typer.Typer(cls=_group, **OPTIONS)
train_command.callback(invoke_without_command=True)(_resume)
