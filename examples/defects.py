"""Find defects in textures and photographs without having seen any: surprise by scale, against two other densities.

    python examples/defects.py
    python examples/defects.py --images brick --minutes 4
    python examples/defects.py --images photographs

An RG-Flow learns random windows of the upper part of a texture that comes with scikit-image; for photographs it is the
flow "photographs" of the package, and the pictures are of scikit-image and scikit-learn, which it has not learnt.
Defects are planted in other parts or pictures: a pasted patch of another picture, a blur, a part of twice the size, a
scratch, noise, strong compression. `flow.stream` maps log p by site and level. In cells of 8 x 8 pixels, the surprise
of a level is the deviation of its log p from the mean over clean cells, in standard deviations, squared, since a blur
is too likely rather than too unlikely; the total is the sum over the levels. In photographs, the median of 7 x 7 cells
is subtracted first, for all densities. The table has the area under the ROC curve of cells with and without defects,
with its standard error over repetitions; beside it those of a Gaussian of 8 x 8 patches and of independent Gaussians
of Haar wavelets, squared deviations too. The picture shows the last repetition.
"""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from skimage import data as pictures
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad
from torchvision.transforms.v2 import functional as F

import mera
from mera._utils.table import Table, plus_minus
from mera.drawing.figures import panels
from mera.drawing.images import draw_image, save_figure
from mera.train.evaluate import mean_and_error

CELL = 8
"""The edge of a cell in pixels."""
TEXTURES = ("gravel", "grass", "brick")
KINDS = {"textures": ("patch", "blur", "size", "scratch"), "photographs": ("patch", "blur", "noise", "compression")}
NOISE, QUALITY = 4.0, 30
"""The standard deviation of noise in grey values, and the quality of JPEG."""


