"""Train RG-Flow, its variants and other models on the same images for the same time, and compare them.

    python examples/compare_architectures.py
    python examples/compare_architectures.py --only RG-Flow "RG-Flow, splines" NeuralRG tree "brick wall" wavelet Glow
    python examples/compare_architectures.py --data tiles --only "RG-Flow" "authors" "Real NVP"

All models have about the same number of parameters. The first command trains six models for a minute each, which takes
about seven minutes; the images are generated, so that nothing is downloaded.

The script prints a table with the number of parameters, the number of training steps, the bits per dimension on test
images and the time that 64 samples take. It writes `comparison/comparison.png`, with test bits per dimension over time
and samples of each model. It keeps each trained flow in a folder of its own in `comparison/runs-DATE-TIME`, from which
`mera.load` reads it. `--seconds` sets the training time of each model, `--out` another folder.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import mera
from mera import data
from mera.drawing.images import grid, save_figure
from mera.train import PRESETS, RunFolder, Settings, bits_per_dim, fit

ARCHITECTURES = {
    "RG-Flow": ("rgflow", {}),
    "RG-Flow, authors' order": ("rgflow", {"order": "authors"}),
    "RG-Flow, levels shared": ("rgflow", {"share_levels": True}),
    "RG-Flow, Gaussian prior": ("rgflow", {"prior": "gaussian"}),
    "authors": ("rgflow", {"preset": "authors"}),  # the published architecture and training
    "Real NVP": ("realnvp", {}),
    "RG-Flow, splines": ("rgflow", {"bijector": "spline"}),
    "NeuralRG": ("neuralrg", {"L": 32}),
    "tree": ("tree", {}),
    "brick wall": ("tebd", {}),
    "branching": ("branching", {}),
    "Glow": ("glow", {}),
    "wavelet": ("wavelet", {}),
}
USUAL = list(ARCHITECTURES)[:6]


def natural_tiles(L: int = 32, **_: object) -> data.DataSplits:
    """Tiles of photographs that come with scikit-image and scikit-learn; those of two photographs are for testing."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    china, flower = load_sample_images().images
    train = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.rocket(), china]
    test = [skimage.data.chelsea(), flower]

    def tiles(photographs: list) -> data.ArrayDataset:
        cut = [torch.from_numpy(p.copy()).movedim(-1, 0).unfold(1, L, L).unfold(2, L, L) for p in photographs]
        return data.ArrayDataset(torch.cat([t.permute(1, 2, 0, 3, 4).reshape(-1, 3, L, L) for t in cut]).contiguous())

    return data.DataSplits("tiles", 3, tiles(train), tiles(test))


def count_parameters(flow: mera.Flow) -> int:
    """The number of parameters that are trained."""
    return sum(parameter.numel() for parameter in flow.parameters() if parameter.requires_grad)


def with_width(parameters: int, model: str, options: dict) -> dict:
    """The options of a model, with the even width of hidden layers that comes closest to a number of parameters."""

    def hidden(width: int) -> dict:
        return options | {"hidden": (width, width) if "preset" in options else (width,)}

    def count(width: int) -> int:
        return count_parameters(mera.build(model, **hidden(width)))

    low, high = 1, 256
    while high - low > 1:  # the number of parameters grows with the width
        middle = (low + high) // 2
        low, high = (middle, high) if count(2 * middle) <= parameters else (low, middle)
    return hidden(min((2 * low, 2 * high), key=lambda width: abs(count(width) - parameters)))


def seconds_per_call(call, repeats: int = 5) -> float:
    """The median time that a function takes."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="msds1", choices=["msds1", "msds2", "mnist", "fashion-mnist", "tiles"])
    parser.add_argument("--root", type=Path, default=Path("data"), help="the folder of data sets")
    parser.add_argument("--only", nargs="+", default=USUAL, choices=list(ARCHITECTURES), help="the models to compare")
    parser.add_argument("--seconds", type=float, default=60, help="training time of each model")
    parser.add_argument("--parameters", type=int, default=600_000, help="number of parameters of each model, about")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="folder for the picture and the flows")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    sizes = {"train_size": 4000, "test_size": 500} if arguments.data.startswith("msds") else {}
    tiles = arguments.data == "tiles"
    images = natural_tiles() if tiles else data.load(arguments.data, root=arguments.root, **sizes)
    table = Table("architecture", "parameters", "steps", "test bits/dim", "64 samples", box=None)
    runs = arguments.out / time.strftime("runs-%Y%m%d-%H%M%S")
    curves, samples = {}, {}
    for name in arguments.only:
        model, options = ARCHITECTURES[name]
        preset = PRESETS.get(options.get("preset", ""), {})
        settings = Settings(steps=1_000_000, minutes=arguments.seconds / 60, eval_every=50, eval_images=100, **preset)
        options = with_width(arguments.parameters, model, options | {"channels": images.channels})
        torch.manual_seed(0)
        flow = mera.build(model, **options)
        parameters = f"{count_parameters(flow):,}"
        console.print(f"{name}: {parameters} parameters")
        run = RunFolder(runs / name)
        run.create({"model": model, "options": options})
        result = fit(flow, images, settings, run, console=console)
        bits = bits_per_dim(flow, images.test, 1000)
        sampling = seconds_per_call(lambda flow=flow: flow.sample(64))
        table.add_row(name, parameters, f"{result.steps:,}", f"{bits:.3f}", f"{1e3 * sampling:.0f} ms")
        curves[name] = run.metrics()
        torch.manual_seed(0)
        samples[name] = flow.to_images(flow.sample(16, temperature=0.7))
        if result.interrupted:
            break
    console.print(table)
    save_figure(draw(curves, samples), arguments.out / "comparison.png")
    console.print(f"picture: {arguments.out / 'comparison.png'}; flows: {runs}")


def draw(curves: dict, samples: dict) -> Figure:
    """Draw curves above, and below them a grid of samples of each architecture."""
    figure = Figure(figsize=(2.4 * len(samples), 6.5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.4, 1])
    axes = top.subplots()
    for name, metrics in curves.items():
        axes.plot(
            [line["seconds"] for line in metrics], [line["test_bits"] for line in metrics], "o-", ms=3, label=name
        )
    axes.set(xlabel="seconds of training", ylabel="test bits per dimension")
    axes.grid(alpha=0.3)
    axes.legend()
    for axis, (name, images) in zip(bottom.subplots(1, len(samples), squeeze=False)[0], samples.items(), strict=True):
        axis.imshow(grid(images, columns=4).movedim(0, -1).numpy())
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    return figure


if __name__ == "__main__":
    main()
