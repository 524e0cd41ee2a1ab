"""Verdicts: how far an average and its error, or draws, can be trusted, and why."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from enum import IntEnum

from mera.sampling.diagnostics import MIXED


class Trust(IntEnum):
    """Degrees of trust in averages and their errors, the least first, with the words of a verdict."""

    words: str

    def __new__(cls, number: int, words: str) -> Trust:
        """Make the number, which compares, with its words."""
        trust = int.__new__(cls, number)
        trust._value_, trust.words = number, words
        return trust

    WRONG = 0, "averages are wrong"
    MEANINGLESS = 1, "errors mean nothing"
    TOO_FEW = 2, "too few draws to tell"
    TOO_SMALL = 3, "errors are too small"
    PERHAPS_TOO_SMALL = 4, "errors may be too small"
    ROUGH = 5, "errors are rough"
    USABLE = 6, "errors are usable"
    GOOD = 7, "errors can be trusted"


UNSEEN = "; modes that no start reached do not show"
"""A reservation in every verdict that errors can be trusted."""


class Verdict(str):
    """A sentence on how far an average and its error can be trusted, and why.

    >>> verdict = Verdict(Trust.ROUGH, "there are 20 draws")
    >>> verdict, verdict.trust < Trust.GOOD
    ('errors are rough: there are 20 draws', True)
    """

    __slots__ = ("reason", "trust", "words")
    trust: Trust
    reason: str
    words: str

    def __new__(cls, trust: Trust, reason: str, words: str = "") -> Verdict:
        """Make the sentence, from words of its own or those on an average."""
        words, unseen = words or trust.words, UNSEEN if trust == Trust.GOOD else ""
        verdict = super().__new__(cls, f"{words}: {reason}{unseen}")
        verdict.trust, verdict.reason, verdict.words = trust, reason, words
        return verdict

    def __getnewargs__(self) -> tuple[Trust, str, str]:  # type: ignore[override]
        """Copy and pickle with trust, reason and words."""
        return self.trust, self.reason, self.words

    def warn(self, stacklevel: int = 3) -> None:
        """Warn if averages are wrong, or errors mean nothing."""
        if self.trust <= Trust.MEANINGLESS:
            warnings.warn(f"The {self}", stacklevel=stacklevel)


def least_trusted(*verdicts: Verdict) -> Verdict:
    """The first of those verdicts that say the least for an error."""
    return min(verdicts, key=lambda verdict: verdict.trust)


def worst(verdicts: Mapping[str, Verdict]) -> Verdict:
    """The verdict on a result: the worst of those on its quantities, with the name of the quantity if others differ."""
    name = min(verdicts, key=lambda name: verdicts[name].trust)
    found = verdicts[name]
    is_common = all(verdict.trust == found.trust for verdict in verdicts.values())
    return found if is_common else Verdict(found.trust, f"{found.reason}, for {name}")


def marked(verdict: Verdict | None) -> str:
    """A mark for the row of a table: the words of a verdict that errors are rough or worse, otherwise ""."""
    return verdict.trust.words if verdict is not None and verdict.trust < Trust.USABLE else ""


def verdict_on_agreement(r_hat: float, by_chance: float) -> Verdict | None:
    """The verdict on chains that do not agree, by R-hat and the R-hat that chance alone gives; None if they agree."""
    if r_hat < MIXED:
        return None
    if r_hat < by_chance:
        most = f"makes it up to {by_chance:.2f} with so few" if math.isfinite(by_chance) else "may make it so large"
        reason = f"R-hat is {r_hat:.2f}, and chance alone {most}"
        return Verdict(Trust.TOO_FEW, reason)
    return Verdict(Trust.MEANINGLESS, f"the chains do not agree yet (R-hat {r_hat:.2f})")
