"""Models that learn the same data side by side, and a report about them."""

from mera.compare.contestants import Contestant, contestants
from mera.compare.report import write_report
from mera.compare.scores import Score, compare

__all__ = ["Contestant", "Score", "compare", "contestants", "write_report"]
