"""Convergence diagnostics of an inpainting's chains."""

from __future__ import annotations

from dataclasses import dataclass

from mera.chains.diagnostics import MIXED


@dataclass(frozen=True)
class Convergence:
    """Convergence diagnostics of the chains that draw posterior samples.

    Args:
        acceptance: the mean acceptance rate.
        r_hat: the largest split R-hat of all masked variables and of log p; near 1 if the chains have mixed.
        effective: the smallest effective sample size of all masked variables and of log p.
        draws: the total number of draws of all chains.
    """

    acceptance: float
    r_hat: float
    effective: float
    draws: int

    @property
    def mixed(self) -> bool:
        """Whether the chains agree, so that their draws are samples of the fillings."""
        return self.r_hat < MIXED

    def __str__(self) -> str:
        verdict = "mixed" if self.mixed else (
            "not mixed, so that the draws are possible fillings, but in other proportions than p(masked pixels | other "
            "pixels) has; more warm-up and iterations may help"
        )  # fmt: skip
        return (
            f"acceptance {self.acceptance:.2f}, R-hat up to {self.r_hat:.3f}, {self.draws:,} draws worth "
            f"{self.effective:.0f} independent ones where they are worth least: {verdict}"
        )