def plant(image: Tensor, kind: str, other: Tensor, count: int = 12, edge: int = 16) -> tuple[Tensor, Tensor]:
    """Plant defects of a kind in different squares of an image; returns the image, and the mask of its defects."""
    changed, mask = image.clone(), torch.zeros(image.shape[1:], dtype=torch.bool)
    if kind == "noise":
        everywhere = (image + NOISE * torch.randn(image.shape)).round().clamp(0, 255).to(torch.uint8)
    elif kind == "compression":
        file = io.BytesIO()
        F.to_pil_image(image).save(file, "jpeg", quality=QUALITY)
        everywhere = torch.from_numpy(np.atleast_3d(np.array(Image.open(file)))).movedim(-1, 0)
    else:
        everywhere = other if kind == "patch" else F.gaussian_blur(image, [9, 9], [2.0, 2.0])
    rows, columns = (range(16, n - 32, 32) for n in image.shape[1:])
    spots = [(row, column) for row in rows for column in columns]
    for index in torch.randperm(len(spots))[:count].tolist():
        row, column = (corner + int(torch.randint(8, ())) for corner in spots[index])
        where = slice(row, row + edge), slice(column, column + edge)
        if kind == "size":
            part = image[:, row : row + edge // 2, column : column + edge // 2]
            changed[:, where[0], where[1]] = F.resize(part, [edge, edge], antialias=True)
        elif kind == "scratch":
            steps = torch.arange(edge)
            where = row + steps, column + steps
            changed[:, where[0], where[1]] = 0
        else:
            changed[:, where[0], where[1]] = everywhere[:, where[0], where[1]]
        mask[where[0], where[1]] = True
    return changed, mask


def cells_of(values: Tensor) -> Tensor:
    """The sums of values (..., H, W) over cells, (..., h, w)."""
    return values.unflatten(-1, (-1, CELL)).sum(-1).unflatten(-2, (-1, CELL)).sum(-2)


def surprise(flow: mera.Flow, image: Tensor) -> Tensor:
    """Minus log p of each level in the cells of an image, (levels, h, w), in nats."""
    large = flow.resized(image.shape[1:])
    result = large.stream(image)
    maps = []
    for level in range(len(result.levels)):
        values = torch.from_numpy(result.map(level)[:]).double()[None]
        cell = [n // m for n, m in zip(image.shape[1:], values.shape[1:], strict=True)]
        pixels = values.repeat_interleave(cell[0], 1).repeat_interleave(cell[1], 2) / math.prod(cell)
        maps.append(cells_of(pixels)[0])
    return -torch.stack(maps)


def patches(image: Tensor, stride: int) -> Tensor:
    """The patches of an image as rows, (n, C CELL^2)."""
    parts = image.double().unfold(1, CELL, stride).unfold(2, CELL, stride)
    return parts.permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)


def wavelets(image: Tensor) -> Tensor:
    """The Haar coefficients of three levels: the means of their squares in cells, (levels, 3 C, h, w)."""
    levels, x = [], image.double()
    while len(levels) < 3:
        corners = torch.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
        signs = torch.tensor([[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], dtype=torch.float64)
        details = torch.einsum("ks,schw->kchw", signs / 2, corners).flatten(0, 1)
        levels.append(avg_pool2d(details.square()[None], CELL >> len(levels) + 1 or 1)[0])
        x = corners.mean(0)
    return torch.stack(levels)


def around(values: Tensor) -> Tensor:
    """The median of the 7 x 7 cells around each cell: what is usual differs from place to place in a photograph."""
    padded = pad(values[None, None], [3] * 4, mode="reflect")[0, 0]
    return padded.unfold(0, 7, 1).unfold(1, 7, 1).flatten(2).median(2).values


def area(scores: Tensor, defects: Tensor) -> float:
    """The probability that a cell with a defect has a higher score than one without."""
    ranks = scores.flatten().argsort().argsort().double() + 1
    chosen = defects.flatten()
    n, m = int(chosen.sum()), int((~chosen).sum())
    return float((ranks[chosen].sum() - n * (n + 1) / 2) / (n * m))


def subjects(options: argparse.Namespace) -> tuple[mera.Flow, list[Tensor], list[Tensor], Tensor]:
    """The flow; clean images from which the usual is known; images for defects; and one from which patches come."""
    if options.images == "photographs":
        arrays = [getattr(pictures, name)() for name in ("astronaut", "coffee", "rocket", "chelsea")]
        arrays += [load_sample_image(f"{name}.jpg") for name in ("china", "flower")]
        images = [torch.from_numpy(array[:256, :384].copy()).movedim(-1, 0) for array in arrays]
        return mera.load_pretrained("photographs"), images[:2], images[3:], images[2]
    whole, other = (
        torch.from_numpy(getattr(pictures, name)())[None]
        for name in (options.images, next(name for name in TEXTURES if name != options.images))
    )
    upper, clean, lower = whole[:, :224], whole[:, 224:320], whole[:, 320:512]
    flow = mera.build("rgflow", L=32, m=4, channels=1)
    windows = mera.data.windows([upper], L=32, test=[clean], test_windows=100, flip=True)
    mera.train.fit(flow, windows, minutes=options.minutes, seed=options.seed, console=Console())
    return flow.eval(), [clean], [lower], other[:, 320:512]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", choices=(*TEXTURES, "photographs"), default="gravel")
    parser.add_argument("--minutes", type=float, default=2, help="training time for a texture")
    parser.add_argument("--repetitions", type=int, default=4, help="images with defects of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("defects.png"))
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    flow, clean, others, foreign = subjects(options)
    known = torch.cat([patches(image, 4) for image in clean])
    centre = known.mean(0)
    directions, sizes, _ = torch.linalg.svd((known - centre).T / len(known) ** 0.5, full_matrices=False)
    power = torch.cat([wavelets(image).flatten(2) for image in clean], 2).mean(2)

    def scores_of(image: Tensor) -> list[Tensor]:
        """Minus log p by level, and those of the other densities, (h, w) each, up to constants."""
        parts = ((patches(image, CELL) - centre) @ directions / (sizes + 1)).square().sum(1)
        levels = list(surprise(flow, image))
        scores = [*levels, parts.view(levels[0].shape), (wavelets(image) / power[..., None, None]).sum((0, 1))]
        return [score - around(score) for score in scores] if options.images == "photographs" else scores

    usual = [torch.stack([v.flatten() for v in values]) for values in zip(*map(scores_of, clean), strict=True)]
    rows, images = [], {}
    for kind in KINDS["photographs" if options.images == "photographs" else "textures"]:
        areas = []
        for repetition in range(options.repetitions):
            image, mask = plant(others[repetition % len(others)], kind, foreign)
            defects = cells_of(mask) > 0
            *levels, gaussian, haar = (
                ((v - m.mean()) / m.std()).square() for v, m in zip(scores_of(image), usual, strict=True)
            )
            total = torch.stack(levels).sum(0)
            areas.append([area(score, defects) for score in (*levels, total, gaussian, haar)])
            images[kind] = image, total, defects
        rows.append((kind, *(plus_minus(*mean_and_error(column)) for column in torch.tensor(areas).T)))
    columns = [f"level {level}" for level in range(len(usual) - 2)]
    print(Table(["defect", *columns, "all levels", "patches", "wavelets"], rows))
    figure, axes = panels(2 * len(images), 2, 6.0, 2.4, margin=0.4)
    for index, (kind, (image, score, defects)) in enumerate(images.items()):
        draw_image(axes[2 * index], image)
        axes[2 * index].set_title(kind, fontsize=9)
        axes[2 * index + 1].imshow(score.log1p(), cmap="magma")
        axes[2 * index + 1].contour(defects, [0.5], colors="white", linewidths=0.8)
        axes[2 * index + 1].set_title("surprise (logarithmic), and cells with defects", fontsize=9)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    save_figure(figure, options.out)
    print(f"picture: {options.out}")


if __name__ == "__main__":
    main()
