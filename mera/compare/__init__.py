"""Comparison of models that learn the same data, with a report."""

from mera.compare.contestants import Contestant, contestants
from mera.compare.report import write_report
from mera.compare.scores import Score, compare

__all__ = ["Contestant", "Score", "compare", "contestants", "write_report"]
