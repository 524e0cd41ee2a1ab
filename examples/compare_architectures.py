"""Compare RG-Flow, its variants and other models at about equal parameters, on the same images for the same time.

    python examples/compare_architectures.py --seconds 60 --out comparison
    python examples/compare_architectures.py --only RG-Flow "RG-Flow, splines" NeuralRG tree "brick wall" wavelet Glow
    python examples/compare_architectures.py --data tiles --only "RG-Flow" "authors" "Real NVP"

prints a table and writes `comparison/comparison.png`: test bits per dimension over time, and samples of each.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console

import mera
from mera import data
from mera._utils.table import table
from mera.drawing.images import grid, save_figure
from mera.graph.summary import count_parameters
from mera.io.flows import describe
from mera.train import PRESETS, RunFolder, Settings, bits_per_dim, fit

ARCHITECTURES = {
    "RG-Flow": ("rgflow", {}),
    "RG-Flow, authors' order": ("rgflow", {"order": "authors"}),
    "RG-Flow, levels shared": ("rgflow", {"share_levels": True}),
    "RG-Flow, Gaussian prior": ("rgflow", {"prior": "gaussian"}),
    "authors": ("rgflow", {"preset": "authors"}),  # their architecture and their settings
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


def natural_tiles(L: int = 32, **_: object) -> data.ImageSplits:
    """Tiles of the photographs that come with scikit-image and scikit-learn, two of them for the test."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    china, flower = load_sample_images().images
    train = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.rocket(), china]
    test = [skimage.data.chelsea(), flower]

    def tiles(photographs: list) -> data.ImageTensorDataset:
        cut = [torch.from_numpy(p.copy()).movedim(-1, 0).unfold(1, L, L).unfold(2, L, L) for p in photographs]
        return data.ImageTensorDataset(
            torch.cat([t.permute(1, 2, 0, 3, 4).reshape(-1, 3, L, L) for t in cut]).contiguous()
        )

    return data.ImageSplits("tiles", 3, tiles(train), tiles(test))


def build_with(parameters: int, model: str, options: dict) -> mera.Flow:
    """The even width that comes closest to a number of parameters."""

    def flow(width: int) -> mera.Flow:
        return mera.build(model, hidden=(width, width) if "preset" in options else (width,), **options)

    low, high = 1, 256
    while high - low > 1:  # parameters grow with the width
        middle = (low + high) // 2
        low, high = (middle, high) if count_parameters(flow(2 * middle)) <= parameters else (low, middle)
    return min((flow(2 * width) for width in (low, high)), key=lambda f: abs(count_parameters(f) - parameters))


def seconds_per_call(call, repeats: int = 5) -> float:
    """The median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="msds1", choices=["msds1", "msds2", "mnist", "fashion-mnist", "tiles"])
    parser.add_argument("--root", type=Path, default=Path("data"), help="where data sets are")
    parser.add_argument("--only", nargs="+", default=USUAL, choices=list(ARCHITECTURES))
    parser.add_argument("--seconds", type=float, default=60, help="training time of each")
    parser.add_argument("--parameters", type=int, default=600_000, help="of each, about")
    parser.add_argument("--out", type=Path, default=Path("comparison"))
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    sizes = {"train_size": 4000, "test_size": 500} if arguments.data.startswith("msds") else {}
    tiles = arguments.data == "tiles"
    images = natural_tiles() if tiles else data.load(arguments.data, root=arguments.root, **sizes)
    rows, curves, samples = [], {}, {}
    for name in arguments.only:
        model, options = ARCHITECTURES[name]
        preset = PRESETS.get(options.get("preset", ""), {})
        settings = Settings(steps=1_000_000, minutes=arguments.seconds / 60, eval_every=50, eval_images=100, **preset)
        torch.manual_seed(0)
        flow = build_with(arguments.parameters, model, options | {"channels": images.channels})
        console.print(f"{name}: {count_parameters(flow):,} parameters")
        run = RunFolder(arguments.out / time.strftime("runs-%Y%m%d-%H%M%S") / name)
        run.create(describe(flow))
        result = fit(flow, images, settings, run, console=console)
        bits = bits_per_dim(flow, images.test, 1000)
        sampling = seconds_per_call(lambda flow=flow: flow.sample(64))
        rows.append((name, f"{count_parameters(flow):,}", result.steps, f"{bits:.3f}", f"{1e3 * sampling:.0f} ms"))
        curves[name] = run.metrics()
        torch.manual_seed(0)
        samples[name] = flow.to_images(flow.sample(16, temperature=0.7))
        if result.interrupted:
            break
    console.print(table(["architecture", "parameters", "steps", "test bits/dim", "64 samples"], rows), markup=False)
    save_figure(draw(curves, samples), arguments.out / "comparison.png")
    console.print(f"picture: {arguments.out / 'comparison.png'}")


def draw(curves: dict, samples: dict) -> Figure:
    """Curves above, a sheet of samples of each architecture below."""
    figure = Figure(figsize=(2.4 * len(samples), 6.5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.4, 1])
    axes = top.subplots()
    for name, metrics in curves.items():
        axes.plot([line["seconds"] for line in metrics], [line["test_bits"] for line in metrics], label=name)
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
