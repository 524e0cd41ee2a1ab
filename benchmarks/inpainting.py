"""How well samples of hidden pixels follow p(hidden pixels | other pixels), where that is known, and where chains end.

    python benchmarks/inpainting.py field --slope 2 --fields 60
    python benchmarks/inpainting.py angle --images 12
    python benchmarks/inpainting.py sizes --flow msds1 --sizes 4 6 8 10
    python benchmarks/inpainting.py photographs --sizes 8 16

`field` hides squares of Gaussian random fields with the power spectrum (k^2 + mass^2)^(-slope / 2), whose posterior is
exact. `angle` hides ellipses of `msds1`, whose angles do not depend on the rest of the image. `sizes` hides squares of
test images from trained flows of the package. `photographs` hides squares of the ten photographs of `surprises.py`,
beside the biharmonic filling of scikit-image and two methods of OpenCV: the mean PSNR over the holes, in decibels.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from scipy.stats import kstest
from surprises import PICTURES
from torch import Tensor

import mera
from mera.data.picture_files import read_picture

DATA = {"clothes": "fashion-mnist", "digits": "mnist"}


def gaussian_field(L: int, slope: float, mass: float) -> mera.Flow:
    """A flow of which only the scales of Fourier modes differ from the identity."""
    flow = mera.build(
        "rgflow", L=L, channels=1, layers=1, hidden=(4,), norm=False, prior="gaussian", block_spins=False, spectral=True
    ).double()
    waves = 2 * torch.sin(torch.pi * torch.arange(L // 2 + 1, dtype=torch.float64) / L)
    power = (waves[:, None] ** 2 + waves**2 + mass**2) ** (-slope / 2)
    flow.bijectors["spectral"].log_scale.data.copy_(-power.log()[None] / 2)
    return flow


def field(options: argparse.Namespace) -> None:
    """Coverage of intervals of one deviation, and errors in units of the exact deviation."""
    L, (low, high) = 8, (2, 2 + options.sizes[0])
    flow = gaussian_field(L, options.slope, mass=0.5)
    mask = torch.zeros(L, L, dtype=torch.bool)
    mask[low:high, low:high] = True
    hidden = mask.flatten()
    jacobian = torch.autograd.functional.jacobian(
        lambda v: torch.cat([z.flatten() for z in flow(v.view(1, 1, L, L))[0]]), torch.zeros(L * L, dtype=torch.float64)
    )
    precision = jacobian.T @ jacobian
    covariance = precision[hidden][:, hidden].inverse()
    exact = covariance.diagonal().sqrt()
    covered, shifts, ratios, r_hats, ranks = [], [], [], [], []
    for _ in range(options.fields):
        x = flow.sample(1)
        result = flow.inpaint(x, mask, steps=20, **options.chains)
        truth, draws = x[0, 0, mask], result.draws[:, 0, mask]
        mean, spread = draws.mean(0), draws.std(0, correction=0)
        known = -covariance @ precision[hidden][:, ~hidden] @ x.flatten()[~hidden]
        covered.append(((truth - mean).abs() < spread).double().mean())
        shifts.append(((mean - known) / exact).square().mean())
        ratios.append((spread / exact).mean())
        r_hats.append(result.convergence.r_hat)
        if result.convergence.mixed:
            below = (result.draws[:, 0, mask] < truth).double().mean(0)
            ranks.append(below[torch.randint(len(below), ()).item()].item())
    covered = torch.stack(covered)
    print(f"chains mixed in {len(ranks)} fields; in them, ranks of one true value among the draws are uniform with")
    print(f"p = {kstest(ranks, 'uniform').pvalue:.2f} (Kolmogorov and Smirnov), if at all")
    print(
        f"slope {options.slope:g}, {int(mask.sum())} of {L * L} sites, {options.fields} fields: intervals of one "
        f"deviation hold {covered.mean():.3f} ± {covered.std() / math.sqrt(options.fields):.3f} of the true values "
        f"(0.683); the mean is off by {torch.stack(shifts).mean().sqrt():.2f} deviations, the deviations are "
        f"{torch.stack(ratios).mean():.3f} of the exact ones; R-hat {torch.tensor(r_hats).median():.3f}, at most "
        f"{max(r_hats):.3f}"
    )


def orientation(images: Tensor) -> Tensor:
    """Angles (B,) in [0, pi) of the bright ellipse in images (B, 3, H, W), from second moments."""
    weight = images.double().sum(1)
    weight = (weight - weight.amax((1, 2), keepdim=True) * 0.2).clamp(min=0)
    weight = weight / weight.sum((1, 2), keepdim=True)
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in weight.shape[1:])
    y = rows - (weight.sum(2) @ rows)[:, None]
    x = columns - (weight.sum(1) @ columns)[:, None]
    xx, yy = (weight.sum(1) * x**2).sum(1), (weight.sum(2) * y**2).sum(1)
    xy = (weight * y[:, :, None] * x[:, None, :]).sum((1, 2))
    return torch.atan2(2 * xy, xx - yy).div(2) % math.pi


def angle(options: argparse.Namespace) -> None:
    """The angles of filled ellipses, against the uniform distribution, and against those of the hidden ones."""
    flow = mera.load_pretrained("msds1")
    test = mera.data.load("msds1").test
    filled, within, r_hats = [], [], []
    for index in range(options.images):
        x = flow.from_images(test[index][None])
        result = flow.inpaint(x, ((8, 16), (8, 16)), steps=20, **options.chains)
        angles = orientation(flow.to_images(result.samples)[:, :, 8:16, 8:16])
        filled.append(angles)
        within.append(1 - torch.exp(2j * angles).mean().abs())
        r_hats.append(result.convergence.r_hat)
    real = orientation(torch.stack([test[i] for i in range(500)])[:, :, 8:16, 8:16])
    for name, values in (("real ellipses", real), ("filled ellipses", torch.cat(filled))):
        test_result = kstest(values.numpy() / math.pi, "uniform")
        print(f"{name}: {len(values)} angles, Kolmogorov-Smirnov p = {test_result.pvalue:.3f} against uniform ones")
    print(
        f"circular variance of eight fillings of one hole {torch.stack(within).mean():.2f} (uniform 0.69), R-hat "
        f"{torch.tensor(r_hats).median():.2f}"
    )


def sizes(options: argparse.Namespace) -> None:
    """R-hat and error of the mean against the size of the hole."""
    name = options.flow
    flow = mera.load_pretrained(name)
    test = mera.data.load(DATA.get(name, name), root=options.root).test
    print("| flow | hole | seconds | R-hat | rms error of the mean | of the likeliest |\n|---|---|---|---|---|---|")
    for size in options.sizes:
        low = (32 - size) // 2
        rows = []
        for index in range(options.images):
            pixels = test[index][None]
            start = time.perf_counter()
            hole = (low, low + size), (low, low + size)
            result = flow.inpaint(flow.from_images(pixels), hole, **options.chains)
            truth = pixels[0][:, result.mask].float() / 255
            draws = flow.to_images(result.draws)[:, :, result.mask].float() / 255
            likeliest = flow.to_images(result.likeliest)[0][:, result.mask].float() / 255
            errors = [(a - truth).square().mean().sqrt().item() for a in (draws.mean(0), likeliest)]
            rows.append([time.perf_counter() - start, result.convergence.r_hat, *errors])
        seconds, r_hat, mean, mode = torch.tensor(rows).quantile(0.5, 0).tolist()
        print(f"| {name} | {size} x {size} | {seconds:.0f} | {r_hat:.2f} | {mean:.3f} | {mode:.3f} |", flush=True)


def photographs(options: argparse.Namespace) -> None:
    """Holes in windows of photographs that were not learnt: PSNR in decibels, beside that of three usual methods."""
    import cv2
    from skimage.restoration import inpaint_biharmonic

    flow = mera.load_pretrained("photographs")
    names = ("draw", "mean of draws", "likeliest", "biharmonic", "Navier-Stokes", "Telea")
    print(f"| hole | seconds | {' | '.join(names)} | R-hat |\n" + (len(names) + 3) * "|---" + "|")
    for size in options.sizes:
        low, rows = (32 - size) // 2, []
        for index, path in enumerate(PICTURES):
            torch.manual_seed(index)
            pixels, rng = read_picture(path, 3, 400), np.random.default_rng(100 + index)
            row, column = (int(rng.integers(40, n - 72)) for n in pixels.shape[1:])
            pixels = pixels[:, row : row + 32, column : column + 32]
            start = time.perf_counter()
            hole = (low, low + size), (low, low + size)
            result = flow.inpaint(flow.from_images(pixels[None]), hole, **options.chains)
            seconds = time.perf_counter() - start
            picture, mask = pixels.movedim(0, -1).contiguous().numpy(), result.mask.numpy()
            found = [flow.to_images(result.image)[0], flow.to_images(result.draws).float().mean(0)]
            found.append(flow.to_images(result.likeliest)[0])
            usual = cv2.INPAINT_NS, cv2.INPAINT_TELEA
            others = [255 * inpaint_biharmonic(picture / 255, mask, channel_axis=-1).clip(0, 1)]
            others += [cv2.inpaint(picture, mask.astype("uint8"), 3, kind) for kind in usual]
            found += [torch.from_numpy(other).movedim(-1, 0) for other in others]
            errors = [(image - pixels.float())[:, result.mask].square().mean() / 255**2 for image in found]
            rows.append([seconds, *(-10 * error.log10().item() for error in errors), result.convergence.r_hat])
        means = torch.tensor(rows, dtype=torch.float64).mean(0).tolist()
        cells = [f"{means[0]:.0f}", *(f"{value:.1f}" for value in means[1:-1]), f"{means[-1]:.2f}"]
        print(f"| {size} x {size} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("field", "angle", "sizes", "photographs"))
    parser.add_argument("--slope", type=float, default=2.0)
    parser.add_argument("--fields", type=int, default=60)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--flow", default="msds1")
    parser.add_argument("--root", help="the folder of the data")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--chains", nargs="+", metavar="NAME=VALUE", help="options of the chains", default=["samples=8"]
    )
    options = parser.parse_args()
    options.chains = {name: int(value) for name, value in (text.split("=") for text in options.chains)}
    torch.manual_seed(options.seed)
    {"field": field, "angle": angle, "sizes": sizes, "photographs": photographs}[options.what](options)


if __name__ == "__main__":
    main()
