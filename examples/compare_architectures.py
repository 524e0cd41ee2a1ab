"""Train several architectures on the same data for the same time: a table, and a picture of curves and samples.

    python examples/compare_architectures.py
    python examples/compare_architectures.py --models rgflow tree --data msds2 --minutes 0.5 --out comparison.png

All flows have about the same number of parameters. Times include evaluations. `mera compare` does the same for longer
studies: several seeds, interrupted runs, and a report.
"""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt
from rich.console import Console

import mera
from mera._utils.table import Table
from mera.analysis.drawing.images import grid

MODELS = ["rgflow", "wavelet", "realnvp", "glow", "tree"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=mera.models.names())
    parser.add_argument("--data", default="msds1", choices=mera.data.names())
    parser.add_argument("--root", default="data", help="folder of the data")
    parser.add_argument("--L", type=int, default=32)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=2.0, help="training time of each model")
    parser.add_argument("--temperature", type=float, default=0.8, help="of the samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="comparison.png")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    data = mera.data.load(arguments.data, L=arguments.L, root=arguments.root)
    settings = mera.train.Settings(minutes=arguments.minutes, eval_every=50, seed=arguments.seed)
    results = {}
    for name in arguments.models:
        lattice = {"L": arguments.L, "channels": data.channels}
        options = mera.models.fit_width(name, arguments.parameters, lattice)
        console.print(f"[bold]{name}[/]")
        results[name] = mera.train.fit(mera.build(name, **options), data, settings, console=console)
    rows = [
        (name, f"{sum(p.numel() for p in result.flow.parameters()):,}", f"{result.steps:,}", f"{result.test_loss:.3f}")
        for name, result in sorted(results.items(), key=lambda pair: pair[1].test_loss)
    ]
    print(Table(["model", "parameters", "steps", results[rows[0][0]].unit], rows))
    draw(results, arguments.temperature, arguments.out)
    print(f"Curves and samples are in {arguments.out}")


def draw(results: dict[str, mera.train.Result], temperature: float, out: str) -> None:
    """Test losses over time, and below them 16 samples of each model."""
    figure = plt.figure(figsize=(2.4 * max(3, len(results)), 6.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[3, 2.4])
    axes = above.subplots()
    for name, result in results.items():
        metrics = result.history.metrics
        axes.plot([line["seconds"] for line in metrics], [line[result.history.metric] for line in metrics], label=name)
    axes.set(xlabel="seconds of training", ylabel=f"test loss, {next(iter(results.values())).unit}")
    axes.grid(alpha=0.3)
    axes.legend()
    for panel, (name, result) in zip(below.subplots(1, len(results), squeeze=False)[0], results.items(), strict=True):
        samples = result.flow.to_images(result.flow.sample(16, temperature=temperature))
        panel.imshow(grid(samples, columns=4).movedim(0, -1).squeeze(-1), cmap="grey")
        panel.set_title(f"{name}: {result.test_loss:.3f}", fontsize=10)
        panel.set_axis_off()
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
