"""A field in three dimensions, learnt from its action alone: phi^4 on 8 x 8 x 8 sites.

python examples/gallery/field3d.py [seconds of training] [picture]
"""

import sys

import torch
from matplotlib.figure import Figure

import mera
from mera import physics


def main(seconds: float = 120, out: str = "field3d.png") -> None:
    torch.manual_seed(0)
    action = physics.Phi4(mass2=0.2, coupling=0.2)
    flow = mera.build(
        "rgflow", dim=3, L=8, m=4, channels=1, layers=2, hidden=(64,), norm=False, prior="gaussian", spectral=True
    )
    result = mera.train.fit(flow, action, minutes=seconds / 60, batch_size=64, lr=5e-3, weight_decay=0)
    report = physics.estimate(flow, action, 4000)
    chain = physics.hmc((1, 8, 8, 8), action, draws=200, warmup=100)
    print(f"{result.steps} steps, effective sample size {report.ess:.2f}")
    print(f"<phi^2>: {report.observables['phi2']} by weights, {chain.observables['phi2']} by Hamiltonian Monte Carlo")
    field = flow.sample(1)[0, 0]
    figure = Figure(figsize=(9, 1.4), layout="constrained")
    for slice_, axes in zip(field, figure.subplots(1, 8), strict=True):
        axes.imshow(slice_, cmap="RdBu_r", vmin=-2, vmax=2)
        axes.set(xticks=[], yticks=[])
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *sys.argv[2:3])
