"""Comparison of models that learn the same data, with a report."""

from mera.analysis.compare.report import write_report
from mera.analysis.compare.scores import Contestant, Score, compare, contestants

__all__ = ["Contestant", "Score", "compare", "contestants", "write_report"]
