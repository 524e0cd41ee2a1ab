"""A texture of any size from one photograph: all levels share their weights, and a window of an endless image is drawn.

python examples/gallery/texture.py [seconds of training] [picture]
"""

import sys

import torch
from skimage import data

import mera
from mera.drawing.images import save_image


def main(seconds: float = 120, out: str = "texture.png") -> None:
    torch.manual_seed(0)
    photograph = torch.from_numpy(data.gravel())[None]
    photograph = torch.nn.functional.avg_pool2d(photograph.float(), 4).to(torch.uint8)  # (1, 128, 128)
    crops = photograph.unfold(1, 32, 2).unfold(2, 32, 2).reshape(-1, 1, 32, 32)
    flow = mera.build("rgflow", L=32, m=4, channels=1, layers=2, hidden=(64,), share_levels=True)
    result = mera.train.fit(flow, crops, test=crops[::10], minutes=seconds / 60)
    print(f"{result.test_loss:.3f} bits/dim on crops that it has learnt, after {result.steps} steps")
    endless = mera.build("rgflow", L=2**20, m=4, channels=1, layers=2, hidden=(64,), share_levels=True)
    endless.load_state_dict(flow.state_dict())
    window = endless.to_images(endless.window(7, (5000, 5128), (9000, 9256), temperature=1.0))[0]
    gap = torch.full((1, 128, 8), 255, dtype=torch.uint8)
    save_image(torch.cat([photograph, gap, window], dim=2), out)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *sys.argv[2:3])
