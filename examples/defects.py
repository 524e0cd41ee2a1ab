"""Find defects in a texture without having seen any: surprise by scale, against patches that are compared apart.

    python examples/defects.py
    python examples/defects.py --texture brick --minutes 4

An RG-Flow learns random windows of the upper part of a texture that comes with scikit-image. Defects are planted in the
lower part: a patch of another texture, a blur, a scratch, a part of twice the size. `flow.stream` maps log p of the
whole part by site and level. In cells of 8 x 8 pixels, the surprise of a level is the deviation of its log p from the
mean over clean cells, in standard deviations, squared, since a blur is too likely rather than too unlikely; the total
is the sum over the levels. The table has the area under the ROC curve of cells with and without defects, with its
standard error over repetitions; beside it those of a Gaussian of 8 x 8 patches (Mahalanobis distance) and of what 16
principal components of patches do not explain, both squared deviations too. The picture shows the last repetition.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from skimage import data as pictures
from torch import Tensor
from torchvision.transforms.v2 import functional as F

import mera
from mera._utils.table import Table, with_error
from mera.analysis.drawing.figures import panels
from mera.analysis.drawing.images import save_figure

CELL = 8
"""The edge of a cell in pixels."""
TEXTURES = ("gravel", "grass", "brick")


def texture(name: str) -> Tensor:
    """A texture, (1, 512, 512) uint8."""
    return torch.from_numpy(getattr(pictures, name)())[None]


def plant(image: Tensor, kind: str, other: Tensor, count: int = 12, edge: int = 16) -> tuple[Tensor, Tensor]:
    """Plant defects of a kind in different squares of an image; returns the image, and the mask of its defects."""
    image, mask = image.clone(), torch.zeros(image.shape[1:], dtype=torch.bool)
    blurred = F.gaussian_blur(image, [9, 9], [2.0, 2.0])
    rows, columns = (range(16, n - 32, 32) for n in image.shape[1:])
    spots = [(row, column) for row in rows for column in columns]
    for index in torch.randperm(len(spots))[:count].tolist():
        row, column = (corner + int(torch.randint(8, ())) for corner in spots[index])
        where = slice(row, row + edge), slice(column, column + edge)
        if kind == "patch":
            image[:, where[0], where[1]] = other[:, where[0], where[1]]
        elif kind == "blur":
            image[:, where[0], where[1]] = blurred[:, where[0], where[1]]
        elif kind == "size":
            part = image[:, row : row + edge // 2, column : column + edge // 2]
            image[:, where[0], where[1]] = F.resize(part, [edge, edge], antialias=True)
        else:
            steps = torch.arange(edge)
            image[:, row + steps, column + steps] = 0
            where = row + steps, column + steps
        mask[where[0], where[1]] = True
    return image, mask


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
        maps.append(cells_of(result.store.stages[level].lattice.pixels_of(values, image.shape[1:]))[0])
    return -torch.stack(maps)


def patches(image: Tensor, stride: int) -> Tensor:
    """The patches of an image as rows, (n, CELL^2)."""
    return image[0].double().unfold(0, CELL, stride).unfold(1, CELL, stride).flatten(2).flatten(0, 1)


def area(scores: Tensor, defects: Tensor) -> float:
    """The probability that a cell with a defect has a higher score than one without."""
    ranks = scores.flatten().argsort().argsort().double() + 1
    chosen = defects.flatten()
    n, m = int(chosen.sum()), int((~chosen).sum())
    return float((ranks[chosen].sum() - n * (n + 1) / 2) / (n * m))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texture", choices=TEXTURES, default="gravel")
    parser.add_argument("--minutes", type=float, default=2, help="training time")
    parser.add_argument("--repetitions", type=int, default=4, help="images with defects of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("defects.png"))
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    whole = texture(options.texture)
    other = texture(next(name for name in TEXTURES if name != options.texture))[:, 320:512]
    upper, clean, lower = whole[:, :224], whole[:, 224:320], whole[:, 320:512]
    flow = mera.build("rgflow", L=32, m=4, channels=1)
    windows = mera.data.windows([upper], L=32, test=[clean], test_windows=100, flip=True)
    mera.train.fit(flow, windows, minutes=options.minutes, seed=options.seed, console=Console())
    flow.eval()
    normal = surprise(flow, clean).flatten(1)
    mean, deviation = normal.mean(1)[:, None, None], normal.std(1)[:, None, None]
    known = patches(upper, 4)
    centre = known.mean(0)
    directions, sizes, _ = torch.linalg.svd((known - centre).T / len(known) ** 0.5, full_matrices=False)

    def distances(image: Tensor) -> tuple[Tensor, Tensor]:
        """The Mahalanobis distances of patches, and what the first components leave of them, (n,) each."""
        parts = (patches(image, CELL) - centre) @ directions
        return (parts / (sizes + 1)).square().sum(1), parts[:, 16:].square().sum(1)

    usual = [(values.mean(), values.std()) for values in distances(clean)]
    rows, images, columns = [], {}, [f"level {level}" for level in range(len(mean))]
    for kind in ("patch", "blur", "scratch", "size"):
        areas = []
        for _ in range(options.repetitions):
            image, mask = plant(lower, kind, other)
            defects = cells_of(mask) > 0
            deviations = ((surprise(flow, image) - mean) / deviation).square()
            compared = [((v - m) / d).square() for v, (m, d) in zip(distances(image), usual, strict=True)]
            scores = [*deviations, deviations.sum(0), *compared]
            areas.append([area(score, defects) for score in scores])
            images[kind] = image, deviations.sum(0), defects
        rows.append((kind, *(with_error(values, 3) for values in zip(*areas, strict=True))))
    print(Table(["defect", *columns, "all levels", "Gaussian", "components"], rows))
    figure, axes = panels(2 * len(images), 2, 6.0, 2.4, margin=0.4)
    for index, (kind, (image, score, defects)) in enumerate(images.items()):
        axes[2 * index].imshow(image[0], cmap="gray")
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
