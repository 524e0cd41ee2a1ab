"""Sweeps: runs that learn and measure an action at many values of parameters."""

from mera.sweep.grid import Grid, values_of
from mera.sweep.point import Point
from mera.sweep.report import write_report

__all__ = ["Grid", "Point", "values_of", "write_report"]
