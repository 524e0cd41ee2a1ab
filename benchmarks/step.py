"""What RG-Flow's time goes into: the plan's executor, a plain index gather, the bare matrix products.

    python benchmarks/step.py

prints a table of medians in milliseconds, each line's runs interleaved with the others'. "Moving patches" is the whole
plan with the identity in place of the bijectors, forward only: once as the executor does it, once by gathering and
scattering with index lists, as the published code does. The bare products are those of all conditioners, forward and
backward, and nothing else: what a training step cannot be faster than.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn

import mera
from mera.graph import Apply
from mera.table import table


def index_lists(flow: mera.Flow) -> list[Tensor]:
    """For each block, the sites of each of its patches in the finest lattice, as the published code lists them."""
    edge = flow.plan.input.shape[0]
    lists, spacing = [], 1
    for step in flow.plan.steps:
        if isinstance(step.action, Apply):
            spacing = edge // step.action.lattice.shape[0]
            m, offset = step.action.kernel[0], step.action.offset[0]
            starts = (torch.arange(step.action.patches[0]) * m + offset) * spacing
            sites = (starts[:, None] + spacing * torch.arange(m)) % edge
            grid = sites[:, None, :, None] * edge + sites[None, :, None, :]
            lists.append(grid.reshape(-1, m * m))
    return lists


def move_by_index(x: Tensor, lists: list[Tensor]) -> Tensor:
    """Gather every block's patches and scatter them into a clone of the image."""
    x = x.flatten(2)
    for sites in lists:
        patches = x[:, :, sites]
        x = x.clone()
        x[:, :, sites] = patches
    return x


def products(flow: mera.Flow, batch: int) -> list[tuple[Tensor, Tensor]]:
    """Input and weight of every matrix product of a forward pass."""
    pairs = []
    for step in flow.plan.steps:
        if isinstance(step.action, Apply):
            rows = batch * step.action.events
            for layer in flow.bijectors[step.module].modules():
                if isinstance(layer, nn.Linear):
                    x = torch.randn(rows, layer.in_features, requires_grad=True)
                    pairs.append((x, torch.randn(layer.in_features, layer.out_features, requires_grad=True)))
    return pairs


def median_times(calls: dict, repeats: int) -> dict[str, float]:
    """Milliseconds of each call, the calls taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: sorted(values[1:])[repeats // 2] for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=arguments.L, hidden=(arguments.hidden,))
    images = torch.randint(0, 256, (arguments.batch, 3, arguments.L, arguments.L), dtype=torch.uint8)
    x = flow.from_images(images)
    lists, pairs = index_lists(flow), products(flow, arguments.batch)

    def train() -> None:
        flow.zero_grad()
        flow.bits_per_dim(images).mean().backward()

    def bare() -> None:
        torch.stack([(x @ weight).sum() for x, weight in pairs]).sum().backward()

    @torch.no_grad()
    def forward() -> None:
        flow.log_prob(x)

    @torch.no_grad()
    def moved() -> None:
        flow.from_lattice(x)

    times = median_times(
        {
            "training step": train,
            "bare products of a step": bare,
            "forward pass": forward,
            "moving patches, executor": moved,
            "moving patches, index lists": lambda: move_by_index(x, lists),
        },
        arguments.repeats,
    )
    print(f"L={arguments.L}, batch {arguments.batch}, hidden {arguments.hidden}, {torch.get_num_threads()} threads")
    print(table(["what", "ms"], [(name, f"{value:.2f}") for name, value in times.items()]))


if __name__ == "__main__":
    main()
