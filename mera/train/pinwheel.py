"""Flows that learn the pinwheel of App. C of the RG-Flow paper, https://arxiv.org/abs/2010.00029."""

from __future__ import annotations

from mera._utils.random import fixed_seed
from mera.analysis.pinwheel import pinwheel
from mera.flow import Flow
from mera.graph import Layout
from mera.names.flow_options import PriorLike
from mera.train.fit import fit
from mera.train.settings import Settings

BATCH, RATE, LAYERS, WIDTH = 256, 1e-2, 6, 32


def learn_pinwheel(prior: PriorLike = "gaussian", seed: int = 0, steps: int = 500, transform: str = "affine") -> Flow:
    """Train a flow of six couplings on the pinwheel, a density of two variables.

    Args:
        steps: the steps of training, of 256 points each.
        transform: "affine", or "spline" for rational-quadratic ones.
    """
    with fixed_seed(seed):
        layout = Layout((2,), channels=1)
        block = {"name": "coupling", "transform": transform, "layers": LAYERS, "hidden": (WIDTH,)}
        layout.latent(layout.local(layout.input, block, kernel=2))
        flow = Flow(layout, prior)
        points = pinwheel(BATCH * (steps + 1), seed).view(-1, 1, 2)
        settings = Settings(
            steps=steps, batch_size=BATCH, optimizer="AdamW", lr=RATE, weight_decay=0.01, warmup=0, eval_every=steps,
            seed=seed,
        )  # fmt: skip
        fit(flow, (points[BATCH:], points[:BATCH]), settings, quiet=True)
    return flow
