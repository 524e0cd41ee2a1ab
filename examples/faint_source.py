"""Is this source real? The exact density of a large field, and what a faint source changes in it, by a flow.

    python examples/faint_source.py
    python examples/faint_source.py --L 1024 --minutes 1 --places 60

The sky is a Gaussian random field whose density is known, the free field of lattice theory. A flow learns it from
windows of 32 x 32 pixels of one sky. Then `flow.stream` gives log p of another sky as a whole. At half of many places
in it a source is hidden, as large as two pixels and too faint to be seen. Whether it is there is best decided by the
log of the likelihood ratio, log p(sky without the source) - log p(sky) (Neyman and Pearson 1933). The flow computes
it from the cone of the source's pixels; beside it stand the exact ratio, and the overlap of the pixels with the
source, which is right for white noise. The command prints log p by level, the areas under the ROC curves, and seconds
a place, and writes `faint_source.png`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

import mera
from mera._utils.table import Table
from mera.drawing.figures import panels
from mera.drawing.images import save_figure
from mera.physics import FreeField

EDGE, WIDTH = 16, 2.0
"""Edge of the square that holds a source, and the standard deviation of its profile, in pixels."""
WINDOW = 160
"""Edge of a window of five blocks of the flow, which has the whole cone of a square of its third block."""


def sky(action: FreeField, L: int, generator: torch.Generator) -> Tensor:
    """A field of the action, (1, L, L): white noise divided by the roots of the eigenvalues, in Fourier space."""
    noise = torch.randn(L, L, generator=generator, dtype=torch.float64)
    modes = torch.fft.fft2(noise) / action.eigenvalues((L, L)).sqrt()
    return torch.fft.ifft2(modes).real.float()[None]


def profile(action: FreeField, signal: float) -> Tensor:
    """A source, (EDGE, EDGE), whose log-likelihood ratio has the mean square(signal) / 2 where it is."""
    x = torch.arange(EDGE) - (EDGE - 1) / 2
    shape = torch.exp(-(x[:, None] ** 2 + x**2) / (2 * WIDTH**2)).double()
    around = torch.zeros(1, 1, 3 * EDGE, 3 * EDGE, dtype=torch.float64)
    around[..., EDGE : 2 * EDGE, EDGE : 2 * EDGE] = shape
    return (shape * signal / (2 * action(around)).sqrt()).float()


def roc(scores: Tensor, real: Tensor) -> tuple[Tensor, Tensor, float, float]:
    """False and true positives at each threshold, the area under the curve, and its standard error (Hanley 1982)."""
    order = real[scores.argsort(descending=True)].double()
    hits, alarms = (torch.cat([torch.zeros(1), values.cumsum(0) / values.sum()]) for values in (order, 1 - order))
    area = torch.trapezoid(hits, alarms).item()
    n, m = int(real.sum()), int((~real).sum())
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n - 1) * (first - area**2) + (m - 1) * (second - area**2)
    return alarms, hits, area, (variance / (n * m)) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=4096, help="edge of both skies")
    parser.add_argument("--mass2", type=float, default=0.02, help="structures are as large as 1 / sqrt(mass2) pixels")
    parser.add_argument("--signal", type=float, default=2.0, help="strength of a source in standard deviations")
    parser.add_argument("--places", type=int, default=400)
    parser.add_argument("--minutes", type=float, default=5, help="training time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("faint_source.png"))
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(options.seed)
    torch.manual_seed(options.seed)
    action, L, console = FreeField(options.mass2), options.L, Console(highlight=False)
    flow = mera.build("rgflow", L=32, m=4, channels=1, prior="gaussian")
    windows = mera.data.windows([sky(action, L, generator).numpy()], L=32, flip=True, turn=True)
    mera.train.fit(flow, windows, minutes=options.minutes, seed=options.seed, console=console)
    flow.eval()

    found, source = sky(action, L, generator), profile(action, options.signal)
    cells = torch.randperm((L // EDGE) ** 2, generator=generator)[: options.places]
    corners = torch.stack([cells // (L // EDGE), cells % (L // EDGE)], 1) * EDGE
    real = torch.rand(options.places, generator=generator) < 0.5
    for row, column in corners[real].tolist():
        found[0, row : row + EDGE, column : column + EDGE] += source
    large, small = flow.resized((L, L)), flow.resized((WINDOW, WINDOW))
    result = large.stream(found.numpy(), console=console)
    exact = -action(found[None].double()).item() - action.log_z((L, L))
    by_level = [f"{value / L**2:.4f}" for value in result.levels]
    names = [f"level {level}" for level in range(len(by_level))]
    print(Table(["nats a pixel", "value"], [
        ("flow", f"{result.log_prob / L**2:.4f}"), ("exact", f"{exact / L**2:.4f}"), *zip(names, by_level, strict=True)
    ]))  # fmt: skip

    scores, start = [], time.monotonic()
    for row, column in corners.tolist():
        top, left = (corner // 32 * 32 - 64 for corner in (row, column))  # a window that begins with a block
        x = found.roll((-top, -left), (1, 2))[None, :, :WINDOW, :WINDOW]
        local = small.restrict(x, ((row - top, row - top + EDGE), (column - left, column - left + EDGE)))
        with torch.no_grad():
            settings = torch.cat([local.pixels - source.view(1, 1, -1), local.pixels])
            without, as_it_is = local.log_prob(settings).tolist()
        around = found.roll((EDGE - row, EDGE - column), (1, 2))[:, : 3 * EDGE, : 3 * EDGE][None].double()
        changed = around.clone()
        changed[..., EDGE : 2 * EDGE, EDGE : 2 * EDGE] -= source
        ratio = (action(around) - action(changed)).item()
        overlap = (found[0, row : row + EDGE, column : column + EDGE] * source).sum().item()
        scores.append((without - as_it_is, ratio, overlap))
    seconds = (time.monotonic() - start) / len(scores)
    curves = dict(zip(("flow", "exact ratio", "overlap"), torch.tensor(scores).T, strict=True))
    rows = [(name, "{2:.3f} ± {3:.3f}".format(*roc(values, real))) for name, values in curves.items()]
    print(Table(["decision by", "area under the ROC curve"], rows))
    difference = (curves["flow"] - curves["exact ratio"]).square().mean().sqrt().item()
    print(f"root mean square distance of the log-ratios: {difference:.2f} nats; {seconds:.2f} s a place")

    figure, (picture, ratios, curve) = panels(3, 3, 3.6, 3.4, margin=0.6)
    picture.imshow(found[0, :256, :256], cmap="gray")
    inside = (corners < 256 - EDGE).all(1)
    for (row, column), is_real in zip(corners[inside].tolist(), real[inside].tolist(), strict=True):
        picture.plot(column + EDGE / 2, row + EDGE / 2, "o" if is_real else "x", mfc="none", color="tab:red", ms=9)
    picture.set_title("a part of the sky: o sources, x none", fontsize=9)
    picture.set(xticks=[], yticks=[])
    for kind, marker in ((real, "o"), (~real, "x")):
        ratios.plot(curves["exact ratio"][kind], curves["flow"][kind], marker, mfc="none", ms=4)
    ratios.axline((0, 0), slope=1, color="black", lw=1)
    ratios.set(xlabel="exact log-ratio, nats", ylabel="of the flow")
    for name, values in curves.items():
        alarms, hits, area, _ = roc(values, real)
        curve.plot(alarms, hits, label=f"{name}, {area:.3f}", ls="--" if name == "exact ratio" else "-")
    curve.set(xlabel="false alarms", ylabel="sources found")
    curve.legend()
    save_figure(figure, options.out)
    print(f"picture: {options.out}")


if __name__ == "__main__":
    main()
