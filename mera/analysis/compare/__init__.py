"""Comparison of models that learn the same data, with a report."""

from mera.analysis.compare.contestants import Contestant, contestants
from mera.analysis.compare.report import write_report
from mera.analysis.compare.scores import Score, compare

__all__ = ["Contestant", "Score", "compare", "contestants", "write_report"]
