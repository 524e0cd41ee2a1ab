"""A signal in one dimension: learn noisy oscillations that fade, then fill a gap in one of them.

python examples/gallery/waves.py [seconds of training] [picture]
"""

import sys

import torch
from matplotlib.figure import Figure

import mera


def signals(n: int) -> torch.Tensor:
    """Fading oscillations of random frequency and phase with a little noise, (n, 1, 64)."""
    t = torch.linspace(0, 1, 64)
    frequency, phase, decay = 2 + 6 * torch.rand(n, 1), 6.3 * torch.rand(n, 1), 3 * torch.rand(n, 1)
    return (torch.sin(6.3 * frequency * t + phase) * torch.exp(-decay * t) + 0.05 * torch.randn(n, 64))[:, None]


def main(seconds: float = 60, out: str = "waves.png") -> None:
    torch.manual_seed(0)
    flow = mera.build("rgflow", dim=1, L=64, m=8, channels=1, layers=2, hidden=(64,), prior="gaussian")
    result = mera.train.fit(flow, signals(20_000), minutes=seconds / 60, batch_size=64)
    print(f"{result.test_loss:.3f} nats for each sample of a signal after {result.steps} steps")
    truth = signals(1)
    gap = torch.zeros(64, dtype=torch.bool)
    gap[24:36] = True
    filled = flow.inpaint(truth, gap, samples=16, warmup=100, iterations=100)
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.plot(flow.sample(5)[:, 0].T, lw=1)
    left.set_title("samples")
    right.axvspan(23.5, 35.5, color="#eee")
    right.plot(filled.samples[:, 0].T, color="tab:orange", lw=0.7, alpha=0.6)
    right.plot(truth[0, 0], "k", lw=1)
    right.set_title("a gap, and 16 ways to fill it (orange)")
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *sys.argv[2:3])
