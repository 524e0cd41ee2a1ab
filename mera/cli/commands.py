"""The commands, but for the demo: train, evaluate, sample, info."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from mera import data, models
from mera.cli.options import integers, numbers, options_of, signature_options, with_options
from mera.data import ImageData
from mera.flow import Flow
from mera.io import describe, load
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

RESUME_HELP = "Folder of a run to go on with; it keeps its settings."
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: the accelerator if there is one.")]


@train_app.callback(invoke_without_command=True)
def resume(
    context: typer.Context,
    resume: Annotated[Path | None, typer.Option(help=RESUME_HELP, metavar="RUN")] = None,
    device: Device = "auto",
) -> None:
    """Train a model, or go on with a run."""
    if context.invoked_subcommand is not None:
        if resume is not None:
            raise typer.BadParameter(
                f"Expected a model or --resume; got both, {context.invoked_subcommand} and {resume}"
            )
        return
    if resume is None:
        raise typer.BadParameter(
            f"Expected a model ({', '.join(models.names())}) or --resume RUN; see mera train --help"
        )
    run = RunFolder(resume)
    images, settings = configured(run)
    config = run.config()
    flow = models.build(config["model"], **config["options"])  # whatever has become of the file of the flow
    _train(flow.to(choose_device(device)), images, settings, run, resume=True)


def _train_new(model: str, **values: Any) -> None:
    """`mera train MODEL`."""
    options = given(model, values)
    asked = {f.name: values[f.name] for f in fields(Settings) if values[f.name] is not None}
    settings = Settings(**RECIPES.get(options.get("preset", ""), {}) | asked)
    L = options.get("L", inspect.signature(models.builder(model)).parameters["L"].default)
    source = {"name": values["data"], "L": L, "root": str(values["root"])}
    if values["data"] == "folder":
        source["channels"] = options.get("channels", 3)
    if values["train_size"] is not None:
        source["train_size"] = values["train_size"]
    images = data.load(**source, download=values["download"])
    options.setdefault("channels", images.channels)
    if values["conditional"]:
        options.setdefault("classes", int(data.labels(images.train).max()) + 1)
    start_run(RunFolder(values["out"]), model, options, source, images, settings, choose_device(values["device"]))


def start_run(
    run: RunFolder,
    model: str,
    options: dict[str, Any],
    source: dict[str, Any],
    images: ImageData,
    settings: Settings,
    device: torch.device,
) -> Result:
    """Build a model, remember in its folder how it was built and what it learns, and train it."""
    torch.manual_seed(settings.seed)
    flow = models.build(model, **options).to(device)
    if is_main():
        run.create(describe(flow) | {"data": source, "settings": asdict(settings)})
    return _train(flow, images, settings, run, resume=False)


def _train(flow: Flow, images: ImageData, settings: Settings, run: RunFolder, resume: bool) -> Result:
    name = flow.recipe.model if flow.recipe is not None else "flow"
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
    flow = models.build(model, **given(model, values))
    console.print(f"{flow}\n\n{flow.plan}", markup=False)


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
add_for_each_model(info_app, _info)
