"""The commands, but for the demo: train, evaluate, sample, info."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from mera import data, models
from mera.cli.options import integers, numbers, options_of, prior, signature_options, with_options
from mera.data import ImageData
from mera.flow import Flow
from mera.graph import Layout, LayoutError
from mera.io import describe, load, rebuild_empty
from mera.layout_file import load_layout
from mera.pictures import save_grid
from mera.summary import count_parameters
from mera.table import table
from mera.train import RECIPES, Result, RunFolder, Settings, bits_per_dim, fit, is_main
from mera.train import sample as draw
from mera.train.batches import contexts

__all__ = ["add_for_each_model", "app", "configured", "console", "given"]

console = Console(highlight=False, soft_wrap=True, quiet=not is_main())
PLAIN: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
app = typer.Typer(no_args_is_help=True, add_completion=False, help="Hierarchical normalizing flows.", **PLAIN)
train_app = typer.Typer(help="Train a model, or go on with a run.", **PLAIN)
info_app = typer.Typer(help="Show the plan and the parameters of a model.", no_args_is_help=True, **PLAIN)
app.add_typer(train_app, name="train")
app.add_typer(info_app, name="info")

LAYOUT_HELP = "In place of a model: a layout of your own in a TOML file; see mera.save_layout."
PRIOR_HELP = "Of a layout's latents: laplace, gaussian, or a distribution of torch."
RESUME_HELP = "Folder of a run to go on with; it keeps its settings."
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: the accelerator if there is one.")]


def _train_other(
    context: typer.Context,
    resume: Annotated[Path | None, typer.Option(help=RESUME_HELP, metavar="RUN")] = None,
    layout: Annotated[Path | None, typer.Option(help=LAYOUT_HELP, metavar="FILE")] = None,
    prior_of_layout: Annotated[Any, typer.Option("--prior", help=PRIOR_HELP, parser=prior, metavar="NAME")] = "laplace",
    **values: Any,
) -> None:
    """Train a model, or your own layout, or go on with a run."""
    asked = {"a model": context.invoked_subcommand, "--layout": layout, "--resume": resume}
    asked = {what: value for what, value in asked.items() if value is not None}
    if len(asked) != 1:
        wanted = f"Expected a model ({', '.join(models.names())}), --layout FILE or --resume RUN"
        raise typer.BadParameter(f"{wanted}; got {' and '.join(map(str, asked.values())) or 'none'}")
    if resume is not None:
        run = RunFolder(resume)
        images, settings = configured(run)
        flow = rebuild_empty(run.config())  # whatever has become of the file of the flow
        _train(flow.to(choose_device(values["device"])), images, settings, run, resume=True)
    elif layout is not None:
        if values["data"] is None or values["out"] is None:
            raise typer.BadParameter("Expected --data and --out for a layout; got none")
        _train_layout(layout, prior_of_layout, values)


def _train_layout(path: Path, prior: Any, values: dict[str, Any]) -> None:
    """`mera train --layout FILE`."""
    layout = load_layout(path)
    lattice = layout.input.lattice
    if lattice.dim != 2 or len(set(lattice.shape)) > 1:
        raise ValueError(f"{path}: Expected a square lattice, to train on images; got {lattice}")
    source, images = _images(values, lattice.shape[0], lattice.channels)

    make = partial(_flow_of, path, layout, prior, _classes(images) if values["conditional"] else None)
    start_run(RunFolder(values["out"]), make, source, images, _settings(values), choose_device(values["device"]))


def _flow_of(path: Path, layout: Layout, prior: Any = "laplace", classes: int | None = None) -> Flow:
    """A flow of a layout from a file, which is named if it is no bijection."""
    try:
        return Flow(layout, prior, classes=classes)
    except LayoutError as error:
        raise LayoutError(f"{path}: {error}") from error


def _train_new(model: str, **values: Any) -> None:
    """`mera train MODEL`."""
    options = given(model, values)
    settings = _settings(values, RECIPES.get(options.get("preset", ""), {}))
    L = options.get("L", inspect.signature(models.builder(model)).parameters["L"].default)
    source, images = _images(values, L, options.get("channels", 3))
    options.setdefault("channels", images.channels)
    if values["conditional"]:
        options.setdefault("classes", _classes(images))
    make = partial(models.build, model, **options)
    start_run(RunFolder(values["out"]), make, source, images, settings, choose_device(values["device"]))


def _settings(values: dict[str, Any], recipe: Mapping[str, Any] | None = None) -> Settings:
    """The settings that the user gave, before those of a recipe."""
    asked = {f.name: values[f.name] for f in fields(Settings) if values[f.name] is not None}
    return Settings(**{**(recipe or {}), **asked})


def _images(values: dict[str, Any], L: int, channels: int) -> tuple[dict[str, Any], ImageData]:
    """The data set that the user asked for, and how to load it again."""
    source = {"name": values["data"], "L": L, "root": str(values["root"])}
    if values["data"] == "folder":
        source["channels"] = channels
    if values["train_size"] is not None:
        source["train_size"] = values["train_size"]
    return source, data.load(**source, download=values["download"])


def _classes(images: ImageData) -> int:
    return int(data.labels(images.train).max()) + 1


def start_run(
    run: RunFolder,
    make: Callable[[], Flow],
    source: dict[str, Any],
    images: ImageData,
    settings: Settings,
    device: torch.device,
) -> Result:
    """Make a flow, remember in its folder how it was made and what it learns, and train it."""
    torch.manual_seed(settings.seed)
    flow = make().to(device)
    if is_main():
        run.create(describe(flow) | {"data": source, "settings": asdict(settings)})
    return _train(flow, images, settings, run, resume=False)


def _train(flow: Flow, images: ImageData, settings: Settings, run: RunFolder, resume: bool) -> Result:
    name = flow.recipe.model if flow.recipe is not None else "a layout"
    console.print(
        f"{name}, {count_parameters(flow):,} parameters on {flow.device}, learns {images.name}: "
        f"{len(images.train):,} training and {len(images.test):,} test images of {flow.plan.input}"
    )
    if resume:
        console.print(f"going on from step {run.state()['step']} of {settings.steps}")
    result = fit(flow, images, settings, run, resume, console)
    done = "interrupted and saved" if result.interrupted else "finished"
    n = min(settings.eval_images, len(images.test))
    bits = "" if math.isnan(result.test_bits) else f": {result.test_bits:.3f} bits/dim on {n} test images"
    console.print(f"{done} after {result.steps} steps{bits}; see {run.path}")
    if result.interrupted:
        console.print(f"go on with: mera train --resume {run.path}")
    return result


def _info(model: str, **values: Any) -> None:
    _show(models.build(model, **given(model, values)))


def _show(flow: Flow) -> None:
    console.print(f"{flow}\n\n{flow.plan}", markup=False)


@info_app.callback(invoke_without_command=True)
def info(
    context: typer.Context,
    layout: Annotated[Path | None, typer.Option(help=LAYOUT_HELP, metavar="FILE")] = None,
) -> None:
    """Show the plan and the parameters of a model, or of your own layout."""
    if (layout is None) == (context.invoked_subcommand is None):
        raise typer.BadParameter(f"Expected either a model ({', '.join(models.names())}) or --layout FILE")
    if layout is not None:
        _show(_flow_of(layout, load_layout(layout)))


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    images: Annotated[int | None, typer.Option(min=1, help="How many test images; all of them if left out.")] = None,
    device: Device = "auto",
) -> None:
    """Bits per dimension on test images, and how exactly they are rebuilt from their latents."""
    folder = RunFolder(run)
    flow = folder.flow().to(choose_device(device))
    test = configured(folder)[0].test
    bits = bits_per_dim(flow, test, images)
    some, known = data.first(test, 100).to(flow.device), contexts(flow, test)
    error = rebuild_error(flow, some, None if known is None else known[: len(some)].to(flow.device))
    rows = [
        ("test images", len(test) if images is None else min(images, len(test))),
        ("bits/dim", f"{bits:.4f}"),
        ("largest error of x -> z -> x", f"{error:.2e}"),
        ("parameters", f"{count_parameters(flow):,}"),
    ]
    console.print(table(["what", "value"], rows), markup=False)


@app.command()
def sample(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or a file that mera.save wrote.")],
    n: Annotated[int, typer.Option(min=1, help="How many.")] = 64,
    temperature: Annotated[
        Any, typer.Option(parser=numbers, help="One for all levels, or one for each, finest first.", metavar="T[,T...]")
    ] = "1.0",
    classes: Annotated[
        Any, typer.Option(parser=integers, help="Of a conditional flow: one, or several in turn.", metavar="K[,K...]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The PNG to write.", metavar="FILE")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    device: Device = "auto",
) -> None:
    """Draw samples and write them as a grid."""
    flow = (load(run) if run.is_file() else RunFolder(run).flow()).to(choose_device(device))
    context = None
    if classes is not None:
        numbers_of_classes = torch.tensor(classes if isinstance(classes, tuple) else (classes,), device=flow.device)
        context = numbers_of_classes[torch.arange(n, device=flow.device) % len(numbers_of_classes)]
    images = flow.to_images(draw(flow, n, temperature, seed, context))
    name = "_".join(map(str, temperature)) if isinstance(temperature, tuple) else str(temperature)
    out = out if out is not None else (run if run.is_dir() else run.parent) / f"samples_T{name}.png"
    if is_main():
        save_grid(images, out)
    console.print(f"{n} samples at temperature {temperature}: {out}")


def configured(run: RunFolder) -> tuple[ImageData, Settings]:
    """The data and the settings of a run.

    Raises:
        ValueError: if its configuration does not say what it should.
    """
    config = run.config()
    try:
        return data.load(**config["data"]), Settings(**config["settings"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"Expected data and settings of a run in {run.path}; got a configuration with {error}"
        ) from error


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" is the accelerator if there is one.

    Raises:
        ValueError: if torch has no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # of several processes, each has its own
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"Expected a device that torch has here; got {name!r}: {str(error).splitlines()[0]}"
        ) from error
    return torch.device(name)


@torch.no_grad()
def rebuild_error(flow: Flow, images: torch.Tensor, context: torch.Tensor | None = None) -> float:
    """The largest change of a variable, in the flow's own space, on the way to the latents and back."""
    x = flow.from_images(images)
    return (flow.inverse(flow(x, context)[0], context)[0] - x).abs().max().item()


