"""A small flow, images and settings, for whatever trains."""

import os
import signal

import torch

import mera
from mera import data
from mera.train import Callback, Settings

IMAGES = data.load("msds1", L=8, train_size=60, test_size=20)
SHORT = Settings(steps=6, eval_every=3, batch_size=16, eval_images=10, warmup=2)


def small_flow():
    torch.manual_seed(1)
    return mera.build("rgflow", L=8, layers=1, hidden=(8,))


class At(Callback):
    """Do something right after a step, before anything is saved."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step(self, loop, metrics):
        if loop.step == self.step:
            self.action(loop)


def interrupt(loop):
    os.kill(os.getpid(), signal.SIGINT)


class Flipped(data.Images):
    """Images that are flipped at random as they are read, as those of CelebA are."""

    def __getitem__(self, index):
        return self.images[index].flip(-1) if torch.rand(()) < 0.5 else self.images[index]

    def __getitems__(self, indices):
        return [self[index] for index in indices]


FLIPPED = data.ImageData("flipped", 3, Flipped(IMAGES.train.images), IMAGES.test)


def same(a, b):
    """Whether two flows have the same weights, bit by bit."""
    return all(torch.equal(b.state_dict()[name], tensor) for name, tensor in a.state_dict().items())


def lines(run):
    """The metrics, but for what a clock says."""
    return [{key: value for key, value in line.items() if key != "seconds"} for line in run.metrics()]
