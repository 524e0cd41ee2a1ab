"""A process of tests/train/test_distributed.py, which runs one of the functions below."""

import sys
from pathlib import Path

import torch

import mera
from mera import data, physics
from mera.train import RunFolder, Settings, fit, is_main, loop, sample
from mera.train.evaluate import example_losses
from tests.helpers.callbacks import StopAt
from tests.helpers.training import IMAGES, small_flow


def images(path: Path, last: int) -> None:
    """Train up to a step in a run's folder, then draw samples."""
    splits = data.load("msds1", L=8, train_size=60, test_size=21)
    settings = Settings(steps=6, eval_every=3, batch_size=12, eval_images=21, warmup=2, ema=0.5)
    run = RunFolder(path)
    resume = bool(run.steps())  # nothing is written before all processes have met in `fit`
    result = fit(small_flow().double(), splits, settings, run, resume=resume, callbacks=[StopAt(last)])
    if is_main():  # for which no process waits
        assert len(example_losses(result.flow, splits.test)) == 21
        torch.save(sample(result.flow, 7, temperature=0.8), path / "samples.pt")


def action(path: Path, steps: int) -> None:
    """Learn an action, and go on if there is a run."""
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=8, channels=1, layers=1, hidden=(8,), norm=False, prior="gaussian").double()
    settings = Settings(steps=steps, eval_every=5, batch_size=24, eval_images=21, warmup=2, ema=0.5)
    result = fit(mera.Symmetrized(flow), physics.Phi4(-1.0, 0.5), settings, path, resume="auto")
    if is_main():
        torch.save(sample(result.flow, 7), path / "samples.pt")


def best(path: Path, steps: int) -> None:
    """Train with losses of held-out images that rise in every process but the first one; print the best and weights."""
    compute = loop.losses

    def losses(flow, objective, n, piece):
        found = compute(flow, objective, n, piece)
        return -found if objective.size == 6 and not is_main() else found

    loop.losses = losses
    flow = small_flow()
    result = fit(flow, IMAGES, keep="best", steps=steps, eval_every=1, batch_size=8, quiet=True)
    print([*result.best, sum(p.sum().item() for p in flow.parameters())])


if __name__ == "__main__":
    {"images": images, "action": action, "best": best}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
