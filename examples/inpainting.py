"""Repair masked images with the latents in RG-Flow's cone, and with Real NVP for comparison (Fig. 6 of the paper).

    python examples/inpainting.py
    python examples/inpainting.py --data mnist --root DIR --download
    python examples/inpainting.py --data DIR --grey
    python examples/inpainting.py --rgflow RUN --realnvp RUN

The first command trains an RG-Flow and a Real NVP of about the same size on generated images, for four minutes each.
It then masks a square of each of eight test images and fills it: with RG-Flow by the latents in the inference cone of
the square, the likeliest filling, and a draw and the mean of samples; with Real NVP by as many latents, and by all
latents. The search is the same for both flows: Adam from the best of 50 random fillings. Filling takes a minute or more
for each image; `--images 2 --steps 50` shows sooner what comes of it.

The script prints the error in the masked pixels and how many latents were varied. It writes the images to
`inpainting/inpainting.png`, and keeps the flows in `inpainting/rgflow` and `inpainting/realnvp`, folders of runs that
`mera inpaint` can use.

The second command learns digits and downloads them; the third learns any folder with sub-folders `train` and `test`;
the fourth uses runs that were trained before, with `mera train` or by this script.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

import mera
from mera import data
from mera._utils.table import plus_minus
from mera.drawing.images import paint_mask, save_figure
from mera.train import RunFolder, Settings, fit
from mera.train.evaluate import mean_and_error

MODELS = {"rgflow": {"layers": 2, "hidden": (64,)}, "realnvp": {"hidden": [(16,), (32,), (64,), (64,)]}}
"""Two models with about the same number of parameters."""
console = Console(highlight=False, soft_wrap=True)


def train(model: str, source: dict, minutes: float, out: Path) -> mera.Flow:
    """Train a flow for some minutes, in the folder of a run that `mera inpaint` can use."""
    images = data.load(**source)
    torch.manual_seed(0)
    options = {"L": 32, "m": 4, "channels": images.channels, **MODELS[model]}
    flow = mera.build(model, **options)
    parameters = sum(parameter.numel() for parameter in flow.parameters() if parameter.requires_grad)
    console.print(f"{model}: {parameters:,} parameters")
    run = RunFolder(out / model)
    settings = Settings(minutes=minutes, eval_images=200)
    fit(flow, images, settings, run, console=console)
    return flow


def random_squares(n: int, edge: int) -> Tensor:
    """Draw masks (n, 32, 32), each of one square at a random place."""
    masks = torch.zeros(n, 32, 32, dtype=torch.bool)
    for mask in masks:
        row, column = torch.randint(0, 33 - edge, (2,)).tolist()
        mask[row : row + edge, column : column + edge] = True
    return masks


def rms(filled: Tensor, truth: Tensor, mask: Tensor) -> float:
    """The root mean square error of the masked pixels, on a scale from 0 for black to 1 for white."""
    return ((filled.float() - truth.float())[:, :, mask] / 255).square().mean().sqrt().item()


def repair(
    flows: dict[str, mera.Flow], image: Tensor, mask: Tensor, arguments: argparse.Namespace, r_hats: list[float]
) -> dict[str, tuple[Tensor, int]]:
    """Fill the mask of an image in each way: by name, the filled image and the number of variables varied."""
    search = {"steps": arguments.steps, "draws": 50, "sweeps": 0, "samples": 0}
    flow = flows["rgflow"]
    result = flow.inpaint(flow.from_images(image), mask, **search)
    filled = {"RG-Flow, likeliest": (flow.to_images(result.image), result.varied)}
    found = flow.inpaint(
        flow.from_images(image), mask, steps=0, samples=arguments.samples, leapfrog=8,
        warmup=arguments.iterations, iterations=arguments.iterations,
    )  # fmt: skip
    r_hats.append(found.convergence.r_hat)
    filled |= {f"RG-Flow, {name}": (found.pictures[name][None], found.varied) for name in ("draw", "mean")}
    cone = flow.inference_cone(mask).count
    flow = flows["realnvp"]
    ways = {"as many": cone, "all": None} if arguments.constrained else {"all": None}
    for name, latents in ways.items():
        result = flow.inpaint(flow.from_images(image), mask, latents=latents, **search)
        filled[f"Real NVP, {name} latents"] = (flow.to_images(result.image), result.varied)
    return filled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="msds1", choices=data.names(), help="the images to learn")
    parser.add_argument("--root", help="the folder of the images")
    parser.add_argument("--download", action="store_true", help="download the images if they are not there")
    parser.add_argument("--grey", action="store_true", help="read a folder of images as grey")
    parser.add_argument("--minutes", type=float, default=4, help="training time of each flow")
    parser.add_argument("--images", type=int, default=8, help="number of test images to repair")
    parser.add_argument("--edge", type=int, default=8, help="edge of the masked square, in pixels")
    parser.add_argument("--steps", type=int, default=300, help="number of Adam's steps for each image")
    parser.add_argument("--samples", type=int, default=4, help="chains of samples of RG-Flow")
    parser.add_argument("--iterations", type=int, default=60, help="iterations of a chain, after as many of warm-up")
    parser.add_argument("--constrained", action=argparse.BooleanOptionalAction, default=True,
                        help="Real NVP also by as many latents as are in the cone of RG-Flow")  # fmt: skip
    parser.add_argument("--rgflow", type=Path, metavar="RUN", help="the run of an RG-Flow, in place of training one")
    parser.add_argument("--realnvp", type=Path, metavar="RUN", help="the run of a Real NVP, in place of training one")
    parser.add_argument("--out", type=Path, default=Path("inpainting"), help="folder for the picture and the flows")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sizes = {"train_size": 20_000, "test_size": 500} if arguments.data.startswith("msds") else {}
    grey = {"channels": 1} if arguments.grey else {}
    source = {"name": arguments.data, "L": 32, "root": arguments.root, **sizes, **grey}
    images = data.load(**source, download=arguments.download)
    flows = {
        model: mera.load(run) if run else train(model, source, arguments.minutes, arguments.out)
        for model, run in (("rgflow", arguments.rgflow), ("realnvp", arguments.realnvp))
    }
    torch.manual_seed(1)
    truth = data.first(images.test, arguments.images)
    masks = random_squares(len(truth), arguments.edge)
    rows = {
        "ground truth": truth,
        "corrupted": torch.cat([paint_mask(i[None], m) for i, m in zip(truth, masks, strict=True)]),
    }
    errors, moved, r_hats = {}, {}, []
    pairs = list(zip(truth[:, None], masks, strict=True))
    for image, mask in track(pairs, "repair", console=console):
        for name, (filled, varied) in repair(flows, image, mask, arguments, r_hats).items():
            filled = torch.where(mask, filled, image)
            rows[name] = torch.cat([rows[name], filled]) if name in rows else filled
            errors.setdefault(name, []).append(rms(filled, image, mask))
            moved.setdefault(name, []).append(varied)
    table = Table("repaired by", "latents varied, mean", "rms error, mean", "median", box=None)
    for name, e in errors.items():
        latents = f"{sum(moved[name]) / len(truth):,.0f}"
        table.add_row(name, latents, plus_minus(*mean_and_error(torch.tensor(e))), f"{sorted(e)[len(e) // 2]:.3f}")
    console.print(table)
    mixed, median = sum(r_hat < 1.1 for r_hat in r_hats), sorted(r_hats)[len(r_hats) // 2]
    console.print(f"R-hat of the chains is below 1.1 for {mixed} of {len(r_hats)} images; its median is {median:.2f}")
    save_figure(draw(rows, errors, moved), arguments.out / "inpainting.png")
    console.print(f"picture: {arguments.out / 'inpainting.png'}")


def draw(rows: dict[str, Tensor], errors: dict[str, list[float]], moved: dict[str, list[int]]) -> Figure:
    """Draw a row per method and a column per image, with the error and the number of varied latents below each."""
    columns = len(rows["ground truth"])
    figure = Figure(figsize=(1.3 * columns + 1.2, 1.55 * len(rows)), layout="constrained")
    for (name, images), axes in zip(rows.items(), figure.subplots(len(rows), columns, squeeze=False), strict=True):
        axes[0].set_ylabel(name.replace(", ", ",\n"), fontsize=8)
        for index, (axis, image) in enumerate(zip(axes, images, strict=True)):
            pixels = image.movedim(0, -1).numpy()
            axis.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
            if name in errors:
                axis.set_xlabel(f"{errors[name][index]:.3f}\n{moved[name][index]:,} latents", fontsize=7)
    return figure


if __name__ == "__main__":
    main()
