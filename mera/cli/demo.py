"""The command `mera demo`: trains two flows on the same images for the same time, and draws samples of each."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from mera import data
from mera._utils.files import make_folder
from mera._utils.table import Table, plus_minus
from mera.analysis import map_picture, mix_pictures, refine_picture
from mera.cli.options import Device
from mera.cli.sources import choose_device
from mera.cli.terminal import console, show
from mera.cli.train import train
from mera.drawing.curves import loss_curves
from mera.drawing.images import progression, save_figure, save_grid, save_image, titled
from mera.graph.summary import count_parameters
from mera.models import build
from mera.models.saving import load_pretrained
from mera.train import RunFolder, Settings
from mera.train.evaluate import example_losses, mean_and_error
from mera.train.health import inverse_error
from mera.train.likelihoods import likelihood

MODELS: dict[str, dict[str, Any]] = {
    "rgflow": {"L": 32, "m": 4, "layers": 2, "hidden": (64,)},
    "realnvp": {"L": 32, "m": 4, "hidden": [(16,), (32,), (64,), (64,)]},
}
"""Two models with about the same number of parameters."""
TEMPERATURE = (0.2, 0.6, 0.6, 0.6)
"""As in RG-Flow, App. B: the finest level takes the longest to learn, and its latents are drawn colder."""


def demo_command(
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the runs.", metavar="DIR")] = Path("demo"),
    seconds: Annotated[float, typer.Option(help="Training time of each flow.")] = 50,
    train_size: Annotated[int, typer.Option(help="Number of training images.")] = 4000,
    device: Device = "auto",
) -> None:
    """Train RG-Flow and Real NVP on generated images; pictures and bits/dim in about two minutes, without a download.

    It begins with a flow of the package that learnt photographs: photograph_map.png has the bits per dimension of a cat
    by level and place, photograph_mixed.png the cat with the fine structure of its picture turned by a right angle, and
    photograph_refined.png a part of it in half of the pixels, and enlarged again.
    """
    begin = time.monotonic()
    where = choose_device(device)
    settings = Settings(minutes=seconds / 60, eval_every=50, eval_images=100)
    images = data.load("msds1", L=32, train_size=train_size, test_size=500)
    runs = out / time.strftime("runs-%Y%m%d-%H%M%S")
    make_folder(runs)
    _photograph(out)
    names = ", ".join(str(out / f"photograph_{name}.png") for name in ("map", "mixed", "refined"))
    console.print(f"{time.monotonic() - begin:.0f} s: {names}")
    save_grid(data.first(images.train, 64), out / "data.png")
    rows, metrics = [], {}
    for name, options in MODELS.items():
        run = RunFolder(runs / name)
        torch.manual_seed(settings.seed)
        result = train(build(name, **options).to(where), images, settings, run)
        flow = result.flow
        metrics[f"{name}, {result.steps} steps"] = [run.metrics()]
        bits = plus_minus(*mean_and_error(example_losses(flow, images.test)))
        error = f"{inverse_error(flow, likelihood(flow, images.test)):.0e}"
        rows.append((name, f"{count_parameters(flow):,}", result.steps, bits, error))
        torch.manual_seed(0)
        image, *coarse = flow.progression(flow.sample_latents(64, TEMPERATURE))
        samples = flow.to_images(image)
        save_grid(samples, out / f"{name}_samples.png")
        if name == "rgflow":
            levels = [level[:4] for level in (samples, *coarse)]
            save_figure(progression(levels, "RG-Flow generates from coarse to fine"), out / "rgflow_progression.png")
        if result.interrupted:
            break
    save_figure(loss_curves(metrics, title="learning msds1 for the same time"), out / "curves.png")
    show(Table(["model", "parameters", "steps", "test bits/dim", "error of x -> z -> x"], rows))
    console.print(f"{time.monotonic() - begin:.0f} s. Pictures, and the runs in {runs}:")
    for path in sorted(out.glob("*.png")):
        console.print(f"  {path}")


def _photograph(out: Path) -> None:
    """Map a photograph, mix it with itself, and refine a part of it that was reduced to half of its edges."""
    torch.manual_seed(0)
    photograph, flow = data.photograph(), load_pretrained("photographs")
    save_image(photograph, out / "photograph.png")
    save_figure(map_picture(flow, photograph).figure(), out / "photograph_map.png")
    turned = data.resize(photograph.rot90(1, (1, 2)), photograph.shape[1:])
    mixed = {f"levels from {h} on of A": image for h, image in mix_pictures(flow, photograph, turned, [2, 3]).items()}
    save_figure(titled({"A": photograph, "B": turned} | mixed, columns=2, width=4), out / "photograph_mixed.png")
    small = data.resize(photograph[:, 32:160, 96:224], (64, 64))
    refined = refine_picture(flow, small)
    enlarged = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    save_figure(titled({"64 x 64 pixels": enlarged, "refined to 128 x 128": refined}), out / "photograph_refined.png")
