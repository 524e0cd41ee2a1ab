"""Multi-scale synthetic images: ellipses whose colour or angle is shared by the whole image."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from mera._utils.checks import check_count
from mera.data.dataset import ArrayDataset, DataSplits, Edges, edges, register, resize

TRAIN, TEST = 90_000, 10_000

CELL = 8
"""Edge of a cell in pixels."""
GRID = 4
"""Cells along an edge of the image."""
IMAGES_PER_SEED = 1000
"""Images that are drawn from one seed, so that the first images of a split do not depend on the number of images."""


def msds(kind: int, split: str, n: int, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw the first `n` images of MSDS1 or MSDS2 (Hu et al., a later version of https://arxiv.org/abs/2010.00029).

    An image has 4 x 4 cells of 8 x 8 pixels on black, and one ellipse in each cell. In MSDS1 the ellipses of an image
    share a colour up to 32 steps, and their angles are independent; in MSDS2 they share an angle up to 45 degrees, and
    their colours are independent. Angles are whole degrees.

    Args:
        kind: 1 for MSDS1, 2 for MSDS2.
        split: "train" or "test"; the two splits are independent of each other.

    Returns:
        images: (n, 3, 32, 32) uint8.
        labels: "global_color" (n, 3) for MSDS1 or "global_angle" (n,) for MSDS2; "color" (n, 4, 4, 3), "angle"
            (n, 4, 4) and "jitter" (n, 4, 4, 2) of each cell.
    """
    check_count(n, "a positive number of images")
    images: list[np.ndarray] = []
    labels: list[dict[str, np.ndarray]] = []
    for start in range(0, n, IMAGES_PER_SEED):
        rng = np.random.default_rng([seed, kind, split == "test", start // IMAGES_PER_SEED])
        label = {name: values[: n - start] for name, values in _draw_labels(kind, rng).items()}
        images.append(_render(label))
        labels.append(label)
    return (
        torch.from_numpy(np.concatenate(images)),
        {name: torch.from_numpy(np.concatenate([label[name] for label in labels])) for name in labels[0]},
    )


def _load(kind: int, L: Edges, train_size: int = TRAIN, test_size: int = TEST) -> DataSplits:
    """Draw both splits of MSDS1 or MSDS2, of these numbers of images; nothing is read or downloaded."""
    edges(L)  # before the images are drawn
    splits = msds(kind, "train", train_size), msds(kind, "test", test_size)
    train, test = (ArrayDataset(resize(images, L), labels) for images, labels in splits)
    return DataSplits(f"msds{kind}", 3, train, test)


for kind in (1, 2):
    register(f"msds{kind}")(partial(_load, kind))


def _draw_labels(kind: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Colours, angles and jitter of the ellipses in a chunk of images."""
    cells = (IMAGES_PER_SEED, GRID, GRID)
    jitter = rng.integers(-1, 1, (*cells, 2), endpoint=True)
    if kind == 1:
        color = rng.integers(32, 223, (IMAGES_PER_SEED, 3), endpoint=True)
        colors = color[:, None, None] + rng.integers(-32, 32, (*cells, 3), endpoint=True)
        angles = rng.integers(0, 180, cells, endpoint=True)
        return {"global_color": color, "color": colors, "angle": angles, "jitter": jitter}
    angle = rng.integers(0, 180, IMAGES_PER_SEED, endpoint=True)
    angles = angle[:, None, None] + rng.integers(0, 45, cells, endpoint=True)
    colors = rng.integers(0, 255, (*cells, 3), endpoint=True)
    return {"global_angle": angle, "color": colors, "angle": angles, "jitter": jitter}


def _render(label: dict[str, np.ndarray]) -> np.ndarray:
    """Paste the cells in order, each into all images at once; neighbouring cells may overlap by a pixel."""
    n, margin = len(label["angle"]), 1
    edge = GRID * CELL
    canvas = np.zeros((n, edge + 2 * margin, edge + 2 * margin, 3))
    image = np.arange(n)[:, None, None]
    for row, column in np.ndindex(GRID, GRID):
        dy, dx = label["jitter"][:, row, column].T
        y = (margin + row * CELL + dy)[:, None, None] + np.arange(CELL)[:, None]
        x = (margin + column * CELL + dx)[:, None, None] + np.arange(CELL)
        alpha = _ellipses()[label["angle"][:, row, column]][..., None]
        color = label["color"][:, row, column, None, None]
        canvas[image, y, x] = np.rint(canvas[image, y, x] * (1 - alpha) + color * alpha)
    pixels = canvas[:, margin:-margin, margin:-margin].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pixels.astype(np.uint8))


@cache
def _ellipses() -> np.ndarray:
    """Coverage (angles, 8, 8) in 0..1 of the ellipse with bounding box (1, 3, 7, 5), turned by whole degrees."""
    upright = Image.new("L", (CELL, CELL))
    ImageDraw.Draw(upright).ellipse((1, 3, 7, 5), fill=255)
    ellipses = [upright.rotate(angle, resample=Image.Resampling.BICUBIC) for angle in range(180 + 45 + 1)]
    return np.stack([np.asarray(image) for image in ellipses]) / 255
