"""Models of mera and of other libraries after equal processor time, with one optimiser, schedule and preprocessing.

    python benchmarks/equal_time.py --data msds1 --seconds 60 --seeds 3
    python benchmarks/equal_time.py --data msds1 --seconds 60 --seeds 2 --optimizer AdamW
    python benchmarks/equal_time.py --data photographs --models rgflow "rgflow(details=2, boundary=open)" glow

All take batches of 32 of the same images, or of new windows of the same photographs, for as many seconds of processor
time of one thread (without the reading of images), or for as many steps with `--steps`. The learning rate falls along
half a cosine of that time, gradients are clipped to norm 1, and a step whose loss is not finite is left out.
Flows of mera have their defaults; those of other libraries are built as their documentation builds them, with a width
that gives about as many parameters as `rgflow` has. A table shows parameters, milliseconds of a step, steps, and the
bits/dim of test images, the mean over seeds with its standard error.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import photo_data  # noqa: F401, registers data sets
import torch
from baselines import BASELINES
from torch import Tensor, nn

import mera
from mera._utils.registry import parse_call
from mera._utils.table import Table
from mera.data import DataSplits
from mera.train.optimizers import cosine, make_optimizer

L, BATCH, WARMUP = 32, 32, 50
OURS = ["rgflow", "rgflow(learnt_prior=(64,))", "rgflow(details=2)", "glow", "realnvp", "wavelet", "tree"]
OTHERS = {f"{library}, Real NVP": library for library in ("FrEIA", "nflows", "normflows")}
WIDTH = 128
"""The width of other libraries' Real NVP."""
RATES = {"Muon": 8e-3, "AdamW": 2e-3}
"""The highest learning rates."""
LogProb = Callable[[Tensor], Tensor]
Found = tuple[int, float, int, float]
"""Parameters, milliseconds of a step, steps and bits/dim."""


def glow_of_normflows(channels: int) -> tuple[LogProb, nn.Module]:
    """The multiscale Glow of the documentation of normflows, with three scales of four steps."""
    import normflows as nf

    scales, steps = 3, 4
    flows, merges, priors = [], [], []
    for i in range(scales):
        blocks = [
            nf.flows.GlowBlock(channels * 2 ** (scales + 1 - i), 96, split_mode="channel", scale=True)
            for _ in range(steps)
        ]
        flows.append([*blocks, nf.flows.Squeeze()])
        edge = L // 2 ** (scales - i)
        if i > 0:
            merges.append(nf.flows.Merge())
        shape = (channels * 2 ** (scales + 1 - i if i == 0 else scales - i), edge, edge)
        priors.append(nf.distributions.DiagGaussian(shape))
    model = nf.MultiscaleFlow(priors, flows, merges)
    return lambda x: model.log_prob(x, None), model


def made(name: str, channels: int) -> tuple[LogProb, nn.Module]:
    """log p of logits, and the module, of a model of mera or of another library."""
    if name == "normflows, Glow":
        return glow_of_normflows(channels)
    if name in OTHERS:
        log_prob, _, module = BASELINES[OTHERS[name]](L, WIDTH, channels)
        return log_prob, module
    model, _, options = parse_call(name, "rgflow(details=2)")
    flow = mera.build(model, L=L, channels=channels, **options)
    return flow.log_prob, flow


def learn(name: str, splits: DataSplits, seed: int, options: argparse.Namespace) -> Found:
    """Parameters, milliseconds of a step, steps and bits/dim of a model that learns for a time."""
    torch.manual_seed(seed)
    log_prob, module = made(name, splits.channels)
    preprocess = mera.build("wavelet", L=L, channels=splits.channels, hidden=(4,)).preprocess

    def draw(n: int) -> Tensor:
        return torch.stack([splits.train[i] for i in torch.randint(len(splits.train), (n,)).tolist()])

    if isinstance(module, mera.Flow):
        module.initialize(preprocess(draw(256))[0])
    optimizer, _ = make_optimizer(module, options.optimizer, RATES[options.optimizer], 5e-5, None)
    steps, used = 0, 0.0
    while (used < options.seconds) if options.steps is None else (steps < options.steps):
        images, began = draw(BATCH), time.process_time()
        x, _ = preprocess(images)
        part = used / options.seconds if options.steps is None else steps / options.steps
        loss = -log_prob(x).mean() / x[0].numel()
        optimizer.zero_grad()
        if loss.isfinite():
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = RATES[options.optimizer] * cosine(steps, WARMUP, part)
            optimizer.step()
        steps, used = steps + 1, used + time.process_time() - began
    module.eval()
    bits = []
    with torch.no_grad():
        for images in mera.data.first(splits.test, options.test_images).split(100):
            x, log_det = preprocess(images)
            bits.append(-(log_prob(x) + log_det) / (x[0].numel() * math.log(2)))
    parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return parameters, 1e3 * used / steps, steps, torch.cat(bits).mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="msds1")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--steps", type=int, help="equal steps in place of equal time")
    parser.add_argument("--root", help="the folder of the data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--optimizer", choices=list(RATES), default="Muon")
    parser.add_argument("--models", nargs="+", default=[*OURS, "normflows, Glow", *OTHERS])
    parser.add_argument("--test-images", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = mera.data.load(options.data, L=L, **({} if options.root is None else {"root": options.root}))
    found: dict[str, list[Found]] = {}
    for seed in range(options.seeds):
        for name in options.models:
            found.setdefault(name, []).append(learn(name, splits, seed, options))
            parameters, milliseconds, steps, bits = found[name][-1]
            print(f"{name}, seed {seed}: {parameters:,}, {milliseconds:.0f} ms, {steps} steps, {bits:.3f}", flush=True)
    rows = []
    for name, runs in found.items():
        parameters, milliseconds, steps, bits = torch.tensor(runs, dtype=torch.float64).T
        error = bits.std() / len(bits) ** 0.5
        text = f"{bits.mean():.3f} ± {error:.3f}" if len(bits) > 1 else f"{bits.mean():.3f}"
        rows.append((name, f"{parameters[0]:,.0f}", f"{milliseconds.mean():.0f}", f"{steps.mean():.0f}", text))
    print(Table(["model", "parameters", "ms a step", "steps", f"bits/dim, {options.data}"], rows).markdown())


if __name__ == "__main__":
    main()
