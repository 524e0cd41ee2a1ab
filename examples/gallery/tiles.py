"""Photographs in tiles of 16 x 16 pixels: five photographs to learn from, in random windows, two others to test on.

python examples/gallery/tiles.py [seconds of training] [picture]
"""

import sys

import torch

import mera
from mera.analysis.drawing.images import save_grid


def main(seconds: float = 60, out: str = "tiles.png") -> None:
    torch.manual_seed(0)
    tiles = mera.data.load("photographs", L=16)
    flow = mera.build("rgflow", L=16, m=4, layers=2, hidden=(64,))
    result = mera.train.fit(flow, tiles, minutes=seconds / 60)
    print(f"{result.test_loss:.3f} bits/dim on tiles of other photographs after {result.steps} steps")
    samples = flow.to_images(flow.sample(24, temperature=0.8))
    save_grid(torch.cat([mera.data.first(tiles.test, 24), samples]), out, columns=12)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *sys.argv[2:3])