def given(model: str, values: dict[str, Any]) -> dict[str, Any]:
    """The options of a model, and its preset, that the user gave."""
    names = ["preset", *inspect.signature(models.builder(model)).parameters]
    return {name: values[name] for name in names if values.get(name) is not None}


def _preset_option(model: str) -> list[inspect.Parameter]:
    """`--preset`, for a model that has some."""
    if not models.presets(model):
        return []
    option = typer.Option(help=f"Other defaults: {', '.join(models.presets(model))}.")
    annotation = Annotated[str | None, option]
    return [inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)]


def _run_options() -> list[inspect.Parameter]:
    """Options of `mera train` beside those of the model and of the settings."""

    def options(
        data: Annotated[str, typer.Option(help=f"Data set: {', '.join(data.names())}.")],
        out: Annotated[Path, typer.Option(help="Folder of the run.", metavar="DIR")],
        root: Annotated[Path, typer.Option(help="Where data sets are; for folder, the folder.")] = Path("data"),
        download: Annotated[bool, typer.Option(help="Download what is missing.")] = False,
        conditional: Annotated[bool, typer.Option(help="Condition the flow on the data set's classes.")] = False,
        train_size: Annotated[int | None, typer.Option(min=1, help="Training images of msds1, msds2.")] = None,
        device: Device = "auto",
    ) -> None: ...

    return signature_options(options, data=data)


def add_for_each_model(
    to: typer.Typer,
    run: Callable[..., None],
    before: list[inspect.Parameter] | None = None,
    after: list[inspect.Parameter] | None = None,
) -> None:
    """A command for each model, `run(name, **values)`: its options are those of the model, between two other groups."""
    for name in models.names():
        builder = models.builder(name)
        summary = (inspect.getdoc(builder) or "").split("\n\n")[0]
        options = _preset_option(name) + options_of(builder)
        to.command(name, help=summary)(with_options(partial(run, name), before or [], options, after or []))


add_for_each_model(train_app, _train_new, _run_options(), options_of(Settings))
_optional = [p.replace(default=None if p.default is inspect.Parameter.empty else p.default) for p in _run_options()]
train_app.callback(invoke_without_command=True, help=inspect.getdoc(_train_other))(
    with_options(_train_other, signature_options(_train_other), _optional, options_of(Settings))
)
add_for_each_model(info_app, _info)
