"""A small flow, images and settings, for tests that train."""

import torch

import mera
from mera import data
from mera.train import Settings

IMAGES = data.load("msds1", L=8, train_size=60, test_size=20)
SHORT = Settings(steps=6, eval_every=3, batch_size=16, eval_images=10, warmup=2)


def small_flow(name="rgflow", **options):
    torch.manual_seed(1)
    return mera.build(name, **{"L": 8, "layers": 1, "hidden": (8,)} | options)


class Flipped(data.ArrayDataset):
    """Images that are flipped at random as they are read, as those of CelebA are."""

    def __getitem__(self, index):
        return self.array[index].flip(-1) if torch.rand(()) < 0.5 else self.array[index]


FLIPPED = data.DataSplits("flipped", 3, Flipped(IMAGES.train.array), IMAGES.test)


def same(a, b):
    """Whether two flows have the same weights, bit by bit."""
    return all(torch.equal(b.state_dict()[name], tensor) for name, tensor in a.state_dict().items())


def lines(run):
    """The metrics, but for what a clock says."""
    return [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in run.metrics()]
