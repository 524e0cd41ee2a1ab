"""Verdicts: how far an average and its error, or draws, can be trusted, and why, by one table of rules."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple


class Trust(IntEnum):
    """Degrees of trust in averages and their errors, the least first."""

    WRONG, MEANINGLESS, TOO_FEW, TOO_SMALL, PERHAPS_TOO_SMALL, ROUGH, USABLE, GOOD = range(8)


TRUST_WORDS = (
    "averages are wrong", "errors mean nothing", "too few draws to tell", "errors are too small",
    "errors may be too small", "errors are rough", "errors are usable", "errors can be trusted",
)  # fmt: skip
"""The first words of a verdict, by its trust."""
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
        words, unseen = words or TRUST_WORDS[trust], UNSEEN if trust == Trust.GOOD else ""
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


class Rule(NamedTuple):
    """A rule of the table: how far errors can be trusted, what was seen, and the reason in a verdict.

    Args:
        trust: the trust in an average and its error where the rule holds.
        seen: a condition on figures by name, in Python; the rule is left out where one of them was not seen.
        reason: the reason, with figures by name.
    """

    trust: Trust
    seen: str
    reason: str


RULES = tuple(Rule(*row) for row in (
    (Trust.WRONG, "missed > 0", "the flow misses {missed:.3g} % of the fields of the target"),
    (Trust.WRONG, "errors_from_zero > 5", "an average that a symmetry of the action forbids is {errors_from_zero:.3g} "
     "errors from 0; sample all images of a field under the symmetry (mera.Symmetrized)"),
    (Trust.MEANINGLESS, "acceptance <= 0", "the chains do not move"),
    (Trust.MEANINGLESS, "frozen > 0", "{frozen} of {chains} chains never moved"),
    (Trust.MEANINGLESS, "isnan(k)", "fewer than 100 samples with a weight do not show the tail of the weights"),
    (Trust.MEANINGLESS, "k - k_error >= 0.7", "the weights have too heavy a tail (Pareto k {k:.2f}, above 0.7)"),
    (Trust.MEANINGLESS, "effective < 2", "there are {effective:.3g} effective samples"),
    (Trust.MEANINGLESS, "not (r_hat < 1.05 or r_hat < by_chance)", "the chains do not agree yet (R-hat {r_hat:.2f})"),
    (Trust.MEANINGLESS, "overlap < 0.03",
     "the chains sample couplings that are too far apart (overlap {overlap:.2g}); add chains between them"),
    (Trust.MEANINGLESS, "not spread < 1", "ln Z of {populations} independent populations spreads by {spread:.2g} nats; "
     "take more particles or moves"),
    (Trust.TOO_FEW, "k >= 0.7", "the Pareto k of the weights is {k:.2f} +- {k_error:.2f}, perhaps above 0.7"),
    (Trust.TOO_FEW, "k_of_terms >= 0.7", "the largest terms decide (Pareto k {k_of_terms:.2f}, above 0.7)"),
    (Trust.TOO_FEW, "1.05 <= r_hat < by_chance < inf",
     "R-hat is {r_hat:.2f}, and chance alone makes it up to {by_chance:.2f} with so few"),
    (Trust.TOO_FEW, "1.05 <= r_hat < by_chance", "R-hat is {r_hat:.2f}, and chance alone may make it so large"),
    (Trust.TOO_FEW, "trips < 5", "{trips} fields went from the coldest point to the hottest and back"),
    (Trust.TOO_FEW, "exchanged < 0.05",
     "two neighbouring points exchange fields at a rate of {exchanged:.2g}; take points that lie closer"),
    (Trust.TOO_FEW, "fillings > 0 and chains == 1",
     "a single chain cannot show whether it has seen all kinds of fillings"),
    (Trust.TOO_FEW, "fillings > 0 and not independent >= 20", "fewer than 20 draws are independent"),
    (Trust.TOO_SMALL, "2 * forward_ess < ess", "fields of the target give an ESS of {forward_ess:.2g}"),
    (Trust.TOO_SMALL, "error_ratio > 1.5", "fields of the target give an error {error_ratio:.2g} times as large"),
    (Trust.TOO_SMALL, "drift > 0", "a short run from the particles changes {row} by {drift:.2g} errors"),
    (Trust.PERHAPS_TOO_SMALL, "drift_elsewhere > 0",
     "a short run from the particles changes {elsewhere} by {drift_elsewhere:.2g} errors"),
    (Trust.PERHAPS_TOO_SMALL, "times < 20", "a chain may have only {times:.0f} autocorrelation times"),
    (Trust.PERHAPS_TOO_SMALL, "apart != ''", "the chains do not agree in {apart}"),
    (Trust.PERHAPS_TOO_SMALL, "not dispersed",
     "the fields of `start` are too much alike to show a phase that none of them is in"),
    (Trust.ROUGH, "effective < 100", "there are {effective:.3g} effective samples, below 100"),
    (Trust.ROUGH, "draws < 50", "there are {draws} draws, below 50"),
    (Trust.ROUGH, "trips >= 0 and chains < 8", "they come from the spread of {chains} chains, below 8"),
    (Trust.ROUGH, "spread > 0.2", "ln Z of {populations} independent populations spreads by {spread:.2g} nats"),
    (Trust.ROUGH, "independent_particles < 50",
     "the spread over populations is that of {independent_particles:.2g} independent particles"),
    (Trust.USABLE, "k >= 0.5", "they may be too small (Pareto k {k:.2f}, between 0.5 and 0.7)"),
    (Trust.USABLE, "k_of_terms >= 0.5", "they may be too small (Pareto k {k_of_terms:.2f}, between 0.5 and 0.7)"),
    (Trust.GOOD, "fillings > 0 and r_hat < 1.05", "R-hat is {r_hat:.2f}"),
    (Trust.GOOD, "r_hat < 1.05 and times >= 20", "R-hat is below 1.05, with 20 autocorrelation times or more"),
    (Trust.GOOD, "k < 0.5 and left_out > 0", "Pareto k is {k:.2f}, below 0.5; {left_out:.3g} % of the fields of "
     "chains, {nats:.3g} nats above, were left out"),
    (Trust.GOOD, "k < 0.5", "Pareto k is {k:.2f}, below 0.5"),
    (Trust.GOOD, "spread <= 0.2", "ln Z of {populations} independent populations spreads by {spread:.2g} nats"),
))  # fmt: skip
"""The rules of verdicts; of the rules that hold, the first one with the least trust gives the verdict."""
CONDITIONS = [compile(rule.seen, f"<rule {number}>", "eval") for number, rule in enumerate(RULES)]
WORDS = {"isnan": math.isnan, "inf": math.inf}


def judge(seen: Mapping[str, Any]) -> Verdict:
    """The verdict on what was seen, figures by name, among which are all those of one rule or more.

    >>> judge({"r_hat": 1.2, "by_chance": 1.1, "times": 40.0})
    'errors mean nothing: the chains do not agree yet (R-hat 1.20)'
    """
    known, found = {**seen, **WORDS}, []
    for rule, condition in zip(RULES, CONDITIONS, strict=True):
        if known.keys() >= set(condition.co_names) and eval(condition, {}, known):
            found.append(rule)
    rule = min(found, key=lambda rule: rule.trust)
    return Verdict(rule.trust, rule.reason.format(**seen))


def least_trusted(*verdicts: Verdict) -> Verdict:
    """The verdict that trusts an error least, the first of several."""
    return min(verdicts, key=lambda verdict: verdict.trust)
