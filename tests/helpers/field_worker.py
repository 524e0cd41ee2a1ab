"""A process of test_survival.py: learn the fields of a memory-mapped array, and go on if there is a run."""

import sys
from pathlib import Path

import numpy as np
import torch

import mera
from mera.train import Settings, fit


def main(path: Path, array: Path) -> None:
    fields = np.memmap(array, dtype="float32", mode="r").reshape(-1, 1, 8, 8)
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=8, channels=1, layers=1, hidden=(8,), prior="gaussian")
    settings = Settings(steps=60, eval_every=5, batch_size=16, eval_images=10, warmup=2)
    fit(flow, fields, settings, path, resume="auto")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
