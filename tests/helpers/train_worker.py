"""A process of tests/train/test_distributed.py: train up to a step in a run's folder, then draw samples."""

import sys
from pathlib import Path

import torch

import mera
from mera import data
from mera.train import RunFolder, Settings, fit, is_main, sample
from mera.train.evaluate import example_losses
from tests.helpers.callbacks import StopAt


def main(path: Path, last: int) -> None:
    images = data.load("msds1", L=8, train_size=60, test_size=21)
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=8, layers=1, hidden=(8,)).double()
    settings = Settings(steps=6, eval_every=3, batch_size=12, accumulate=3, eval_images=21, warmup=2, ema=0.5)
    run = RunFolder(path)
    resume = bool(run.steps())  # nothing is written before all processes have met in `fit`
    result = fit(flow, images, settings, run, resume=resume, callbacks=[StopAt(last)])
    if is_main():  # for which no process waits
        assert len(example_losses(result.flow, images.test)) == 21
        torch.save(sample(result.flow, 7, temperature=0.8), path / "samples.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
