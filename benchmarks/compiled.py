"""A training step and a forward pass with eager and with compiled couplings, as a Markdown table.

    python benchmarks/compiled.py

"default" is `mera.build("rgflow")` at batch 32; a number is the published architecture with hidden layers of that
width, batch as in table.py. Figures are medians of runs that take turns, in milliseconds; torch keeps what it compiled
on disk, and compiles that faster the next time.
"""

from __future__ import annotations

import argparse
import copy
from functools import partial

import torch
from table import BATCHES, medians, training_step

import mera
from mera.train.compiled import compile_couplings


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
        compiled, x = copy.deepcopy(eager), torch.randn(batch, 3, 32, 32)
        cases = {
            "training step": [training_step(flow.log_prob, x, flow) for flow in (eager, compiled)],
            "forward": [torch.no_grad()(partial(flow.log_prob, x)) for flow in (eager, compiled)],
        }
        for case, (first, second) in cases.items():
            seconds = compile_couplings(compiled, second)
            times = medians({"eager": first, "compiled": second}, arguments.repeats)
            cells = [name, batch, case, f"{times['eager']:,.1f}", f"{times['compiled']:,.1f}", f"{seconds:.0f}"]
            print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    main()
