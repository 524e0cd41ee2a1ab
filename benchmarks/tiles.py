"""How far log p is off, in nats, if an image is cut into tiles that are evaluated apart: a Markdown table.

python benchmarks/tiles.py --flow msds2 --edge 1024 --tiles 32 64 128 256
"""

from __future__ import annotations

import argparse

import torch

import mera


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow", default="msds2", help="a trained flow of the package")
    parser.add_argument("--edge", type=int, default=1024, help="the edge of the image, a sample of the flow")
    parser.add_argument("--tiles", type=int, nargs="+", default=[32, 64, 128, 256], help="the edges of tiles")
    options = parser.parse_args()
    flow = mera.load_pretrained(options.flow).eval().resized((options.edge, options.edge))
    torch.manual_seed(1)
    x = flow.sample(1, temperature=0.9)
    with torch.no_grad():
        whole = flow.log_prob(x).item()
        print("| tile | log p of tiles less that of the whole, nats | per tile | of log p |\n|---|---|---|---|")
        for tile in options.tiles:
            part = flow.resized((tile, tile))
            cut = x.unfold(2, tile, tile).unfold(3, tile, tile).permute(2, 3, 0, 1, 4, 5).reshape(-1, 3, tile, tile)
            error = sum(part.log_prob(rows).double().sum().item() for rows in cut.split(64)) - whole
            print(f"| {tile} | {error:.0f} | {error / len(cut):.1f} | {abs(error / whole):.3%} |")


if __name__ == "__main__":
    main()
