"""Learn the flow "photographs" of the package, or go on with its levels, on the photographs of `wallpapers`.

    python benchmarks/photographs.py --root DATA --minutes 95 --out runs/photographs
    python benchmarks/photographs.py --root DATA --minutes 58 --lr 4e-3 --begin runs/photographs --out runs/shared
    python benchmarks/photographs.py --root DATA --minutes 90 --lr 4e-3 --begin runs/shared --out runs/noise
    python benchmarks/photographs.py --root DATA --minutes 72 --lr 3e-3 --begin runs/noise --out runs/turns

The two finest levels have bijectors of their own, and all coarser ones share theirs, so that larger pictures have more
levels; `photograph_levels.py` then teaches them pictures of up to 512 pixels. With `--begin`, the weights are those of
another flow of the same sizes: its third level is then that of all that share, its coarsest decimator the top, and
bijectors that it does not have, such as the noise of pixels, start anew. The noise of the flow in the package had no
turns in the third run; its later networks learnt 450 steps with `--lr 2e-3` before the fourth.
`photo_data.wallpapers` says where DATA comes from.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import photo_data  # noqa: F401, registers data sets
import torch

import mera

SIZES = {
    "L": 32, "layers": 4, "hidden": (64,), "details": 2, "details_hidden": (64,), "learnt_noise": (48,),
    "boundary": "open", "share_levels": True, "shared_from": 2,
}  # fmt: skip


def begun(path: str | None) -> mera.Flow:
    """The flow, with the weights of another one if there is a path or a name."""
    flow = mera.build("rgflow", **SIZES)
    others = {} if path is None else dict(mera.load(path).bijectors.items())
    for name, module in flow.bijectors.items():
        source = others.get(name, others.get("decimator3" if name == "top" else f"{name}2"))
        if source is not None:
            module.load_state_dict(source.state_dict())
    return flow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder of unpacked packages")
    parser.add_argument("--begin", help="a run, a file or a flow of the package to begin with")
    parser.add_argument("--minutes", type=float, default=95)
    parser.add_argument("--lr", type=float, default=8e-3)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--out", default="runs/photographs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = mera.data.load("wallpapers", L=32, root=options.root, colours=True, scales=[0.75, 1, 1.5])
    result = mera.train.fit(
        begun(options.begin), data, minutes=options.minutes, steps=1_000_000, lr=options.lr,
        compile=not options.no_compile, run=options.out, eval_every=500, eval_images=300,
    )  # fmt: skip
    print(result)


if __name__ == "__main__":
    main()
