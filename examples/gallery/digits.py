"""Digits by class: a flow that is conditional on the class, on the 8 x 8 digits of scikit-learn, which it tells apart.

python examples/gallery/digits.py [seconds of training] [picture]
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

import mera
from mera.drawing.images import save_grid


def main(seconds: float = 60, out: str = "digits.png") -> None:
    torch.manual_seed(0)
    found = load_digits()
    images = torch.from_numpy(found.images * 255 / 16).to(torch.uint8)[:, None]
    labels = torch.from_numpy(found.target)
    order = torch.randperm(len(images))
    images, labels = images[order], labels[order]
    flow = mera.build("rgflow", L=8, m=4, channels=1, layers=2, hidden=(64,), classes=10)
    test = images[:200], labels[:200]
    train = TensorDataset(images[200:], labels[200:])
    result = mera.train.fit(
        flow, train, test=TensorDataset(*test), minutes=seconds / 60, weight_decay=1e-2, ema=0.99, keep="best"
    )
    flow = result.flow
    with torch.no_grad():
        x = flow.from_images(test[0])
        scores = torch.stack([flow.log_prob(x, torch.full((len(x),), digit)) for digit in range(10)])
    right = (scores.argmax(0) == test[1]).float().mean().item()
    print(f"{result.test_loss:.3f} bits/dim; the class with the largest density is right for {right:.1%} of 200 digits")
    samples = flow.sample(100, torch.arange(10).repeat(10), temperature=0.8)
    save_grid(flow.to_images(samples), out, columns=10)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *sys.argv[2:3])
