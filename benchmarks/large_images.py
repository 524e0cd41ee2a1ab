"""What it costs to evaluate, restrict and change an image of any size; and how wrong tiles are that ignore each other.

    python benchmarks/large_images.py --sizes 1024 2048 4096 8192 --folder /tmp
    python benchmarks/large_images.py --flow msds2 --sizes 1024 --tiles 32 64 128 256

For each size, in a process of its own: microseconds a pixel of `flow.stream` and of `flow.bits_per_dim` in memory,
where the image fits (up to 2,048), one after the other; the peak of the process's memory above that before the pass,
which needs Linux; and milliseconds of `flow.restrict` of a store with one evaluation, and of `store.update`, for a
region of 8 x 8 pixels. The image is one of random bytes in a file of numpy, the flow RG-Flow's default, or a trained
one.

With `--tiles`: how far log p is off, in nats, if an image is cut into tiles that are evaluated apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

import mera

IN_MEMORY = 2048
"""The largest edge at which the pass in memory is timed too."""


def flow_of(name: str, edge: int) -> mera.Flow:
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=32, m=4) if name == "default" else mera.load_pretrained(name)
    return flow.eval().resized((edge, edge))


def resident(name: str) -> float:
    """The memory of this process in MB: VmRSS now, VmHWM at its peak; mapped parts of files count too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1e3


def one_size(options: argparse.Namespace, edge: int) -> dict[str, float | str]:
    """The measurements of one size, in this process."""
    flow, small = flow_of(options.flow, edge), flow_of(options.flow, 64)
    small.stream(np.zeros((3, 64, 64), np.uint8), tile=32)  # imports, and first calls
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = Path(folder) / "image.npy"
        image = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(3, edge, edge))
        generator = np.random.default_rng(0)
        for row in range(0, edge, 256):
            image[:, row : row + 256] = generator.integers(0, 256, (3, min(256, edge - row), edge), dtype=np.uint8)
        image.flush()
        del image  # whose pages count as memory of the process
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = resident("VmRSS")
        start = time.perf_counter()
        result = flow.stream(np.load(file, mmap_mode="r"), Path(folder) / "store", tile=options.tile)
        seconds = time.perf_counter() - start
        row: dict[str, float | str] = {
            "edge": edge,
            "stream": 1e6 * seconds / edge**2,
            "megabytes": resident("VmHWM") - before,
        }
        region = [(edge // 2 - 3, edge // 2 + 5)] * 2
        times: dict[str, list[float]] = {"restrict": [], "update": []}
        for _ in range(5):
            start = time.perf_counter()
            local = flow.restrict(result.store, region)
            local.log_prob(local.pixels)
            times["restrict"].append(time.perf_counter() - start)
            start = time.perf_counter()
            result.store.update(region, torch.randn(3, 8, 8))
            times["update"].append(time.perf_counter() - start)
        row |= {name: 1e3 * median(values) for name, values in times.items()}
        if edge <= IN_MEMORY:
            x = torch.from_numpy(np.load(file))[None]
            with torch.no_grad():
                flow.bits_per_dim(x)
                start = time.perf_counter()
                flow.bits_per_dim(x)
            row["memory"] = 1e6 * (time.perf_counter() - start) / edge**2
    return row


def seams(options: argparse.Namespace) -> None:
    """log p of the whole image against the sum over tiles that are evaluated apart."""
    edge = options.sizes[0]
    flow = flow_of(options.flow, edge)
    torch.manual_seed(1)
    x = flow.sample(1, temperature=0.9)
    with torch.no_grad():
        whole = flow.log_prob(x).item()
        print("| tile | log p of tiles less that of the whole, nats | per tile | of log p |\n|---|---|---|---|")
        for tile in options.tiles:
            part = flow.resized((tile, tile))
            cut = x.unfold(2, tile, tile).unfold(3, tile, tile).permute(2, 3, 0, 1, 4, 5).reshape(-1, 3, tile, tile)
            error = sum(part.log_prob(rows).double().sum().item() for rows in cut.split(64)) - whole
            print(f"| {tile} | {error:.0f} | {error / len(cut):.1f} | {abs(error / whole):.3%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow", default="default", help="a trained flow of the package in place of the default")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--tiles", type=int, nargs="+", help="edges of tiles that ignore each other")
    parser.add_argument("--folder", help="a folder for the image and its store")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tiles:
        seams(options)
        return
    if options.one:
        print(json.dumps(one_size(options, options.sizes[0])))
        return
    print("| edge | stream, us/pixel | in memory | ratio | memory, MB | restrict, ms | update, ms |")
    print("|---|---|---|---|---|---|---|")
    for edge in options.sizes:
        command = [sys.executable, __file__, "--one", "--sizes", str(edge), "--tile", str(options.tile)]
        command += ["--flow", options.flow, *(["--folder", options.folder] if options.folder else [])]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        memory = f"{row['memory']:.2f} | {row['stream'] / row['memory']:.2f}" if "memory" in row else " | "
        print(
            f"| {edge:,} | {row['stream']:.2f} | {memory} | {row['megabytes']:.0f} | {row['restrict']:.0f} | "
            f"{row['update']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
