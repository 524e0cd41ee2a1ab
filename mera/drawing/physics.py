"""Figures of measurements of lattice actions."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from torch import Tensor

from mera.drawing.figures import Picture, panels
from mera.physics import Estimate, Quantity
from mera.sampling.weights import format_ess

HISTORIES = ("m", "m2", "phi2", "energy")
"""The observables whose histories are drawn."""
MOST_CHAINS = 8
"""The largest number of chains whose histories are drawn."""


def estimate_figure(estimate: Estimate) -> Picture:
    """Draw what the draws of an estimate have: histories along chains, ln Z of populations, or weights."""
    if estimate.tau:
        return chain_figure(estimate)
    return annealed_figure(estimate) if "populations" in estimate.facts else weights_figure(estimate)


def weights_figure(report: Any) -> Picture:
    """Draw the distribution of the weights, and the two-point function, of `estimate` and `reweight`."""
    figure, (weights, correlator) = panels(2, 2, 4.5, 3.6)
    n = report.log_weights.numel()
    mean = report.log_weights.logsumexp(0) - math.log(n)
    centred = (report.log_weights - mean)[report.log_weights.isfinite()]
    weights.hist(centred.numpy(), bins=60, color="tab:blue", alpha=0.8)
    weights.set(xlabel="ln w, less that of the mean", ylabel="samples", yscale="log")
    without = f", {n - len(centred):,} without a weight" if len(centred) < n else ""
    weights.set_title(f"ESS {format_ess(report.ess, report.pareto_k)} of {n:,} samples{without}", fontsize=10)
    _draw_correlator(correlator, report.correlator)
    figure.suptitle(report.verdict, fontsize=9)
    return figure


def chain_figure(chain: Any) -> Picture:
    """Draw the histories of observables along the first chains, and the two-point function."""
    figure = Picture(figsize=(10, 5.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.6, 1], squeeze=False)[0]
    histories = left.subplots(len(HISTORIES), 1, sharex=True)
    for axes, name in zip(histories, HISTORIES, strict=True):
        axes.plot(chain.history[name][:, :MOST_CHAINS].numpy(), lw=0.7, alpha=0.8)
        axes.set_ylabel(name)
        tau, error = chain.tau[name], chain.tau_error[name]
        axes.set_title(f"autocorrelation time {tau:.3g} +- {error:.2g}, R-hat {chain.r_hat[name]:.3f}", fontsize=8)
        axes.grid(alpha=0.3)
    histories[-1].set_xlabel("draw")
    _draw_correlator(right.subplots(), chain.correlator)
    figure.suptitle(chain.verdict, fontsize=9)
    return figure


def annealed_figure(annealed: Any) -> Picture:
    """Draw ln Z of the independent populations beside their mean, and the two-point function."""
    figure, (populations, correlator) = panels(2, 2, 4.5, 3.6)
    of_populations = annealed.log_weights.unflatten(0, (annealed.facts["populations"], -1))[:, 0]
    populations.plot(of_populations.numpy(), "o", ms=4)
    low, high = annealed.log_z - annealed.log_z_error, annealed.log_z + annealed.log_z_error
    populations.axhspan(low, high, color="tab:orange", alpha=0.3)
    populations.axhline(annealed.log_z, color="tab:orange", lw=1)
    populations.set(xlabel="population", ylabel="ln Z")
    populations.set_title(f"ln Z = {Quantity(annealed.log_z, annealed.log_z_error)}", fontsize=10)
    populations.grid(alpha=0.3)
    _draw_correlator(correlator, annealed.correlator)
    figure.suptitle(annealed.verdict, fontsize=9)
    return figure


def _draw_correlator(axes: Axes, correlator: tuple[Tensor, Tensor] | None) -> None:
    """Draw the two-point function with its errors, on a logarithmic scale."""
    axes.set(xlabel="distance r", title="two-point function along the axes")
    axes.title.set_fontsize(10)
    if correlator is None:
        axes.text(0.5, 0.5, "not measured on open borders", ha="center", transform=axes.transAxes)
        return
    values, errors = (part.numpy() for part in correlator)
    axes.errorbar(range(len(values)), values, errors, fmt="o-", ms=3, lw=0.8, capsize=2)
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(bottom=max(values[0] * 1e-6, abs(values).min() / 3))
    axes.grid(alpha=0.3)
