"""The figures of the RG-Flow paper (https://arxiv.org/abs/2010.00029) for any flow of images.

    python examples/paper_figures.py msds1
    python examples/paper_figures.py runs/a --data msds1 --only 3b,5 --out figures
    python examples/paper_figures.py --list

The flow is a run, a file of `mera.save` or a flow of the package. Its images are test images of a data set; without
one, samples of the flow.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from rich.progress import track
from torch import Tensor

import mera
from mera._utils.random import fixed_seed
from mera.analysis import mix, receptive_fields, strengths, traverse
from mera.analysis.latents import LatentIndex
from mera.analysis.receptive import strongest
from mera.drawing.figures import Picture, panels
from mera.drawing.images import draw_image, paint_mask, progression, save_figure, titled

COLUMNS = 8
SEED = 0
"""The seed of the samples that the figures show."""
FINEST, COARSER = 0.2, 0.6
"""The temperatures of App. B: the finest level takes the longest to learn, and its latents are drawn colder."""
FIELD_SAMPLES = 15
"""The number of samples of which receptive fields are the medians, as means can hang on single samples."""
REPAIRED = 4
"""The number of images that are filled."""
SEARCH: dict[str, Any] = {"samples": 4, "particles": 16, "warmup": 10, "iterations": 10, "steps": 0}
"""Options of the fillings."""


@dataclass(eq=False)
class Subject:
    """A flow, test images (N, C, H, W) uint8, and results that several figures use, each computed once."""

    flow: mera.Flow
    images: Tensor

    @cached_property
    def norms(self) -> tuple[Tensor, ...]:
        """The strengths of all receptive fields, level by level; see `mera.analysis.strengths`."""
        with fixed_seed(SEED):
            return strengths(self.flow)

    @property
    def temperatures(self) -> list[float]:
        """The mixed temperature of App. B, one for each level."""
        return [FINEST, *[COARSER] * (len(self.flow.plan.latents) - 1)]


class PaperFigure(NamedTuple):
    """A figure of the paper: its title in lists, and the function that draws it."""

    title: str
    draw: Callable[[Subject], Picture]


def generation(subject: Subject) -> Picture:
    """Fig. 3(a): samples level by level, from coarse to fine."""
    with fixed_seed(SEED):
        z = subject.flow.sample_latents(4, subject.temperatures)
    image, *coarse = subject.flow.progression(z)
    return progression(
        [subject.flow.to_images(image), *coarse], f"generation from coarse to fine, T = {subject.temperatures}"
    )


def fields(subject: Subject) -> Picture:
    """Fig. 3(b): the strongest receptive fields of each level, on one scale for each level."""
    rows = [strongest(norms, level, COLUMNS) for level, norms in enumerate(subject.norms)]
    title = "the strongest receptive fields of each level, with their cones; one scale for a row"
    return _field_rows(subject, rows, title, same_scale=True)


def random_fields(subject: Subject, level: int | None = None) -> Picture:
    """Fig. 10 to 14(a): receptive fields of random latents of one level, from the coarsest if negative, or of each."""
    plan, n = subject.flow.plan, len(subject.flow.plan.latents)
    with fixed_seed(SEED):
        if level is None:
            rows, where = [random_latents(plan, h, COLUMNS) for h in reversed(range(n))], "the coarsest level first"
        else:
            latents, where = random_latents(plan, level % n, 4 * COLUMNS), f"level {level % n}"
            rows = [latents[start : start + COLUMNS] for start in range(0, len(latents), COLUMNS)]
    title = f"receptive fields at random, {where}, with their cones; each on a scale of its own"
    return _field_rows(subject, rows, title)


def strength_histogram(subject: Subject) -> Picture:
    """Fig. 3(c), 14(b): histograms of the strengths of receptive fields, level by level."""
    norms = subject.norms
    figure, (axes,) = panels(1, 1, 7, 4)
    values = torch.cat([level.flatten() for level in norms])
    low, high = values[values > 0].min().item(), values.max().item()
    bins = torch.logspace(math.log10(low), math.log10(1.01 * high), 41).tolist()
    for h, level in enumerate(norms):
        values = level.flatten()
        label = f"h = {h}: median {values.median():.2g}, {int((values > 1).sum())} of {len(values)} above 1"
        axes.hist(values.tolist(), bins=bins, histtype="step", lw=1.8, label=label)
    axes.set(xscale="log", yscale="log", ylabel="number of latents")
    axes.set_xlabel("strength of the receptive field (geometric mean of Euclidean norms)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def traversals(subject: Subject) -> Picture:
    """Fig. 4: the leading latents of each level but the finest, from small to large, with their receptive fields.

    The image that they change is that of the given ones whose pixels vary most: on a plain one fine latents do nothing.
    """
    flow = subject.flow
    levels = range(len(flow.plan.latents) - 1, 0, -1) if len(flow.plan.latents) > 1 else range(1)
    with fixed_seed(SEED):
        varied = subject.images.float().flatten(1).var(1).argmax()
        z = flow(flow.from_images(subject.images[varied : varied + 1].to(flow.device)))[0]
        latents = [latent for level in levels for latent in strongest(subject.norms[level], level, 3)]
        latent_fields = receptive_fields(flow, latents, FIELD_SAMPLES, median=True)
    rows: list[tuple[str, Tensor]] = []
    for latent, field in zip(latents, latent_fields, strict=True):
        values = torch.linspace(-1, 1, COLUMNS) * (1.5 if latent[0] > 1 else 6.0)  # as in App. B
        images = flow.to_images(traverse(flow, latent, values.to(z[0]), z))
        rows += [("", _field_image(field)), *zip((f"{value:.1f}" for value in values), images, strict=True)]
    figure = titled(rows, COLUMNS + 1, 1.15, 7, "leading latents of each level, and an image along them")
    for axes, (level, channel, *site) in zip(figure.axes[:: COLUMNS + 1], latents, strict=True):
        _label(axes, f"h={level} c={channel}\n{tuple(site)}")
    return figure


def mixed_images(subject: Subject) -> Picture:
    """Fig. 5: coarse levels of one image with fine levels of another, at each level, and the other way round."""
    flow, images = subject.flow, subject.images
    with fixed_seed(SEED):
        z, _ = flow(flow.from_images(_spread(images, 4).to(flow.device)))
    levels = len(z)
    rows: list[tuple[str, Tensor]] = []
    for a, b in ((0, 1), (1, 0), (2, 3), (3, 2)):
        z_a, z_b = (tuple(level[i : i + 1] for level in z) for i in (a, b))
        for level in range(levels + 1):
            name = {0: "A", levels: "B"}.get(level, f"h >= {level} of A")
            rows.append((name, flow.to_images(flow.inverse(mix(z_a, z_b, level))[0])[0]))
    return titled(rows, levels + 1, 1.3, 8, "coarse levels of A with fine levels of B")


def repairs(subject: Subject) -> Picture:
    """Fig. 6: a random square of each of four images is hidden, and filled with the flow."""
    flow, images = subject.flow, subject.images
    height, width = flow.plan.input.shape
    edge = min(height, width) // 4
    columns: list[list[tuple[str, Tensor]]] = []
    with fixed_seed(0):
        for image in _spread(images, REPAIRED).to(flow.device):
            mask = torch.zeros(height, width, dtype=torch.bool, device=flow.device)
            top, left = (int(torch.randint(edge, n - 2 * edge + 1, ())) for n in (height, width))
            mask[top : top + edge, left : left + edge] = True
            inpainting = flow.inpaint(flow.from_images(image[None]), mask.cpu(), **SEARCH)
            filled = torch.where(mask, flow.to_images(inpainting.image)[0], image)
            error = ((filled.float() - image.float())[:, mask] / 255).square().mean().sqrt()
            name = f"{inpainting.varied:,} latents, rms {error:.2f}"
            columns.append([("image", image), ("hidden", paint_mask(image[None], mask)[0]), (name, filled)])
    title = "hidden squares, filled by the latents in their inference cones"
    return titled([column[row] for row in range(3) for column in columns], len(columns), 1.7, 7, title)


def samples(subject: Subject) -> Picture:
    """Fig. 8: samples at the mixed temperature."""
    with fixed_seed(SEED):
        drawn = subject.flow.to_images(subject.flow.sample(32, temperature=subject.temperatures))
    title = f"samples, T = {subject.temperatures}"
    return titled([("", image) for image in drawn], COLUMNS, 1.0, title=title)


def random_latents(plan: mera.graph.Plan, level: int, n: int) -> list[LatentIndex]:
    """At most n distinct latents of a level, in random order."""
    latents = [(level, *place) for place in np.ndindex(plan.latents[level].lattice.event_shape)]
    return [latents[i] for i in torch.randperm(len(latents))[:n].tolist()]


def _field_rows(
    subject: Subject, rows: Sequence[Sequence[LatentIndex]], title: str, same_scale: bool = False
) -> Picture:
    """Draw receptive fields in rows, each in the outline of its cone, below the place and the strength of its latent.

    The latents of a row are of one level; all fields of a row have one scale, or each its own.
    """
    with fixed_seed(SEED):
        drawn = receptive_fields(subject.flow, chain.from_iterable(rows), FIELD_SAMPLES, median=True)
    columns = max(map(len, rows))
    figure, axes = panels(len(rows) * columns, columns, 1.2, 1.45, 0.4)
    for row, (latents, in_row) in enumerate(zip(rows, drawn.split([len(row) for row in rows]), strict=True)):
        largest = in_row.abs().max() if same_scale else None
        _label(axes[row * columns], f"h = {latents[0][0]}")
        for panel in axes[row * columns + len(latents) : (row + 1) * columns]:
            panel.set_axis_off()
        for panel, latent, field in zip(axes[row * columns :], latents, in_row, strict=False):
            draw_image(panel, _field_image(field, largest))
            cone = subject.flow.generation_cone(latent[0], latent[2:]).pixels  # outlined along the edges of pixels
            fine = torch.nn.functional.pad(cone.float(), (1, 1, 1, 1)).repeat_interleave(8, 0).repeat_interleave(8, 1)
            y, x = ((torch.arange(n).numpy() + 0.5) / 8 - 1.5 for n in fine.shape)
            panel.contour(x, y, fine.numpy(), levels=[0.5], colors="tab:orange", linewidths=0.6)
            strength = subject.norms[latent[0]][tuple(latent[1:])].item()
            panel.set_title(f"c={latent[1]} {latent[2:]}\n{strength:.2g}", fontsize=6)
    figure.suptitle(title, fontsize=10)
    return figure


def _spread(images: Tensor, n: int) -> Tensor:
    """At most n images from the first to the last, as neighbours of a data set may be windows of one photograph."""
    return images[torch.linspace(0, len(images) - 1, min(n, len(images))).long()]


def _label(axes: Axes, text: str) -> None:
    """Write a label to the left of a picture, whose axes are off."""
    axes.text(-0.06, 0.5, text, transform=axes.transAxes, rotation=90, ha="right", va="center", fontsize=7)


def _field_image(field: Tensor, largest: Tensor | None = None) -> Tensor:
    """Convert a receptive field to a uint8 image on grey; its largest magnitude, or `largest`, is black or white."""
    largest = field.abs().max() if largest is None else largest
    scaled = 127.5 + 127.5 * field / largest.clamp(min=torch.finfo(field.dtype).tiny)
    return scaled.round().to(torch.uint8)


FIGURES = {
    "3a": PaperFigure("samples level by level, from coarse to fine", generation),
    "3b": PaperFigure("the strongest receptive fields of each level", fields),
    "3c": PaperFigure("the statistics of the strengths of receptive fields (14b for Real NVP)", strength_histogram),
    "4": PaperFigure("traversals: images along the leading latents of each level", traversals),
    "5": PaperFigure("mixing: coarse levels of one image, fine levels of another", mixed_images),
    "6": PaperFigure("inpainting: squares are filled in their inference cones", repairs),
    "8": PaperFigure("samples at the mixed temperature", samples),
    "10": PaperFigure("receptive fields at random, the coarsest level", partial(random_fields, level=-1)),
    "11": PaperFigure("receptive fields at random, the level below", partial(random_fields, level=-2)),
    "12": PaperFigure("receptive fields at random, the third level from the top", partial(random_fields, level=-3)),
    "13": PaperFigure("receptive fields at random, the finest level", partial(random_fields, level=0)),
    "14a": PaperFigure("receptive fields at random, all levels (of Real NVP in the paper)", random_fields),
}
"""The figures of the paper by number."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flow", nargs="?", default="msds1", help="a run, a file, or a flow of the package")
    parser.add_argument("--data", help="a data set; if left out, that of the flow's name, or else samples of the flow")
    parser.add_argument("--images", type=int, default=500, help="the number of images, of which most figures show few")
    parser.add_argument("--only", default=",".join(FIGURES), help="the figures to draw, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="the folder of the pictures")
    parser.add_argument("--list", action="store_true", help="list the figures without drawing them")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{name:5} {figure.title}" for name, figure in FIGURES.items()))
        return
    chosen = {name: FIGURES[name] for name in arguments.only.split(",")}
    flow = mera.load(arguments.flow)
    data = arguments.data or (arguments.flow if arguments.flow in mera.data.names() else None)
    torch.manual_seed(SEED)
    if data is None:
        images = flow.to_images(flow.sample(arguments.images)).cpu()
    else:
        options = {"train_size": 1} if mera.data.takes(data, "train_size") else {}
        test = mera.data.load(data, flow.plan.input.shape, **options).test
        images = torch.stack([test[i] for i in torch.randperm(len(test))[: arguments.images].tolist()])
    subject = Subject(flow, images)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, figure in track(chosen.items(), "draw"):
        save_figure(figure.draw(subject), arguments.out / f"figure_{name}.png")
    print(f"pictures: {arguments.out}")


if __name__ == "__main__":
    main()
