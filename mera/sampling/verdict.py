"""Verdicts: how far a number can be trusted, and why."""

from __future__ import annotations

import warnings
from enum import IntEnum


class Trust(IntEnum):
    """How far averages and their errors can be trusted, the least first."""

    WRONG = 0
    MEANINGLESS = 1
    TOO_SMALL = 2
    PERHAPS_TOO_SMALL = 3
    ROUGH = 4
    USABLE = 5
    GOOD = 6


WORDS = {
    Trust.WRONG: "averages are wrong",
    Trust.MEANINGLESS: "errors mean nothing",
    Trust.TOO_SMALL: "errors are too small",
    Trust.PERHAPS_TOO_SMALL: "errors may be too small",
    Trust.ROUGH: "errors are rough",
    Trust.USABLE: "errors are usable",
    Trust.GOOD: "errors can be trusted",
}


class Verdict(str):
    """How far averages and errors can be trusted, and the reason; it is the sentence that says so.

    Args:
        trust: how far they can be trusted.
        reason: why.

    >>> from mera.sampling.verdict import Trust, Verdict
    >>> verdict = Verdict(Trust.ROUGH, "there are 20 draws")
    >>> verdict, verdict.trust < Trust.GOOD
    ('errors are rough: there are 20 draws', True)
    """

    __slots__ = ("reason", "trust")
    trust: Trust
    reason: str

    def __new__(cls, trust: Trust, reason: str) -> Verdict:
        """Make the sentence."""
        verdict = super().__new__(cls, f"{WORDS[trust]}: {reason}")
        verdict.trust, verdict.reason = trust, reason
        return verdict

    def __getnewargs__(self) -> tuple[Trust, str]:  # type: ignore[override]
        """Copy and pickle with trust and reason."""
        return self.trust, self.reason

    def warn(self, stacklevel: int = 3) -> None:
        """Warn if averages are wrong, or errors mean nothing."""
        if self.trust <= Trust.MEANINGLESS:
            warnings.warn(f"The {self}", stacklevel=stacklevel)
