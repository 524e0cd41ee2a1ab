"""Fig. 6 of the RG-Flow paper: corrupted images, repaired by few latents of RG-Flow, by as many of Real NVP, by all.

    python examples/inpainting.py --minutes 4 --out inpainting

trains both flows on generated images for four minutes each, masks a square of each of some test images, fills it, and
prints the error in the masked pixels and how many latents were moved. `inpainting/inpainting.png` shows the images.

Digits: `--data mnist --root DIR --download`. Faces: any folder with sub-folders `train` and `test`, `--data folder
--root DIR --grey`. Trained runs are used in place of training with `--rgflow RUN --realnvp RUN`.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor

import mera
from mera import data
from mera._utils.progress import ProgressBar
from mera._utils.table import table
from mera.drawing.images import corrupted, save_figure
from mera.graph.summary import count_parameters
from mera.io.flows import describe
from mera.train import RunFolder, Settings, fit

MODELS = {"rgflow": {"hidden": (64,)}, "realnvp": {"hidden": (48,), "layers": 1, "residual_blocks": 1}}
"""Of about the same number of parameters."""
console = Console(highlight=False, soft_wrap=True)


def train(model: str, source: dict, minutes: float, out: Path) -> mera.Flow:
    """A flow that has learnt images for some minutes, and its run's folder, with which `mera inpaint` works too."""
    images = data.load(**source)
    torch.manual_seed(0)
    flow = mera.build(model, L=32, m=4, channels=images.channels, **MODELS[model])
    console.print(f"{model}: {count_parameters(flow):,} parameters")
    run = RunFolder(out / model)
    settings = Settings(steps=1_000_000, minutes=minutes, eval_images=200)
    run.create(describe(flow) | {"data": source, "settings": asdict(settings)})
    fit(flow, images, settings, run, console=console)
    return flow


def random_squares(n: int, edge: int) -> Tensor:
    """Masks (n, 32, 32) of one square each."""
    masks = torch.zeros(n, 32, 32, dtype=torch.bool)
    for mask in masks:
        row, column = torch.randint(0, 33 - edge, (2,)).tolist()
        mask[row : row + edge, column : column + edge] = True
    return masks


def rms(filled: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Root mean square error of masked pixels, white being 1."""
    return ((filled.float() - truth.float())[:, :, mask] / 255).square().mean().sqrt().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="msds1", choices=data.names())
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--grey", action="store_true", help="read a folder of images as grey")
    parser.add_argument("--minutes", type=float, default=4, help="training time of each flow")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--edge", type=int, default=8, help="of the masked square")
    parser.add_argument("--steps", type=int, default=300, help="of Adam")
    parser.add_argument("--rgflow", type=Path, metavar="RUN")
    parser.add_argument("--realnvp", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, default=Path("inpainting"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sizes = {"train_size": 20_000, "test_size": 500} if arguments.data.startswith("msds") else {}
    grey = {"channels": 1} if arguments.grey else {}
    source = {"name": arguments.data, "L": 32, "root": str(arguments.root), **sizes, **grey}
    images = data.load(**source, download=arguments.download)
    flows = {
        model: RunFolder(run).flow() if run else train(model, source, arguments.minutes, arguments.out)
        for model, run in (("rgflow", arguments.rgflow), ("realnvp", arguments.realnvp))
    }
    torch.manual_seed(1)
    truth = data.first(images.test, arguments.images)
    masks = random_squares(len(truth), arguments.edge)
    rows = {
        "ground truth": truth,
        "corrupted": torch.cat([corrupted(i[None], m) for i, m in zip(truth, masks, strict=True)]),
    }
    errors, moved = {}, {}
    with ProgressBar("repair", console, unit="image") as progress_bar:
        for index, (image, mask) in enumerate(zip(truth[:, None], masks, strict=True)):
            cone = flows["rgflow"].inference_cone(mask).count
            for name, model, latents in (
                ("RG-Flow, in its cone", "rgflow", "cone"),
                ("Real NVP, as many latents", "realnvp", cone),
                ("Real NVP, all latents", "realnvp", "all"),
            ):
                flow = flows[model]
                result = flow.inpaint(flow.from_images(image), mask, latents=latents, steps=arguments.steps)
                filled = torch.where(mask, flow.to_images(result.image), image)
                rows[name] = torch.cat([rows[name], filled]) if name in rows else filled
                errors.setdefault(name, []).append(rms(filled, image, mask))
                moved.setdefault(name, []).append(result.varied)
            progress_bar.update(index + 1, (index + 1) / len(truth))
    lines = [
        (name, f"{sum(moved[name]) / len(truth):,.0f}", f"{sum(e) / len(e):.3f}", f"{sorted(e)[len(e) // 2]:.3f}")
        for name, e in errors.items()
    ]
    header = ["repaired by", "latents moved, mean", "rms error, mean", "median"]
    console.print(table(header, lines), markup=False)
    save_figure(draw(rows, errors, moved), arguments.out / "inpainting.png")
    console.print(f"picture: {arguments.out / 'inpainting.png'}")


def draw(rows: dict[str, Tensor], errors: dict[str, list[float]], moved: dict[str, list[int]]) -> Figure:
    """One row per method, one column per image, the error and the number of latents under each."""
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
