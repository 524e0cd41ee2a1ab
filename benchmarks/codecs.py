"""Bits per dimension of lossless codecs on the test images of a data set: a yardstick beside flows.

    pip install -e '.[benchmarks]'
    python benchmarks/codecs.py whole --flow photographs
    python benchmarks/codecs.py wallpapers
    python benchmarks/codecs.py photographs --L 32 --images 386
    python benchmarks/codecs.py wallpapers --data-options "longest=480" --flow photographs

Each image is a file of its own, headers counted, as a flow knows nothing of an image but the image: `whole` are the 15
test photographs of `wallpapers`, with a longer edge of 960 pixels, and `wallpapers` are 900 windows of them, for each
of which a codec pays a header and begins anew. A density whose bits/dim are above those of a codec has not learnt what
the codec knows of images. Errors of `whole` are over photographs; the last column is the number of photographs on which
the flow needs fewer bits than the codec. For the flow, a photograph is continued to edges that fit by its last row and
column, smoothed more and more, and the bits of all of it are counted, so that none is left out; or in the row "within"
those of the cells of the photograph itself, as `mera map` counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import photo_data
import torch
from torch.nn.functional import avg_pool1d, pad

import mera
from mera.cli.options import assignments

CODECS: dict[str, Callable[[np.ndarray], bytes]] = {
    "PNG": partial(imagecodecs.png_encode, level=9),
    "WebP, lossless": partial(imagecodecs.webp_encode, lossless=True, level=9),
    "JPEG XL, effort 9": partial(imagecodecs.jpegxl_encode, lossless=True, effort=9),
}


def continued(image: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """An image (C, H, W) with further rows and columns, each the one before it, smoothed over 9 pixels."""
    image = image.float()
    for axis, count in ((1, rows), (2, columns)):
        for _ in range(count):
            last = image.select(axis, -1)
            smooth = avg_pool1d(pad(last, (4, 4), mode="replicate"), 9, 1)
            image = torch.cat([image, smooth.unsqueeze(axis)], axis)
    return image.round().byte()


def whole(options: argparse.Namespace) -> None:
    """Whole photographs: a table of means over photographs."""
    files = photo_data.photographs_of(photo_data.TEST_PACKAGE, Path(options.root or "data"))
    images = [photo_data.read_picture(file, 3, options.longest) for file in files]
    found = {
        name: np.array(
            [8 * len(encode(np.ascontiguousarray(image.movedim(0, -1).numpy()))) / image.numel() for image in images]
        )
        for name, encode in CODECS.items()
    }
    flow, bits, within = mera.load(options.flow), [], []
    for image in images:
        shown = continued(image, *(-n % unit for n, unit in zip(image.shape[1:], flow.plan.period, strict=True)))
        result = flow.resized(shown.shape[1:]).stream(shown, tile=256)
        bits.append(float(result.bits().double().mean((1, 2)).sum()) * shown.numel() / image.numel())
        within.append(float(result.bits(shape=image.shape[1:]).double().mean((1, 2)).sum()))
    print(f"| {len(images)} photographs of {options.longest} pixels | bits/dim | standard error | flow needs less |")
    print("|---|---|---|---|")
    for name, values in (found | {options.flow: np.array(bits), f"{options.flow}, within": np.array(within)}).items():
        error = values.std(ddof=1) / len(values) ** 0.5
        wins = f"{(np.array(bits) < values).sum()}" if name in found else ""
        print(f"| {name} | {values.mean():.3f} | {error:.3f} | {wins} |", flush=True)
    gap = np.array(bits) - found["JPEG XL, effort 9"]
    print(f"the flow less JPEG XL: {gap.mean():.3f} +- {gap.std(ddof=1) / len(gap) ** 0.5:.3f} bits/dim")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="the name of a data set, or whole")
    parser.add_argument("--L", type=int, default=32)
    parser.add_argument("--root", help="the folder of the data")
    parser.add_argument("--images", type=int, default=900)
    parser.add_argument("--data-options", type=assignments, default={}, help='options of the data set, "longest=480"')
    parser.add_argument("--flow", help="a flow, whose bits/dim are printed too")
    parser.add_argument("--longest", type=int, default=960, help="the longer edge of whole photographs")
    options = parser.parse_args()
    if options.data == "whole":
        whole(options)
        return
    splits = mera.data.load(options.data, L=options.L, root=options.root, **options.data_options)
    images = mera.data.first(splits.test, options.images)
    pixels = [np.ascontiguousarray(image.movedim(0, -1).squeeze(-1).numpy()) for image in images]
    print(f"| {len(images)} test images of {options.data} | bits/dim | standard error |\n|---|---|---|")
    for name, encode in CODECS.items():
        bits = np.array([8 * len(encode(array)) / array.size for array in pixels])
        print(f"| {name} | {bits.mean():.3f} | {bits.std(ddof=1) / len(bits) ** 0.5:.3f} |", flush=True)
    if options.flow is not None:
        flow = mera.load(options.flow)
        bits = torch.cat([flow.bits_per_dim(batch) for batch in images.split(100)])
        print(f"| {options.flow} | {bits.mean():.3f} | {bits.std() / len(bits) ** 0.5:.3f} |")


if __name__ == "__main__":
    main()
