"""A process of test_distributed.py: learn an action, and go on if there is a run."""

import sys
from pathlib import Path

import torch

import mera
from mera import physics
from mera.train import Settings, fit, is_main, sample


def main(path: Path, steps: int) -> None:
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=8, channels=1, layers=1, hidden=(8,), norm=False, prior="gaussian").double()
    settings = Settings(steps=steps, eval_every=5, batch_size=24, accumulate=2, eval_images=21, warmup=2, ema=0.5)
    result = fit(mera.Symmetrized(flow), physics.Phi4(-1.0, 0.5), settings, path, resume="auto")
    if is_main():  # for which no process waits
        torch.save(sample(result.flow, 7), path / "samples.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
