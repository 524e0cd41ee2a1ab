"""Anomalies found by scale: which level of a trained flow pays more for a picture with something wrong in it?

python examples/gallery/anomalies.py [picture]
"""

import sys

import torch
from matplotlib.figure import Figure

import mera
from mera.analysis import decompose


def main(out: str = "anomalies.png") -> None:
    flow = mera.load_pretrained("msds1")
    usual = mera.data.first(mera.data.load("msds1", L=32).test, 200)
    torch.manual_seed(0)
    wrong = {"as it is": usual[5:6]}
    wrong["noise in a corner"] = usual[5:6].clone()
    wrong["noise in a corner"][..., 2:8, 2:8] = torch.randint(0, 256, (1, 3, 6, 6), dtype=torch.uint8)
    wrong["one ellipse of another colour"] = usual[5:6].clone()
    wrong["one ellipse of another colour"][..., 8:16, 16:24] = usual[5:6, [2, 0, 1], 8:16, 16:24]
    wrong["another picture on the right"] = torch.cat([usual[5:6, ..., :16], usual[:1, ..., 16:]], dim=3)
    bits = decompose(flow, flow.from_images(usual)).bits()
    figure = Figure(figsize=(9, 7), layout="constrained")
    for (name, image), row in zip(wrong.items(), figure.subplots(4, 6), strict=True):
        parts = decompose(flow, flow.from_images(image))
        z = (parts.bits()[0] - bits.mean(0)) / bits.std(0)
        print(f"{name}: bits of each level in deviations from the usual, finest first: "
              + ", ".join(f"{value:+.1f}" for value in z))  # fmt: skip
        row[0].imshow(image[0].movedim(0, -1))
        row[0].set_ylabel(name, fontsize=7)
        row[1].bar(range(len(z)), z)
        row[1].set_title("deviations by level", fontsize=7)
        for level, (axes, one) in enumerate(zip(row[2:], parts.maps, strict=True)):
            axes.imshow(-one[0], cmap="viridis")
            axes.set_title(f"z{level} pays", fontsize=7)
        for axes in (row[0], *row[2:]):
            axes.set(xticks=[], yticks=[])
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:2])
