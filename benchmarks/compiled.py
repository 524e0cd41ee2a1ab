"""A training step and a forward pass of whole flows, eager and compiled, as a Markdown table.

    python benchmarks/compiled.py

"default" is `mera.build("rgflow")` at batch 32; a number is the published architecture with hidden layers of that
width, batch as in table.py. Figures are medians of runs that take turns, in milliseconds; torch keeps what it compiled
on disk, and compiles that faster the next time.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import torch
from table import BATCHES, medians, training_step

import mera


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", nargs="+", default=["default", "64", "128"])
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    mera.tune_allocator()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of {arguments.repeats}, ms\n")
    print("| flow | batch | what | eager | compiled | seconds to compile |\n|---|---|---|---|---|---|")
    for name in arguments.flows:
        authors = {} if name == "default" else {"preset": "authors", "hidden": (int(name), int(name))}
        eager, batch = mera.build("rgflow", **authors), 32 if name == "default" else BATCHES.get(int(name), 16)
        x, compiled = torch.randn(batch, 3, 32, 32), torch.compile(eager.log_prob)
        cases = {
            "training step": [training_step(log_prob, x, eager) for log_prob in (eager.log_prob, compiled)],
            "forward": [torch.no_grad()(partial(log_prob, x)) for log_prob in (eager.log_prob, compiled)],
        }
        for case, (first, second) in cases.items():
            start = time.monotonic()
            second()
            seconds = time.monotonic() - start
            times = medians({"eager": first, "compiled": second}, arguments.repeats)
            cells = [name, batch, case, f"{times['eager']:,.1f}", f"{times['compiled']:,.1f}", f"{seconds:.0f}"]
            print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    main()
