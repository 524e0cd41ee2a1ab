"""Bits per dimension of lossless codecs on the test images of a data set: a yardstick beside flows.

    pip install -e '.[benchmarks]'
    python benchmarks/codecs.py wallpapers
    python benchmarks/codecs.py photographs --L 32 --images 386
    python benchmarks/codecs.py wallpapers --data-options "longest=480" --flow photographs

Each image is a file of its own, headers counted, as a flow knows nothing of an image but the image. A density whose
bits/dim are above those of a codec has not learnt what the codec knows of images.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import imagecodecs
import numpy as np
import photo_data  # noqa: F401, registers data sets
import torch

import mera
from mera.cli.declared_options import assignments

CODECS: dict[str, Callable[[np.ndarray], bytes]] = {
    "PNG": partial(imagecodecs.png_encode, level=9),
    "WebP, lossless": partial(imagecodecs.webp_encode, lossless=True, level=9),
    "JPEG XL, effort 9": partial(imagecodecs.jpegxl_encode, lossless=True, effort=9),
}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="the name of a data set")
    parser.add_argument("--L", type=int, default=32)
    parser.add_argument("--root", default="data")
    parser.add_argument("--images", type=int, default=900)
    parser.add_argument("--data-options", type=assignments, default={}, help='options of the data set, "longest=480"')
    parser.add_argument("--flow", help="a flow, whose bits/dim are printed too")
    options = parser.parse_args()
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
