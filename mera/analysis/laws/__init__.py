"""`mera.check`: the laws of bijectors, layouts, flows, priors, actions, data sets and runs."""

from mera.analysis.laws.check import check
from mera.analysis.laws.report import CheckReport, Law

__all__ = ["CheckReport", "Law", "check"]
