"""Peak memory and time of a training step with and without checkpoints of layers, by depth: one Markdown table.

    python benchmarks/memory.py                          # depths 1 to 64 at L=32
    python benchmarks/memory.py --L 256 --depths 2 --batch 8

The model is `mera.build("rgflow", layers=depth)` with its other defaults.
"""

from __future__ import annotations

import argparse

import torch
from table import medians, peak_memory

import mera


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    mera.tune_allocator()
    print(f"L={arguments.L}, batch {arguments.batch}, {torch.get_num_threads()} threads: ms, MiB\n")
    print("| layers | all activations | checkpoint=True |\n|---|---|---|")
    for depth in arguments.depths:
        torch.manual_seed(0)
        flow = mera.build("rgflow", L=arguments.L, layers=depth)
        images = torch.randint(0, 256, (arguments.batch, 3, arguments.L, arguments.L), dtype=torch.uint8)
        for parameter in flow.parameters():
            parameter.grad = torch.zeros_like(parameter)  # counted before, the same for all

        def step(checkpoint: bool, flow: mera.Flow = flow, images: torch.Tensor = images) -> None:
            flow.checkpoint = checkpoint
            flow.zero_grad(set_to_none=False)
            flow.bits_per_dim(images).mean().backward()

        calls = {value: (lambda value=value, step=step: step(value)) for value in (False, True)}
        times = medians(calls, arguments.repeats)
        cells = [f"{times[value]:,.0f} ms, {peak_memory(call):,.0f} MiB" for value, call in calls.items()]
        print(f"| {depth} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
