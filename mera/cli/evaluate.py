"""The commands `mera evaluate`, `sample` and `check`: losses on test examples, samples, and laws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from mera._utils.errors import InputError
from mera._utils.files import make_folder, replacing
from mera._utils.processes import is_main
from mera._utils.progress import ProgressBar, check_console
from mera._utils.table import Table
from mera.analysis.classify import classify
from mera.analysis.laws import check
from mera.cli.options import Device, Lattice, Root, Seed, value
from mera.cli.sources import (
    SOURCE_HELP,
    Runs,
    examples_of,
    folder_of,
    learnt_fields,
    load_flow,
    parse_classes,
    shape_of,
)
from mera.cli.terminal import Json, console, show, show_json, sources
from mera.drawing.images import png_path, save_grid, stretch
from mera.executor.watching import passes_shown
from mera.graph.summary import count_parameters
from mera.train.evaluate import example_losses, mean_and_error, pictures_of, sample
from mera.train.health import inverse_error
from mera.train.likelihoods import likelihood, likelihood_of

PICTURES = 0.8
"""The usual temperature of images, which is calmer than their own."""


def evaluate_command(
    runs: Runs,
    images: Annotated[int | None, typer.Option(min=1, help="Number of test images; all if left out.")] = None,
    L: Lattice = None,
    root: Root = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Evaluate runs on their test examples: the loss per variable, and the largest error of inverting the flow.

    A flow that is conditional on classes also has the accuracy of Bayes' rule, for classes that are equally likely: as
    many passes as classes. Several runs are compared in one table.
    """
    shown = check_console(None, quiet=as_json)  # on terminals
    results: list[dict[str, Any]] = []
    for run in runs:
        flow = load_flow(run, device, L)
        test = examples_of(run, flow, root)
        kind = likelihood_of(test[0])
        with ProgressBar(f"evaluate {run}", shown, "example") as bar:
            losses = example_losses(flow, test, images, progress=bar.update)
        by_class = None
        if flow.context_encoder.classes is not None and flow.flow.needs_context:
            with ProgressBar(f"classify {run}", shown, "example") as bar:
                by_class = classify(flow, test, images, progress=bar.update)
        pictures = pictures_of(test, len(losses))
        mean, error = mean_and_error(losses, pictures)
        over = "" if pictures is None or len(pictures.unique()) < 2 else f" over {len(pictures.unique())} pictures"
        results.append({
            "run": str(run),
            f"test {kind.name}": len(losses),
            kind.unit: mean,
            f"standard error{over}": error,
            **({} if by_class is None else {"accuracy": by_class.accuracy, "its error": by_class.error}),
            "largest error of x -> z -> x": inverse_error(flow, likelihood(flow, test)),
            "parameters": count_parameters(flow),
        })  # fmt: skip
    if as_json:
        show_json(results)
        return
    rows = [{name: _formatted(name, value) for name, value in result.items()} for result in results]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    show(Table(columns, [[row.get(name, "") for name in columns] for row in rows]))


def _formatted(name: str, value: Any) -> str:
    """Format a number for a table."""
    if isinstance(value, float):
        return f"{value:.2e}" if name.startswith("largest") else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else value


def covering(flow: Any, shape: Sequence[int]) -> Any:
    """A flow for samples of a shape, which may be the corner of a larger lattice.

    If levels share their bijectors, between open borders, all edges are so large that the coarsest level is one patch:
    several would be independent, and the picture a quilt. Otherwise the lattice has the shape itself.
    """
    options = {} if flow.recipe is None else flow.recipe.options
    if not options.get("share_levels") or len(flow.plan.latents) == 1 or any(flow.plan.input.periodic):
        return flow.resized(shape)
    levels = max(1 + math.ceil(math.log2(max(shape) / options["m"])), 2 + options["shared_from"])
    return flow.resized((options["m"] << levels - 1,) * len(shape), levels)


def sample_command(
    run: Annotated[Path, typer.Argument(help=SOURCE_HELP, autocompletion=sources)],
    n: Annotated[int, typer.Option(min=1, help="Number of samples.")] = 64,
    L: Lattice = None,
    temperature: Annotated[
        Any,
        typer.Option(
            parser=value,
            metavar="T[,T...]",
            help=f"One for all levels, or one each, finest first. Default: {PICTURES} for images, 1 for fields.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Classes of a conditional flow, in turn, by name or number.", metavar="NAME|K[,...]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write; or .npy for all samples as an array.", metavar="FILE")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Draw samples of a run, and write a grid, or an array if they are not images; of all classes in turn."""
    flow = load_flow(run, device)
    shape = shape_of(flow, L)
    flow = flow if L is None else covering(flow, shape)
    as_array = out.suffix == ".npy" if out is not None else not flow.plan.input.is_picture
    if not as_array and not flow.plan.input.is_picture:
        raise InputError("a .npy file for samples that are not images", str(out))
    context = None
    if classes is not None:
        chosen = torch.tensor(parse_classes(run, flow, classes), device=flow.device)
        context = chosen[torch.arange(n, device=flow.device) % len(chosen)]
    is_image = flow.plan.input.is_picture and not learnt_fields(run)
    temperature = (PICTURES if is_image else 1.0) if temperature is None else temperature
    with passes_shown("sample", flow.plan, n, 1, check_console(console)):
        samples = sample(flow, n, temperature, seed, context)[..., *map(slice, shape)]  # type: ignore[index]
    samples = flow.to_images(samples) if is_image else samples
    name = "_".join(map(str, temperature)) if isinstance(temperature, tuple) else str(temperature)
    name += "" if classes is None else f"_classes_{'_'.join(map(str, chosen.tolist()))}"
    name += "" if L is None else f"_L_{'_'.join(map(str, shape))}"
    name += f"_seed_{seed}" if seed else ""  # keeps the pictures of other lattices and seeds
    out = folder_of(run) / f"samples_T{name}.{'npy' if as_array else 'png'}" if out is None else out
    out = out if as_array else png_path(out)
    make_folder(out.parent)
    if is_main() and as_array:
        with replacing(out) as temporary, temporary.open("wb") as file:
            np.save(file, samples.cpu().numpy())
    elif is_main():
        save_grid(samples if samples.dtype == torch.uint8 else stretch(samples), out)
    console.print(f"{n} samples at temperature {temperature}: {out}")


def check_command(
    subject: Annotated[
        str | None,
        typer.Argument(
            help="Folder of a run, a file that mera.save wrote, or the name of a trained flow or a data set."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the laws of a run, a flow or a data set; without an argument, show versions, devices and what is missing.

    The exit status is 1 if a law fails. A bug report should hold what `mera check` prints.
    """
    report = check(subject)
    if as_json:
        show_json({"ok": report.ok, "laws": [asdict(law) for law in report.laws]})
    else:
        show(report.subject, report.table(), repr(report).splitlines()[-1])
    if not report.ok:
        raise typer.Exit(1)
