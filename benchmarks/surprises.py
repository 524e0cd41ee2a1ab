"""What `mera find` finds of defects that are planted in photographs, beside a detector of medians alone.

    python benchmarks/surprises.py

Two scratches of one pixel or of three, eight specks of dust, a clone of 32 x 32 pixels from elsewhere in the picture,
or noise of 8 grey values in a square of 32 x 32, in ten photographs of scikit-image and scikit-learn, which the flow
"photographs" has not learnt, reduced to 384 pixels. The table has the mean recall of the defects' pixels and the mean
precision of the mask, both within a pixel. The other detector marks connected pixels that differ from medians around
by five robust deviations, ten parts at most, by the same score.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage
import sklearn
import torch
from scipy import ndimage

import mera
from mera._utils.table import Table, plus_minus
from mera.analysis import surprises
from mera.train.evaluate import mean_and_error

PICTURES = [
    Path(skimage.__file__).parent / "data" / name
    for name in (
        "astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "retina.jpg", "ihc.png",
        "hubble_deep_field.jpg",
    )
] + [Path(sklearn.__file__).parent / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")]  # fmt: skip
KINDS = ("scratches of 1", "scratches of 3", "dust", "clone", "noise")
EIGHT = np.ones((3, 3), bool)


def planted(pixels: np.ndarray, kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture (C, H, W) with defects of a kind, and their pixels (H, W)."""
    x = pixels.astype(float)
    _, height, width = x.shape
    mask = np.zeros((height, width), bool)
    rows, columns = np.mgrid[:height, :width]

    def paint(where: np.ndarray, cover: float) -> None:
        mean = x[:, where].mean()
        x[:, where] = (1 - cover) * x[:, where] + cover * (mean + (90 if mean < 128 else -90))
        mask[where] = True

    if kind.startswith("scratches"):
        for _ in range(2):
            row, column = rng.uniform(0.2, 0.8) * height, rng.uniform(0.2, 0.8) * width
            angle, length = rng.uniform(0, np.pi), rng.uniform(60, 120)
            across = np.abs((columns - column) * np.sin(angle) - (rows - row) * np.cos(angle))
            along = np.abs((columns - column) * np.cos(angle) + (rows - row) * np.sin(angle))
            paint((across < int(kind[-1]) / 2) & (along < length / 2), 0.8)
    elif kind == "dust":
        for _ in range(8):
            row, column = rng.uniform(0.05, 0.95) * height, rng.uniform(0.05, 0.95) * width
            paint((rows - row) ** 2 + (columns - column) ** 2 < rng.uniform(1.5, 3.5) ** 2, 0.7)
    else:
        (row, other_row), (column, other_column) = (rng.integers(0, n - 32, 2) for n in (height, width))
        where = slice(row, row + 32), slice(column, column + 32)
        if kind == "clone":
            x[:, *where] = pixels[:, other_row : other_row + 32, other_column : other_column + 32]
        else:
            x[:, *where] += rng.normal(0, 8, (len(x), 32, 32))
        mask[where] = True
    return x.clip(0, 255).round().astype(np.uint8), mask


def by_medians(pixels: np.ndarray, most: int = 10) -> np.ndarray:
    """The pixels that differ from the medians around them, without a flow."""
    grey = pixels.mean(0)
    far = np.maximum(*(np.abs(surprises._deviations(grey, edge, 1, 0.5)) for edge in surprises.NEAR))
    labels, count = ndimage.label(far > 5, EIGHT)
    numbers = np.arange(1, count + 1)
    scores = ndimage.sum_labels(far - 5, labels, numbers) / np.sqrt(ndimage.sum_labels(far > 5, labels, numbers))
    return ndimage.binary_dilation(np.isin(labels, numbers[np.argsort(-scores)[:most]]), EIGHT)


def main() -> None:
    """Print the table."""
    flow = mera.load_pretrained("photographs")
    rows, clean = [], []
    for path in PICTURES:
        found = mera.analysis.find_surprises(flow, mera.data.photograph(path, 384))
        clean.append(len(found.parts))
    print(f"parts of the pictures themselves: {', '.join(map(str, clean))}")
    for kind in KINDS:
        results = []
        for number, path in enumerate(PICTURES):
            pixels = mera.data.photograph(path, 384).numpy()
            x, mask = planted(pixels, kind, np.random.default_rng(100 * number + KINDS.index(kind)))
            near = ndimage.binary_dilation(mask, EIGHT)
            found = mera.analysis.find_surprises(flow, torch.from_numpy(x)).mask.numpy()
            for marked in (found, by_medians(x)):
                recall = (mask & ndimage.binary_dilation(marked, EIGHT)).sum() / mask.sum()
                results.append((recall, (marked & near).sum() / max(marked.sum(), 1)))
        numbers = np.array(results).reshape(len(PICTURES), 4)
        rows.append((kind, *(plus_minus(*mean_and_error(column), 2) for column in torch.from_numpy(numbers.T))))
    print(Table(["defects", "find: recall", "precision", "medians: recall", "precision"], rows))


if __name__ == "__main__":
    main()
