"""Learn the levels of the flow "photographs" that share their bijectors, on whole photographs of `wallpapers`.

    python benchmarks/photograph_levels.py --root DATA --begin runs/turns --minutes 54 --out photographs.safetensors

The two finest levels stay as they are: the lattices that they keep, of windows of 32 and 64 pixels and of whole
photographs at three sizes, are computed once (half an hour of one core). A step learns from windows of 32 pixels, so
that the flow stays as good on them, and from larger ones, of up to 512 pixels. A third to two fifths of the larger
windows are first coarsened by the levels as they are: in a large window the coarse levels have few variables, and would
learn little. Three of four larger windows have the colours of the photograph, as they give the colours of samples;
those of the others, and of five of twelve small ones, are permuted.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import replace
from pathlib import Path

import photo_data
import photographs
import torch
from torch import Tensor

import mera
from mera.executor.passes import run_forward
from mera.train.optimizers import Muon, cosine, layer_groups

LEVELS = photographs.SIZES["shared_from"]
SCALES = (0.75, 1, 1.5)
PERMUTATIONS = ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])
SMALL = {32: (460, 64), 64: (150, 16)}
"""By edge in pixels, the number of windows of a photograph, and how many are computed together."""
LARGE = {32: (8, 16), 64: (4, 16), 128: (1, 6)}
"""By edge in sites, the number of windows of a step, and of a step with coarsened windows."""
WINDOWS, MEDIUM = 48, 16
"""The windows of 32 pixels of a step; and those of 64 pixels that three of ten steps use instead of larger ones."""


@torch.no_grad()
def coarse(flow: mera.Flow, x: Tensor, level: int) -> Tensor:
    """The lattice at which a level begins, (B, C, *shape)."""
    if level == 0:
        return x
    plan, entry = flow.plan, flow.plan.entries[level]
    number = next(i for i, step in enumerate(plan.steps) if step.source == entry)
    part = replace(plan, steps=plan.steps[:number], latents=(replace(plan.latents[0], value=entry),))
    return run_forward(part, x, flow.step_function(flow.contexts(None, x)))[0][0]


def window(image: Tensor, edge: int) -> Tensor:
    """A window at a random place."""
    top, left = (random.randrange(n - edge + 1) for n in image.shape[1:])
    return image[:, top : top + edge, left : left + edge]


def lattices(flow: mera.Flow, files: list[Path]) -> tuple[dict[int, Tensor], list[Tensor], list[Tensor]]:
    """What the two finest levels keep: of windows, by their edge; of whole photographs, also with other colours."""
    plain = mera.build("rgflow", **photographs.SIZES | {"learnt_noise": None})  # the noise of a pixel is uniform
    plain.load_state_dict(flow.state_dict(), strict=False)

    def kept(images: Tensor) -> Tensor:
        sized = plain.resized(images.shape[2:])
        return coarse(sized, sized.from_images(images), LEVELS)

    windows: dict[int, list[Tensor]] = {edge: [] for edge in SMALL}
    natural, permuted = [], []
    for number, file in enumerate(files * len(SCALES)):
        image = photo_data.read_picture(file, 3, int(SCALES[number // len(files)] * 960))
        for edge, (count, together) in SMALL.items():
            chosen = [window(image, edge) for _ in range(count)]
            chosen = [x.flip(-1) if random.random() < 0.5 else x for x in chosen]
            chosen = [x[random.choice(PERMUTATIONS)] if random.random() < 0.5 else x for x in chosen]
            windows[edge] += [kept(part) for part in torch.stack(chosen).split(together)]
        height, width = (n - n % 32 for n in image.shape[1:])
        for whole in (image[:, :height, :width], image[:, :height, :width].flip(-1)):
            natural += [*kept(whole[None])]
            permuted += [*kept(whole[random.choice(PERMUTATIONS[1:])][None])]
        print(f"{file.name}: {number + 1} of {len(files) * len(SCALES)}", flush=True)
    return {edge: torch.cat(parts) for edge, parts in windows.items()}, natural, permuted


def shared_part(flow: mera.Flow) -> mera.Flow:
    """The levels that share as a flow of their own, on the lattice that the finer levels keep; with copied weights."""
    part = mera.build("rgflow", **photographs.SIZES | {"learnt_noise": None, "shared_from": 0})
    part.load_state_dict(flow.state_dict(), strict=False)
    return part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder of unpacked packages")
    parser.add_argument("--begin", required=True, help="a run, a file or a flow of the package to begin with")
    parser.add_argument("--minutes", type=float, default=54)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    random.seed(1)
    flow = photographs.begun(options.begin)
    files = [
        file for package in tuple(photo_data.PACKAGES)[:-1] for file in photo_data.photographs_of(package, options.root)
    ]
    windows, natural, permuted = lattices(flow, files)
    part = shared_part(flow)
    flows = {edge: part.resized((edge, edge), levels=int(math.log2(edge // 4)) + 1) for edge in (8, 16, *LARGE)}
    optimizer = Muon(layer_groups(part), lr=options.lr, fused=True)

    def larger() -> Tensor:
        if random.random() < 0.3:
            return windows[64][torch.randint(len(windows[64]), (MEDIUM,))]
        edge = random.choice([*LARGE])
        level = random.randrange(int(math.log2(edge // 8)) + 1) if random.random() < 0.5 else 0
        source = permuted if random.random() < 0.25 else natural
        source = [lattice for lattice in source if min(lattice.shape[1:]) >= edge]
        chosen = [window(random.choice(source), edge) for _ in range(LARGE[edge][level > 0])]
        return coarse(flows[edge], torch.stack(chosen), level)

    begin, step = time.time(), 0
    while (progress := (time.time() - begin) / (60 * options.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = options.lr * cosine(step, 100, progress)
        batches = windows[32][torch.randint(len(windows[32]), (WINDOWS,))], larger()
        losses = [-flows[x.shape[-1]].log_prob(x).mean() / x[0].numel() for x in batches]
        optimizer.zero_grad()
        sum(losses).backward()
        torch.nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 500 == 0:
            print(f"step {step}, {progress:.0%}: " + ", ".join(f"{loss.item():.3f}" for loss in losses), flush=True)
    flow.load_state_dict(part.state_dict(), strict=False)
    mera.save(flow, options.out)


if __name__ == "__main__":
    main()
